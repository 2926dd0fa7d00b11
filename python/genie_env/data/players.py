"""Plays the real game: blind, or with an agent that sees it through a world's eyes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from genie_env.data.episode import Episode
from genie_env.games.blind import blind_actions, explored_actions
from genie_env.games.doom import FRAME_SIZE
from genie_env.games.frames import LONGEST_EPISODE, Game, num_actions

if TYPE_CHECKING:
    from genie_env.data.workers import Jobs

# Schedules of fixed actions are drawn in pieces that double; longer ones begin with shorter ones.
_FIRST_SCHEDULE = 2100

_POLICY_ORDER = (
    "round by round, each permuted by "
    "numpy.random.default_rng(numpy.random.SeedSequence(seed, spawn_key=(round, 0)))"
)


@dataclass(frozen=True)
class EpisodeSeeds:
    """The seeds of one episode; functions of the run's seed and the episode's index alone."""

    game: int
    policy: int
    world: int

    @staticmethod
    def of(seed: int, index: int) -> EpisodeSeeds:
        words = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(3)
        return EpisodeSeeds(*(int(word) for word in words))


@dataclass(frozen=True)
class BlindPlayer:
    """Plays fixed schedules of actions.

    Several policies share every round of as many episodes, in an order of the round's own: with one
    order for all, whoever looks at every 20th episode (the part that training holds out) might meet
    a single policy.
    """

    game: Game
    seed: int
    policies: tuple[str, ...]
    keep_frames: bool = True

    lanes = 1

    def describe(self) -> dict[str, Any]:
        """What a recording says about who played."""
        policies = {"policies": list(self.policies)}
        return policies if len(self.policies) == 1 else {**policies, "policy_order": _POLICY_ORDER}

    def policy_of(self, index: int) -> str:
        """Who plays an episode: a function of the seed and the index alone."""
        turn, place = divmod(index, len(self.policies))
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(turn, 0)))
        order = rng.permutation(len(self.policies))
        return self.policies[int(order[place])]

    def play(self, jobs: Jobs) -> None:
        env = self.game.make()
        _one_thread()
        recorder = Recorder(self.keep_frames)
        try:
            while (index := jobs.take()) is not None:
                seeds = EpisodeSeeds.of(self.seed, index)
                policy = self.policy_of(index)
                schedule = np.zeros(0, np.int64)
                frame, _ = env.reset(seed=seeds.game)
                recorder.begin(index, seeds.game)
                while not recorder.finished:
                    if len(recorder) == len(schedule):
                        schedule = blind_actions(
                            policy,
                            seeds.policy,
                            max(_FIRST_SCHEDULE, 2 * len(schedule)),
                            num_actions(env),
                            self.game.frame_skip,
                        )
                    frame = recorder.step(env, frame, int(schedule[len(recorder)]))
                    jobs.tick()
                jobs.give(recorder.episode())
        finally:
            env.close()


@dataclass(frozen=True)
class AgentPlayer:
    """Plays with a learned controller, which sees the game through its world (World::Follow).

    A worker plays several games at a time, one a row of one environment, so that the world's
    networks see them as one batch. With `explore`, random actions held for 1 to 120 tics overrule
    the controller for that fraction of the time: data that covers what surrounds it.
    """

    game: Game
    seed: int
    world: str
    """The world's directory; its frame skip must be the game's."""
    agent: str
    """The agent file."""
    explore: float = 0.0
    keep_frames: bool = True
    lanes: int = 16
    """Games that a worker plays at a time."""

    def describe(self) -> dict[str, Any]:
        """What a recording says about who played."""
        from genie_env._core import World
        from genie_env.agents.controller import LinearController, file_hash

        agent = Path(self.agent)
        return {
            "agent": file_hash(agent),
            "world": LinearController.load(agent).world,
            # Chosen by processor, and what the agent sees depends on it.
            "dtype": World.load(self.world).spec.dtype,
            "explore": self.explore,
        }

    def play(self, jobs: Jobs) -> None:
        from genie_env.agents.controller import LinearController

        controller = LinearController.load(Path(self.agent))
        _play_in_lanes(
            jobs,
            [_Lane(self.game, self.keep_frames, self.explore) for _ in range(self.lanes)],
            self.world,
            controller.observation,
            seeds_of=lambda index: EpisodeSeeds.of(self.seed, index),
            weight_of=lambda index: controller.weight,
        )


@dataclass(frozen=True)
class PopulationPlayer:
    """Plays with many linear controllers, each in episodes of its own: evolution in reality."""

    game: Game
    world: str
    """The directory of the world that they see through."""
    observation: str
    weights: NDArray[np.float32]
    """[P, F]"""
    owners: NDArray[np.int64]
    """[N]: whose episode it is."""
    seeds: list[int]
    """N: episodes of one seed are the same game."""

    lanes = 16

    def play(self, jobs: Jobs) -> None:
        _play_in_lanes(
            jobs,
            [_Lane(self.game, keep_frames=False, explore=0.0) for _ in range(self.lanes)],
            self.world,
            self.observation,
            seeds_of=lambda index: EpisodeSeeds.of(self.seeds[index], 0),
            weight_of=lambda index: self.weights[self.owners[index]],
        )


def _play_in_lanes(
    jobs: Jobs,
    games: list[_Lane],
    world: str,
    observation_kind: str,
    seeds_of: Callable[[int], EpisodeSeeds],
    weight_of: Callable[[int], NDArray[np.float32]],
) -> None:
    """Plays until there are no more jobs, as many games at a time as there are lanes.

    `seeds_of` and `weight_of` (float32 [F]) give an episode's seeds and its linear controller.
    """
    import torch

    import genie_env
    from genie_env.agents.controller import steer

    torch.set_num_threads(1)
    lanes = len(games)
    eyes = genie_env.make_vec(world, num_envs=lanes, observation=observation_kind, output="torch")
    frames = np.zeros((lanes, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    actions = np.zeros(lanes, np.int64)
    # Every row has to be somewhere, also those whose turn never comes.
    observation, _ = eyes.reset(seed=0, options={"frames": frames})
    weights = torch.zeros(observation.shape)
    try:
        while True:
            begun = np.zeros(lanes, bool)
            for lane, game in enumerate(games):
                if game.playing:
                    continue
                # Wait for an episode only when there is nothing else to do.
                index = jobs.take(block=not any(game.playing for game in games))
                if index is None:
                    break
                frames[lane] = game.begin(index, seeds_of(index))
                weights[lane] = torch.from_numpy(weight_of(index))
                begun[lane] = True
            if not any(game.playing for game in games):
                return
            if begun.any():
                observation, _ = eyes.reset(
                    seed=[game.seeds.world for game in games],
                    options={"reset_mask": begun, "frames": frames},
                )
            chosen = steer(weights, observation).tolist()
            for lane, game in enumerate(games):
                if game.playing:
                    actions[lane] = game.overruled(chosen[lane])
                    frames[lane] = game.step(int(actions[lane]))
                    if game.recorder.finished:
                        jobs.give(game.recorder.episode())
            observation, *_ = eyes.follow(actions, frames)
            jobs.tick()
    finally:
        for game in games:
            game.close()


class _Lane:
    """One game of several that are played together; it is started when its first turn comes."""

    def __init__(self, game: Game, keep_frames: bool, explore: float) -> None:
        self._game = game
        self._explore = explore
        self._env: gymnasium.Env[NDArray[np.uint8], np.int64] | None = None
        self.recorder = Recorder(keep_frames)
        self.seeds = EpisodeSeeds(0, 0, 0)
        self._frame = np.zeros(0, np.uint8)
        self._schedule = np.zeros(0, np.int64)

    @property
    def playing(self) -> bool:
        return not self.recorder.finished

    def begin(self, index: int, seeds: EpisodeSeeds) -> NDArray[np.uint8]:
        if self._env is None:
            self._env = self._game.make()
            _one_thread()
        self.seeds = seeds
        self._schedule = explored_actions(
            self._explore,
            seeds.policy,
            LONGEST_EPISODE,
            num_actions(self._env),
            self._game.frame_skip,
        )
        self._frame, _ = self._env.reset(seed=seeds.game)
        self.recorder.begin(index, seeds.game)
        return self._frame

    def overruled(self, action: int) -> int:
        planned = int(self._schedule[len(self.recorder)])
        return action if planned < 0 else planned

    def step(self, action: int) -> NDArray[np.uint8]:
        self._frame = self.recorder.step(self._env, self._frame, action)
        return self._frame

    def close(self) -> None:
        if self._env is not None:
            self._env.close()


class Recorder:
    """Steps a game and keeps what an episode is made of, in buffers that are used again."""

    def __init__(self, keep_frames: bool) -> None:
        self._keep_frames = keep_frames
        self._frames = np.empty((0, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
        self._index = self._seed = 0
        self._actions: list[int] = []
        self._rewards: list[float] = []
        self._terminated = self._truncated = True

    def begin(self, index: int, seed: int) -> None:
        self._index, self._seed = index, seed
        self._actions, self._rewards = [], []
        self._terminated = self._truncated = False

    def __len__(self) -> int:
        return len(self._actions)

    @property
    def finished(self) -> bool:
        """Whether the episode has ended, or none has begun."""
        return self._terminated or self._truncated

    def step(self, env: Any, frame: NDArray[np.uint8], action: int) -> NDArray[np.uint8]:
        """Plays `action`, chosen on seeing `frame`; returns the next frame."""
        step = len(self)
        if self._keep_frames:
            if step == len(self._frames):
                more = np.empty((max(512, 2 * step), *frame.shape), np.uint8)
                more[:step] = self._frames
                self._frames = more
            self._frames[step] = frame
        following: NDArray[np.uint8]
        following, reward, self._terminated, truncated, _ = env.step(action)
        self._actions.append(action)
        self._rewards.append(reward)
        # An environment may report both; the game's own end is the one that the data keeps.
        cut = truncated or len(self) == LONGEST_EPISODE
        self._truncated = cut and not self._terminated
        return following

    def episode(self) -> Episode:
        """The finished episode. Its frames are borrowed until the next `begin`."""
        return Episode(
            index=self._index,
            seed=self._seed,
            frames=self._frames[: len(self)] if self._keep_frames else None,
            actions=np.array(self._actions, np.int64),
            rewards=np.array(self._rewards, np.float32),
            terminated=bool(self._terminated),
            truncated=bool(self._truncated),
        )


def _one_thread() -> None:
    """Workers are many; none of them shall start threads of its own to resize a frame."""
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(0)
