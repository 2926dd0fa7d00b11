"""One training by PPO, in any environment that shows what a world shows, and what is kept of it."""

from __future__ import annotations

import contextlib
import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from genie_env.agents.agent import AGENT
from genie_env.agents.dreams import Dreams
from genie_env.agents.own_randomness import own_randomness, set_generators
from genie_env.agents.policy_network import CLIP, CONVOLUTIONS, PolicyNetwork
from genie_env.agents.ppo_settings import RECENT, PpoSettings, PpoUpdate
from genie_env.agents.update_log import LOG, UpdateLog
from genie_env.data.files import write_atomically
from genie_env.envs.options import FamilyValue

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv, VecNormalize

CHECKPOINT = "checkpoint.pt"

RESUMED_SEEDS = 2**31
"""Where the seeds of resumed parts begin: far from those of evaluations, which an agent must not have
learned from."""

_DAMAGED = (RuntimeError, KeyError, ValueError, TypeError, EOFError, pickle.UnpicklingError)


class PpoRun:
    """One training, and where it stands."""

    def __init__(
        self,
        dreams: Dreams,
        envs: VecEnv,
        settings: PpoSettings,
        how: Mapping[str, FamilyValue],
        out: Path | None,
        on_step: Callable[[int], None] | None,
    ) -> None:
        """Learns in `envs`, which are closed with the run; `dreams` says what they show, and `how`
        the agent's notes where it was trained."""
        from stable_baselines3.common.vec_env import VecNormalize

        self._dreams, self._settings, self._how = dreams, settings, how
        self._out, self._on_step = out, on_step
        self._random: dict[str, Any] = {}
        self._returns: deque[float] = deque(maxlen=RECENT)
        self._sums = np.zeros(settings.num_envs)
        self._pictures = dreams.world.spec.frame is not None and (
            dreams.observation == dreams.world.spec.frame.name
        )
        # Values are then of order one, whatever the game's rewards are.
        self._envs: VecNormalize = VecNormalize(
            envs, norm_obs=not self._pictures, clip_obs=CLIP, gamma=settings.discount
        )
        self._steps = self._episodes = 0
        try:
            with own_randomness(self._random):
                self._model = self._make_model()
                self._resume()
            self._log = UpdateLog(None if out is None else out / LOG, self._steps)
        except BaseException:
            self.close()
            raise

    def _make_model(self) -> PPO:
        from stable_baselines3 import PPO
        from stable_baselines3.common.logger import Logger

        settings, size = self._settings, self._settings.num_envs * self._settings.horizon
        layers = [settings.units] * 2
        model = PPO(
            "CnnPolicy" if self._pictures else "MlpPolicy",
            self._envs,
            n_steps=settings.horizon,
            batch_size=min(settings.batch, size),
            n_epochs=settings.epochs,
            learning_rate=lambda left: settings.learning_rate * left,
            gamma=settings.discount,
            gae_lambda=settings.gae_lambda,
            ent_coef=settings.entropy,
            policy_kwargs={
                "net_arch": {"pi": layers, "vf": layers},
                "log_std_init": math.log(settings.deviation),
            },
            seed=settings.seed,
            device="cpu",
        )
        model.set_logger(Logger(None, []))  # its own would leave a folder in the temporary directory
        model._setup_learn(settings.steps, callback=None)
        return model

    def updates(self) -> Iterator[PpoUpdate]:
        """Updates until the steps are spent."""
        settings = self._settings
        if self._steps >= settings.steps:  # a finished run shows what it has
            yield PpoUpdate(self._steps, math.nan, self._mean_return(), self._agent())
        while self._steps < settings.steps:
            began, before = time.perf_counter(), self._steps
            with own_randomness(self._random):
                self._model._current_progress_remaining = max(0.0, 1 - before / settings.steps)
                self._collect()
                self._model.train()
            rate = (self._steps - before) / (time.perf_counter() - began)
            self._log.append(
                update=self._steps // (settings.num_envs * settings.horizon),
                steps=self._steps,
                episodes=self._episodes,
                steps_per_s=round(rate, 1),
                mean_return=self._mean_return(),
            )
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
                    run._episodes += 1
                run._steps += run._settings.num_envs
                if run._on_step is not None:
                    run._on_step(run._steps)
                return True

        watch, model = Watch(), self._model
        watch.init_callback(model)
        model.collect_rollouts(self._wrapped(), watch, model.rollout_buffer, model.n_steps)

    def _wrapped(self) -> VecEnv:
        """The environments as the model sees them: pictures with their channels first."""
        env = self._model.env
        assert env is not None
        return env

    def _mean_return(self) -> float | None:
        return float(np.mean(self._returns)) if self._returns else None

    def _agent(self) -> PolicyNetwork:
        dreams = self._dreams
        notes: dict[str, FamilyValue] = {
            **self._how,
            "seed": self._settings.seed,
            "steps": self._steps,
        }
        if self._settings.action_repeat > 1:
            notes["action_repeat"] = self._settings.action_repeat
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
            "episodes": self._episodes,
            "updates": self._model._n_updates,
            "returns": list(self._returns),
            "random": self._random,
            "observations": [*_moments(normal.obs_rms)] if not self._pictures else [],
            "rewards": [*_moments(normal.ret_rms)],
        }
        write_atomically(self._out / CHECKPOINT, lambda file: torch.save(state, file))
        self._agent().save(self._out / AGENT)

    def _resume(self) -> None:
        """Episodes begin again, from seeds that no earlier part of the run had."""
        with _checkpoint(self._out) as state:
            if state is None:
                return
            self._model.set_parameters(state["parameters"])
            self._steps, self._model._n_updates = state["steps"], state["updates"]
            self._episodes = state.get("episodes", 0)
            self._returns.extend(state["returns"])
            self._random.update(state["random"])
            if not self._pictures:
                _set_moments(self._envs.obs_rms, state["observations"])
            _set_moments(self._envs.ret_rms, state["rewards"])
        set_generators(self._random)
        self._envs.seed((RESUMED_SEEDS + self._settings.seed + self._steps) % 2**32)
        self._model._last_obs = self._wrapped().reset()  # type: ignore[assignment]

    def close(self) -> None:
        self._envs.close()


def steps_of(out: Path | None) -> int:
    """How many steps the run in `out` has taken; 0 where there is none."""
    with _checkpoint(out) as state:
        return 0 if state is None else int(state["steps"])


@contextlib.contextmanager
def _checkpoint(out: Path | None) -> Iterator[Any]:
    """What the run in `out` keeps; None where there is none. Raises ValueError that names the file
    where it, or in the block what it holds, cannot be read."""
    file = None if out is None else out / CHECKPOINT
    try:
        yield None if file is None or not file.exists() else torch.load(file, weights_only=True)
    except _DAMAGED as error:
        why = str(error).partition(".")[0] or type(error).__name__
        raise ValueError(
            f"{file} is damaged ({why}): bring it back from a copy, or train into another --out"
        ) from error


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
