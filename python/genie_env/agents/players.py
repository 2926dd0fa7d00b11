"""Agents play a real game, which they see through a world (World::Follow)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.agents.agent import Agent, file_hash, load_agent
from genie_env.agents.controller import steer
from genie_env.data.players import LONGEST_EPISODE, EpisodeSeeds, Recorder, start_game
from genie_env.envs.actions import Actions
from genie_env.envs.options import FamilyValue
from genie_env.envs.vector_env import DreamVectorEnv
from genie_env.games.base import Game
from genie_env.games.blind import explored_actions

if TYPE_CHECKING:
    from genie_env.data.workers import Jobs


@dataclass(frozen=True)
class AgentPlayer:
    """Plays with a learned agent, which sees the game through its world.

    A worker plays several games at a time, one a row of one environment, so that the world's
    networks see them as one batch. With `explore`, random actions held for 1 to 120 steps overrule
    the agent for that fraction of the time: data that covers what surrounds it.
    """

    game: Game
    seed: int
    world: str
    """The world's directory; its frame skip must be the game's."""
    agent: str
    """The agent file."""
    explore: float = 0.0
    keep_frames: bool = True
    labelled: bool = False
    """Whether the objects of every frame are kept too."""
    lanes: int = 16
    """Games that a worker plays at a time."""
    options: Mapping[str, FamilyValue] = field(default_factory=dict)
    """Options of the world's family; those left out are as the world says."""

    def describe(self) -> dict[str, Any]:
        """The player's part of meta.json."""
        agent = Path(self.agent)
        return {
            "agent": file_hash(agent),
            "world": load_agent(agent).world,
            # Chosen by processor, and what the agent sees depends on it.
            "dtype": World.load(self.world).spec.dtype,
            "explore": self.explore,
            **({"options": dict(self.options)} if self.options else {}),
        }

    def play(self, jobs: Jobs) -> None:
        agent = load_agent(Path(self.agent))
        _play_in_lanes(
            jobs,
            self.game,
            [
                _Lane(self.game, self.keep_frames, self.explore, labelled=self.labelled)
                for _ in range(self.lanes)
            ],
            self.world,
            self.options,
            agent.observation,
            _OneAgent(agent),
            seeds_of=lambda index: EpisodeSeeds.of(self.seed, index),
        )


@dataclass(frozen=True)
class PopulationPlayer:
    """Plays with many linear controllers, each in its own episodes: evolution in the real game."""

    game: Game
    world: str
    """The directory of the world that they see through."""
    observation: str
    weights: NDArray[np.float32]
    """[P, ...], see `steer`."""
    owners: NDArray[np.int64]
    """[N]: whose episode it is."""
    seeds: list[int]
    """N: episodes of one seed are the same game."""
    options: Mapping[str, FamilyValue]
    """Options of the world's family; those left out are as the world says."""

    lanes = 16

    def play(self, jobs: Jobs) -> None:
        _play_in_lanes(
            jobs,
            self.game,
            [_Lane(self.game, keep_frames=False, explore=0.0) for _ in range(self.lanes)],
            self.world,
            self.options,
            self.observation,
            _Population(self.game.actions, self.weights, self.owners, self.lanes),
            seeds_of=lambda index: EpisodeSeeds.of(self.seeds[index], 0),
        )


def _play_in_lanes(
    jobs: Jobs,
    game: Game,
    lanes: list[_Lane],
    world: str,
    options: Mapping[str, FamilyValue],
    observation_kind: str,
    who: _OneAgent | _Population,
    seeds_of: Callable[[int], EpisodeSeeds],
) -> None:
    """Plays until there are no more jobs, as many games at a time as there are lanes. `seeds_of`
    gives an episode's seeds."""
    torch.set_num_threads(1)
    features = DreamVectorEnv(
        world,
        num_envs=len(lanes),
        observation=observation_kind,
        output="torch",
        family_options=options,
    )
    frames = np.zeros((len(lanes), *game.frame_size, 3), np.uint8)
    actions = np.repeat(game.actions.examples()[:1], len(lanes), axis=0)
    # Every row needs a state, also those whose turn never comes.
    observation, _ = features.reset(seed=0, options={"frames": frames})
    try:
        while True:
            begun = np.zeros(len(lanes), bool)
            for row, lane in enumerate(lanes):
                if lane.playing:
                    continue
                # Wait for an episode only when there is nothing else to do.
                index = jobs.take(block=not any(lane.playing for lane in lanes))
                if index is None:
                    break
                frames[row] = lane.begin(index, seeds_of(index))
                who.begin(row, index)
                begun[row] = True
            if not any(lane.playing for lane in lanes):
                return
            if begun.any():
                observation, _ = features.reset(
                    seed=[lane.seeds.world for lane in lanes],
                    options={"reset_mask": begun, "frames": frames},
                )
            chosen = who.act(observation).numpy()
            for row, lane in enumerate(lanes):
                if lane.playing:
                    actions[row] = lane.overruled(chosen[row])
                    frames[row] = lane.step(actions[row])
                    if lane.recorder.finished:
                        jobs.give(lane.recorder.episode())
            observation, *_ = features.follow(actions, frames)
            jobs.tick()
    finally:
        features.close()
        for lane in lanes:
            lane.close()


class _OneAgent:
    """One agent in all lanes."""

    def __init__(self, agent: Agent) -> None:
        self.act = agent.act

    def begin(self, row: int, index: int) -> None:
        """Nothing: the agent is the same in every episode."""


class _Population:
    """A linear controller of its own in every episode."""

    def __init__(
        self,
        actions: Actions,
        weights: NDArray[np.float32],
        owners: NDArray[np.int64],
        lanes: int,
    ) -> None:
        self._actions, self._weights, self._owners = actions, weights, owners
        self._playing = torch.zeros(lanes, *weights.shape[1:])

    def begin(self, row: int, index: int) -> None:
        self._playing[row] = torch.from_numpy(self._weights[self._owners[index]])

    def act(self, observation: torch.Tensor) -> torch.Tensor:
        return steer(self._actions, self._playing, observation)


class _Lane:
    """One game of several that are played together; it is started when its first turn comes."""

    def __init__(
        self, game: Game, keep_frames: bool, explore: float, *, labelled: bool = False
    ) -> None:
        self._game = game
        self._labelled = labelled
        self._explore = explore
        self._env: gymnasium.Env[NDArray[np.uint8], Any] | None = None
        self.recorder = Recorder(game, keep_frames, labelled)
        self.seeds = EpisodeSeeds(0, 0, 0)
        self._frame = np.zeros(0, np.uint8)
        self._overruled = np.zeros(0, bool)
        self._schedule = game.actions.examples()[:0]

    @property
    def playing(self) -> bool:
        return not self.recorder.finished

    def begin(self, index: int, seeds: EpisodeSeeds) -> NDArray[np.uint8]:
        if self._env is None:
            self._env = start_game(self._game, labelled=self._labelled)
        self.seeds = seeds
        self._overruled, self._schedule = explored_actions(
            self._explore,
            seeds.policy,
            LONGEST_EPISODE,
            self._game.actions,
            self._game.frame_skip,
        )
        self._frame, info = self._env.reset(seed=seeds.game)
        self.recorder.begin(index, seeds.game, info)
        return self._frame

    def overruled(self, action: Any) -> Any:
        step = len(self.recorder)
        return self._schedule[step] if self._overruled[step] else action

    def step(self, action: Any) -> NDArray[np.uint8]:
        self._frame = self.recorder.step(self._env, self._frame, action)
        return self._frame

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
