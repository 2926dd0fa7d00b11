"""N dreams as an environment of TorchRL; it must be installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from genie_env import _core
from genie_env.envs.options import FixedOptions, constructor, keywords, with_choices
from genie_env.envs.vector_env import DreamVectorEnv

try:
    from tensordict import TensorDict, TensorDictBase
    from torchrl.data import Bounded, Categorical, Composite, TensorSpec, Unbounded
    from torchrl.envs import EnvBase
except ImportError as error:
    raise ImportError(
        "genie_env.torchrl needs TorchRL: pip install torchrl==0.11.1 tensordict==0.11.0"
    ) from error


class DreamTorchRLEnv(FixedOptions, EnvBase):
    """N dreams in one frozen world, with the batch size [N].

        env = DreamTorchRLEnv("doom-take-cover", 64)
        env.set_seed(0)
        steps = env.rollout(100, break_when_any_done=False)  # a TensorDict [64, 100]

    Keys: "action", int64 [N] or float32 [N, ...]; "observation"; "surprise", float32 [N, 1], zero in rows that a reset
    began; "reward", "done", "terminated" and "truncated", [N, 1]. TorchRL resets the rows that have
    ended: a partial reset begins an episode in the rows of "_reset" alone, and a partial step
    changes the rows of "_step" alone.
    """

    @constructor(keywords)
    def __init__(
        self,
        world: str | Path | _core.World,
        num_envs: int = 1,
        **options: Any,
    ) -> None:
        """`options`: those of DreamVectorEnv, except "autoreset_mode", "output" and "copy": a
        rollout keeps what every step gave."""
        mode = AutoresetMode.DISABLED
        choices: dict[str, Any] = {"autoreset_mode": mode, "output": "torch", "copy": True}
        chosen = with_choices("TorchRL", options, **choices)
        dreams = DreamVectorEnv(world, num_envs, **chosen)
        super().__init__(device=dreams.device, batch_size=[num_envs])
        self.dreams = dreams
        """All rows, as a Gymnasium vector environment."""
        self._seed: int | None = None

        rows, device = (num_envs,), self.device
        def of_box(box: gymnasium.spaces.Box) -> TensorSpec:
            shape, dtype = (*rows, *box.shape), getattr(torch, box.dtype.name)
            if not (np.isfinite(box.low).all() and np.isfinite(box.high).all()):
                return Unbounded(shape, dtype=dtype, device=device)
            low, high = (
                torch.from_numpy(bound).expand(shape) for bound in (box.low, box.high)
            )
            if (box.low == box.low.min()).all() and (box.high == box.high.max()).all():
                low, high = box.low.min().item(), box.high.max().item()
            return Bounded(low, high, shape=shape, dtype=dtype, device=device)

        flag = Categorical(2, shape=(*rows, 1), dtype=torch.bool, device=device)
        number = Unbounded((*rows, 1), device=device)
        self.observation_spec = Composite(
            observation=of_box(dreams.single_observation_space), surprise=number.clone(), shape=rows
        )
        space = dreams.single_action_space
        if isinstance(space, gymnasium.spaces.Box):
            self.action_spec = of_box(space)
        elif space.start != 0:
            raise ValueError(
                f"the actions of the world are {space}, but TorchRL's are numbered from 0: wrap "
                "DreamVectorEnv, or train in Stable-Baselines3"
            )
        else:
            self.action_spec = Categorical(
                int(space.n), shape=rows, dtype=torch.int64, device=device
            )
        self.reward_spec = number
        self.done_spec = Composite(
            done=flag, terminated=flag.clone(), truncated=flag.clone(), shape=rows
        )

    def _reset(self, tensordict: TensorDictBase | None, **kwargs: Any) -> TensorDictBase:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        options = None if mask is None else {"reset_mask": mask.reshape(self.batch_size)}
        observations, _ = self.dreams.reset(seed=self._seed, options=options)
        self._seed = None
        return self._tensordict(observation=observations, surprise=self.reward_spec.zero())

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        chosen = tensordict.get("_step", None)
        if chosen is None or chosen.all():
            return self._stepped(tensordict)
        chosen = chosen.reshape(self.batch_size)
        others = (~chosen).nonzero().flatten()
        kept = self.dreams.snapshot(others)
        self.dreams.reset(options={"reset_mask": ~chosen})  # those that have ended cannot step
        stepped = self._stepped(tensordict)
        self.dreams.restore(kept, others)
        before = {name: tensordict[name] for name in stepped.keys() - {"reward"}}
        waited = self._tensordict(reward=self.reward_spec.zero(), **before)
        return torch.where(chosen, stepped, waited)

    def _stepped(self, tensordict: TensorDictBase) -> TensorDictBase:
        observations, rewards, terminations, truncations, infos = self.dreams.step(
            tensordict["action"]
        )
        return self._tensordict(
            observation=observations,
            surprise=infos["surprise"][:, None],
            reward=rewards[:, None],
            terminated=terminations[:, None],
            truncated=truncations[:, None],
            done=(terminations | truncations)[:, None],
        )

    def _set_seed(self, seed: int | None) -> None:
        """Sets the seed of the next reset: row i takes `seed + i`."""
        self._seed = seed

    def close(self, *, raise_if_closed: bool = True) -> None:
        super().close(raise_if_closed=raise_if_closed)
        self.dreams.close()

    def _tensordict(self, **tensors: torch.Tensor) -> TensorDict:
        return TensorDict(tensors, batch_size=self.batch_size, device=self.device)
