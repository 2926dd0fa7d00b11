"""PPO (Schulman et al. 2017) trains a small network, entirely inside the dream.

The algorithm is Stable-Baselines3's, which reads dreams through `genie_env.sb3`. What is kept is a
PolicyNetwork, which needs neither.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from genie_env.agents.dreams import Dreams
from genie_env.agents.policy_network import CLIP, CONVOLUTIONS, PolicyNetwork
from genie_env.data.files import write_atomically
from genie_env.data.run_directory import claim_run
from genie_env.envs.options import FamilyValue

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv, VecNormalize

AGENT, CHECKPOINT = "agent.safetensors", "checkpoint.pt"

RECENT = 100
"""Episodes whose mean return is shown."""
LEAST_SIDE = 36
"""Of pictures: the convolutions leave nothing of smaller ones."""


@dataclass(frozen=True)
class PpoSettings:
    """All that decides a training run, besides its world."""

    steps: int = 1_000_000
    """Dream steps to spend; the update that passes it is the last."""
    seed: int = 0
    num_envs: int = 64
    """Dreams stepped together."""
    horizon: int = 128
    """Steps of every dream between two updates."""
    batch: int = 2048
    """Steps a minibatch."""
    epochs: int = 4
    """Passes over the steps of an update."""
    learning_rate: float = 3e-4
    """At the beginning; it falls to 0."""
    discount: float = 0.99
    entropy: float = 0.01
    """The weight of the policy's entropy."""
    units: int = 256
    """Of each of the two hidden layers."""

    def check(self) -> None:
        for name in ("steps", "num_envs", "horizon", "batch", "epochs", "units"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; expected 0 to 2**32 - 1")
        for name, most in (("learning_rate", math.inf), ("discount", 1.0)):
            value = getattr(self, name)
            if not 0 < value <= most:
                raise ValueError(f"{name} is {value}; expected a number above 0, at most {most:g}")
        if not 0 <= self.entropy < math.inf:
            raise ValueError(f"entropy is {self.entropy}; expected a number of at least 0")


@dataclass(frozen=True)
class PpoUpdate:
    """After one update of the policy."""

    steps: int
    """Dream steps since the beginning of the run."""
    steps_per_s: float
    """Of the last horizon and its update."""
    mean_return: float | None
    """Of the last RECENT episodes; None before one has ended."""
    agent: PolicyNetwork


def train_ppo(
    dreams: Dreams,
    settings: PpoSettings,
    *,
    out: Path | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Iterator[PpoUpdate]:
    """Trains a policy in `dreams`, an update at a time; the last one's agent is the result.

    Reads the observation of `dreams`: floats of any shape, or pictures. A run in `out` that was
    stopped goes on after its last update. `on_step` is called with the number of steps so far.
    Raises ValueError where the observation is neither, where a setting cannot be, and at the first
    update where the run in `out` had others; ImportError without Stable-Baselines3. The global
    random generators of torch, NumPy and Python are as before after every update.
    """
    settings.check()
    check_readable(dreams)
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "train ppo needs Stable-Baselines3: pip install 'genie_env[sb3]'"
        ) from error
    identity = {
        "agent": PolicyNetwork.kind,
        "observation": dreams.observation,
        "world": dreams.fingerprint,
        "dtype": dreams.world.spec.dtype,
        **dreams.settings,
        **dataclasses.asdict(settings),
    }
    del identity["steps"]  # may be raised

    def updates() -> Iterator[PpoUpdate]:
        kept = [CHECKPOINT, AGENT]
        claim = contextlib.nullcontext() if out is None else claim_run(out, identity, kept)
        with claim, contextlib.closing(_Run(dreams, settings, out, on_step)) as run:
            yield from run.updates()

    return updates()


def check_readable(dreams: Dreams) -> None:
    """Raises ValueError unless a network can learn from the observation in use."""
    spec = next(o for o in dreams.world.spec.observations if o.name == dreams.observation)
    shape, pictures = tuple(spec.shape), spec.dtype == "uint8" and len(spec.shape) == 3
    others = [o.name for o in dreams.world.spec.observations if o.dtype != "int64"]
    if pictures and min(shape[:2]) < LEAST_SIDE:
        raise ValueError(
            f"{dreams.observation!r} are pictures of {shape[0]} x {shape[1]}; a policy's "
            f"convolutions read sides of {LEAST_SIDE} or more: give another --observation"
        )
    if not pictures and spec.dtype != "float32":
        raise ValueError(
            f"{dreams.observation!r} is {spec.dtype} {list(shape)}; a network learns from floats or "
            f"pictures, not from numbers that name tokens: give --observation {' or '.join(others)}"
        )


@contextlib.contextmanager
def _own_randomness(states: dict[str, Any]) -> Iterator[None]:
    """The libraries' global generators are those of the run in the block, and the caller's after."""
    before = _generators()
    _set_generators(states or before)
    try:
        yield
    finally:
        states.update(_generators())
        _set_generators(before)


def _generators() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002  # Stable-Baselines3 uses it
    return {
        "torch": torch.get_rng_state(),
        "numpy": [name, torch.from_numpy(np.array(keys, np.int64)), *rest],
        "python": random.getstate(),
    }


def _set_generators(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))


class _Run:
    """One training, and where it stands."""

    def __init__(
        self,
        dreams: Dreams,
        settings: PpoSettings,
        out: Path | None,
        on_step: Callable[[int], None] | None,
    ) -> None:
        from stable_baselines3.common.vec_env import VecNormalize

        from genie_env.envs.sb3 import DreamVecEnv

        self._dreams, self._settings, self._out, self._on_step = dreams, settings, out, on_step
        self._random: dict[str, Any] = {}
        self._returns: deque[float] = deque(maxlen=RECENT)
        self._sums = np.zeros(settings.num_envs)
        self._pictures = dreams.world.spec.frame is not None and (
            dreams.observation == dreams.world.spec.frame.name
        )
        envs = DreamVecEnv(
            dreams.world,
            settings.num_envs,
            observation=dreams.observation,
            temperature=dreams.temperature,
            starts=dreams.starts,
            reward_fn=dreams.reward_fn,
            termination_fn=dreams.termination_fn,
        )
        # Values are then of order one, whatever the game's rewards are.
        self._envs: VecNormalize = VecNormalize(
            envs, norm_obs=not self._pictures, clip_obs=CLIP, gamma=settings.discount
        )
        self._steps = 0
        with _own_randomness(self._random):
            self._model = self._make_model()
            self._resume()

    def _make_model(self) -> PPO:
        from stable_baselines3 import PPO

        settings, size = self._settings, self._settings.num_envs * self._settings.horizon
        layers = [settings.units] * 2
        model = PPO(
            "CnnPolicy" if self._pictures else "MlpPolicy",
            self._envs,
            n_steps=settings.horizon,
            batch_size=min(settings.batch, size),
            n_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            gamma=settings.discount,
            ent_coef=settings.entropy,
            policy_kwargs={"net_arch": {"pi": layers, "vf": layers}},
            seed=settings.seed,
            device="cpu",
        )
        model._setup_learn(settings.steps, callback=None)
        return model

    def updates(self) -> Iterator[PpoUpdate]:
        """Updates until the steps are spent."""
        settings = self._settings
        if self._steps >= settings.steps:  # a finished run shows what it has
            yield PpoUpdate(self._steps, math.nan, self._mean_return(), self._agent())
        while self._steps < settings.steps:
            began, before = time.perf_counter(), self._steps
            with _own_randomness(self._random):
                self._model._current_progress_remaining = max(0.0, 1 - before / settings.steps)
                self._collect()
                self._model.train()
            rate = (self._steps - before) / (time.perf_counter() - began)
            self._save()
            yield PpoUpdate(self._steps, rate, self._mean_return(), self._agent())

    def _collect(self) -> None:
        """Fills the buffer with the steps of one horizon."""
        from stable_baselines3.common.callbacks import BaseCallback

        run = self

        class Watch(BaseCallback):
            def _on_step(self) -> bool:
                rewards = run._envs.get_original_reward()
                run._sums += rewards
                for row in np.flatnonzero(self.locals["dones"]):
                    run._returns.append(float(run._sums[row]))
                    run._sums[row] = 0
                run._steps += run._settings.num_envs
                if run._on_step is not None:
                    run._on_step(run._steps)
                return True

        watch, model = Watch(), self._model
        watch.init_callback(model)
        model.collect_rollouts(self._wrapped(), watch, model.rollout_buffer, model.n_steps)

    def _wrapped(self) -> VecEnv:
        """The dreams as the model sees them: pictures with their channels first."""
        env = self._model.env
        assert env is not None
        return env

    def _mean_return(self) -> float | None:
        return float(np.mean(self._returns)) if self._returns else None

    def _agent(self) -> PolicyNetwork:
        dreams = self._dreams
        notes: dict[str, FamilyValue] = {
            **dreams.settings,
            "seed": self._settings.seed,
            "steps": self._steps,
        }
        return PolicyNetwork(
            _weights(self._model, self._envs, self._pictures),
            dreams.observation,
            dreams.fingerprint,
            {name: str(value) for name, value in notes.items()},
            dreams.actions,
        )

    def _save(self) -> None:
        if self._out is None:
            return
        normal = self._envs
        state = {
            "parameters": self._model.get_parameters(),
            "steps": self._steps,
            "updates": self._model._n_updates,
            "returns": list(self._returns),
            "random": self._random,
            "observations": [*_moments(normal.obs_rms)] if not self._pictures else [],
            "rewards": [*_moments(normal.ret_rms)],
        }
        write_atomically(self._out / CHECKPOINT, lambda file: torch.save(state, file))
        self._agent().save(self._out / AGENT)

    def _resume(self) -> None:
        """Dreams begin again, from seeds that no earlier part of the run had."""
        file = None if self._out is None else self._out / CHECKPOINT
        if file is None or not file.exists():
            return
        try:
            state = torch.load(file, weights_only=True)
            self._model.set_parameters(state["parameters"])
            self._steps, self._model._n_updates = state["steps"], state["updates"]
            self._returns.extend(state["returns"])
            self._random.update(state["random"])
            if not self._pictures:
                _set_moments(self._envs.obs_rms, state["observations"])
            _set_moments(self._envs.ret_rms, state["rewards"])
        except (RuntimeError, KeyError, ValueError, TypeError, EOFError) as error:
            raise ValueError(
                f"{file} is damaged ({error}): bring it back from a copy, or train into another "
                "--out"
            ) from error
        _set_generators(self._random)
        self._envs.seed((self._settings.seed + self._steps) % 2**32)
        self._model._last_obs = self._wrapped().reset()  # type: ignore[assignment]

    def close(self) -> None:
        self._envs.close()


def _moments(running: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
    mean, var = (torch.from_numpy(np.array(m, np.float64)) for m in (running.mean, running.var))
    return mean, var, float(running.count)


def _set_moments(running: Any, moments: Any) -> None:
    mean, var, running.count = moments
    running.mean, running.var = mean.numpy(), var.numpy()


def _weights(model: PPO, normal: VecNormalize, pictures: bool) -> dict[str, torch.Tensor]:
    """The policy's tensors under PolicyNetwork's names."""
    policy: Any = model.policy
    layers = {"output": policy.action_net}
    hidden = [each for each in policy.mlp_extractor.policy_net if hasattr(each, "weight")]
    layers |= {f"layers.{index}": layer for index, layer in enumerate(hidden)}
    weights = {}
    if pictures:
        extractor = policy.pi_features_extractor
        convolutions = [each for each in extractor.cnn if hasattr(each, "weight")]
        assert [(c.kernel_size[0], c.stride[0]) for c in convolutions] == [*CONVOLUTIONS]
        layers |= {f"convolutions.{index}": c for index, c in enumerate(convolutions)}
        layers["picture"] = extractor.linear[0]
    else:
        mean, var, _ = _moments(normal.obs_rms)
        weights = {"mean": mean.float(), "deviation": (var + normal.epsilon).sqrt().float()}
    for name, layer in layers.items():
        for part in ("weight", "bias"):
            weights[f"{name}.{part}"] = getattr(layer, part).detach().clone().float()
    return weights
