"""Whole episodes in the dream: many in one batch, those that have ended dropped from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import VecEnv, World
from genie_env.agents.controller import LinearController, steer
from genie_env.envs.registry import find_world
from genie_env.envs.validation import check_temperature
from genie_env.games.blind import blind_actions

DROP_AT = 1 / 8
"""Ended rows leave the batch when they are this fraction of it: dropping copies the others."""

TERMINATIONS = ("thresholded", "sampled")

Progress = Callable[[int, int], None]
"""Called after every step with the number of steps so far and of rows still alive."""


class Policy(Protocol):
    """What acts in N rows at once, for the length of one episode."""

    def act(self, observation: torch.Tensor, step: int) -> torch.Tensor:
        """int64 [N] actions on observation [N, F], `step` steps after the episodes began."""

    def keep(self, rows: torch.Tensor) -> None:
        """Goes on with the given rows (int64 [R]) alone, in that order."""


class Controllers:
    """Linear controllers, each acting in rows of its own: a population in one batch."""

    def __init__(self, weights: torch.Tensor, owners: torch.Tensor) -> None:
        """`weights`: float32 [P, F]; `owners`: int64 [N], the controller of every row."""
        self._weight = weights[owners]

    def act(self, observation: torch.Tensor, step: int) -> torch.Tensor:
        return steer(self._weight, observation)

    def keep(self, rows: torch.Tensor) -> None:
        self._weight = self._weight[rows]


class Schedules:
    """Fixed actions, whatever is observed: int64 [N, steps]."""

    def __init__(self, actions: torch.Tensor) -> None:
        self._actions = actions

    def act(self, observation: torch.Tensor, step: int) -> torch.Tensor:
        return self._actions[:, step]

    def keep(self, rows: torch.Tensor) -> None:
        self._actions = self._actions[rows]


@dataclass(frozen=True)
class Played:
    """What N episodes came to."""

    scores: NDArray[np.float32]
    """[N], the sum of rewards, in the order of the seeds; in Doom the tics survived."""
    steps: int
    """Steps that all episodes took together."""


Arena = Callable[[NDArray[np.float32], NDArray[np.int64], list[int]], Played]
"""Where controllers are tried: given controllers [P, F], whose every episode is [N] and the
episodes' seeds, plays them all. `Dreams.play_controllers` is one, the real game another."""


@dataclass(frozen=True)
class Dreams:
    """A frozen world and how to dream in it; loaded once, played many times. Immutable.

        dreams = Dreams.load("doom-take-cover", temperature=1.15)
        scores = dreams.play_blind(["left"], seeds=range(512))["left"]
    """

    world: World
    temperature: float
    observation: str

    @classmethod
    def load(
        cls,
        world: str | Path,
        *,
        temperature: float | None = None,
        termination: str = "calibrated",
        observation: str | None = None,
        device: str = "cpu",
    ) -> Dreams:
        """Loads a shipped world by name, or a world directory.

        `temperature`: by default the world's own. `termination`: "sampled" (drawn from its
        probability), "thresholded" (at one half), or "calibrated", whichever of the two the world's
        config names. `observation`: by default the world's first.
        """
        if termination not in ("calibrated", *TERMINATIONS):
            raise ValueError(
                f"the termination is {termination!r}: give 'calibrated', 'sampled' or 'thresholded'"
            )
        chosen = None if termination == "calibrated" else termination
        loaded = World.load(find_world(world), device=device, termination=chosen)
        if observation is None:
            observation = loaded.spec.observations[0].name
        dreams = cls(loaded, loaded.spec.temperature, observation).at(temperature)
        if observation not in dreams.features:
            raise ValueError(
                f"the observation is {observation!r}, expected features that a controller reads: "
                f"one of {', '.join(dreams.features)}"
            )
        return dreams

    def at(self, temperature: float | None) -> Dreams:
        """The same world at another temperature; None: at this one."""
        if temperature is None:
            return self
        check_temperature(temperature)
        return replace(self, temperature=temperature)

    @property
    def fingerprint(self) -> str:
        return self.world.spec.fingerprint

    @property
    def termination(self) -> str:
        return "sampled" if self.world.spec.samples_termination else "thresholded"

    @property
    def features(self) -> dict[str, int]:
        """How many features every flat observation of the world has."""
        observations = self.world.spec.observations
        return {spec.name: spec.shape[0] for spec in observations if len(spec.shape) == 1}

    @property
    def num_features(self) -> int:
        """Of the observation that is dreamt in."""
        return self.features[self.observation]

    def play(
        self, policy: Policy, seeds: Sequence[int], progress: Progress | None = None
    ) -> Played:
        """Plays an episode a seed, all in one batch, until every one has ended."""
        env = VecEnv(
            self.world,
            num_envs=len(seeds),
            observation=self.observation,
            temperature=self.temperature,
        )
        device = self.world.device
        rows = torch.arange(len(seeds), device=device)  # the episode that each row plays
        alive = torch.ones(len(seeds), dtype=torch.bool, device=device)
        scores = torch.zeros(len(seeds), device=device)
        observation = env.reset(seeds=list(seeds))
        left, step, steps = len(seeds), 0, 0
        while left > 0:
            brought = env.step(policy.act(observation, step))
            observation = brought.observation
            steps += left
            step += 1
            # A row that has ended dreams on until it is dropped, but for nothing.
            scores[rows] += brought.reward * alive
            alive &= ~(brought.terminated | brought.truncated)
            left = int(alive.sum())
            if progress is not None:
                progress(step, left)
            if 0 < left <= (1 - DROP_AT) * len(rows):
                kept = alive.nonzero()[:, 0]
                env.keep(kept)
                policy.keep(kept)
                rows, alive, observation = rows[kept], alive[kept], observation[kept]
        return Played(scores.cpu().numpy(), steps)

    def play_controllers(
        self,
        weights: NDArray[np.float32],
        owners: NDArray[np.int64],
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Played:
        """Plays linear controllers [P, F], `owners[i]` in the dream of `seeds[i]`."""
        device = self.world.device
        population = Controllers(
            torch.from_numpy(weights).to(device), torch.from_numpy(owners).to(device)
        )
        return self.play(population, seeds, progress)

    def play_controller(
        self,
        controller: LinearController,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Played:
        """Plays one controller; raises ValueError where it reads other observations."""
        controller.check_fits(self.features)
        owners = np.zeros(len(seeds), np.int64)
        dreams = replace(self, observation=controller.observation)
        return dreams.play_controllers(controller.weight[None], owners, seeds, progress)

    def play_blind(
        self, policies: Sequence[str], seeds: Sequence[int]
    ) -> dict[str, NDArray[np.float32]]:
        """Scores [len(seeds)] of every policy of `games.blind`, all in one batch.

        All policies meet the same dreams.
        """
        spec = self.world.spec
        actions = np.stack(
            [
                blind_actions(p, s, spec.max_episode_steps, frame_skip=spec.frame_skip)
                for p in policies
                for s in seeds
            ]
        )
        schedules = Schedules(torch.from_numpy(actions).to(self.world.device))
        scores = self.play(schedules, list(seeds) * len(policies)).scores
        return dict(zip(policies, scores.reshape(len(policies), -1), strict=True))


def derived_seeds(seed: int, *path: int, count: int) -> list[int]:
    """`count` row seeds that depend on the run's seed and the path, (generation, use), alone.

    Different paths give different seeds, also those of different length.
    """
    words = np.random.SeedSequence(seed, spawn_key=path).generate_state(count, np.uint64)
    return [int(word) for word in words]
