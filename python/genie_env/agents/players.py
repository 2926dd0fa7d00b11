"""Agents play a real game, which they see through a world (World::Follow)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.agents.agent import Agent, file_hash, load_agent
from genie_env.agents.controller import steer
from genie_env.agents.decisions import Decisions
from genie_env.data.players import LONGEST_EPISODE, EpisodeSeeds, Recorder, start_game
from genie_env.envs.actions import Actions, actions_of_world
from genie_env.envs.options import FamilyValue
from genie_env.envs.vector_env import DreamVectorEnv
from genie_env.games.action_map import ActionDictionary, Translation
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

    Where the game's frame skip is a multiple of the world's, the agent holds every action for as
    long, while its world follows all the frames between.
    """

    game: Game
    seed: int
    world: str
    """The world's directory."""
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
    hold: int = 1
    """Steps of the world that an action is held for."""
    dictionary: ActionDictionary | None = None
    """The game's action for each of the agent's, in a world of latent actions; None: they are the same."""
    codes: Mapping[int, int] | None = None
    """The action that the world follows each of the agent's with; None: the same one."""

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
            **({"hold": self.hold} if self.hold > 1 else {}),
            **({"action_map": self.dictionary.as_json()} if self.dictionary else {}),
        }

    def play(self, jobs: Jobs) -> None:
        agent = load_agent(Path(self.agent))
        _play_in_lanes(
            jobs,
            self.game,
            [
                _Lane(
                    self.game, self.keep_frames, self.explore, labelled=self.labelled, hold=self.hold
                )
                for _ in range(self.lanes)
            ],
            self.world,
            self.options,
            agent.observation,
            _OneAgent(agent, self.dictionary, self.codes, self.lanes),
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
    examples = actions_of_world(features.world.spec.actions).examples()
    actions = np.repeat(examples[:1], len(lanes), axis=0)
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
            steps = [len(lane.recorder) * lane.hold for lane in lanes]
            chosen = who.act(observation, steps).numpy()
            for row, lane in enumerate(lanes):
                if lane.playing:
                    played, actions[row] = who.meant(row, chosen[row])
                    if (overruled := lane.overruled()) is not None:
                        played = actions[row] = overruled
                    lane.step(played)
                    if lane.recorder.finished:
                        jobs.give(lane.recorder.episode())
            for shown in range(lanes[0].hold):
                for row, lane in enumerate(lanes):
                    frames[row] = lane.shown[min(shown, len(lane.shown) - 1)]
                observation, *_ = features.follow(actions, frames)
            jobs.tick()
    finally:
        features.close()
        for lane in lanes:
            lane.close()


class _OneAgent:
    """One agent in all lanes."""

    def __init__(
        self,
        agent: Agent,
        dictionary: ActionDictionary | None,
        codes: Mapping[int, int] | None,
        lanes: int,
    ) -> None:
        """As of AgentPlayer."""
        self.act = Decisions(agent).act
        self._translation = None if dictionary is None else Translation(dictionary, lanes)
        self._codes = codes

    def begin(self, row: int, index: int) -> None:
        if self._translation is not None:
            self._translation.begin(row)

    def meant(self, row: int, chosen: Any) -> tuple[Any, Any]:
        """What is played in the game, and what the world follows, where the agent chose this."""
        played = chosen
        if self._translation is not None:
            played = self._translation.action(row, int(chosen))
        return played, chosen if self._codes is None else self._codes[int(chosen)]


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

    def act(self, observation: torch.Tensor, steps: Sequence[int]) -> torch.Tensor:
        return steer(self._actions, self._playing, observation)

    def meant(self, row: int, chosen: Any) -> tuple[Any, Any]:
        return chosen, chosen


class _Lane:
    """One game of several that are played together; it is started when its first turn comes."""

    def __init__(
        self,
        game: Game,
        keep_frames: bool,
        explore: float,
        *,
        labelled: bool = False,
        hold: int = 1,
    ) -> None:
        self._game = game
        self.hold = hold
        self._labelled = labelled
        self._explore = explore
        self._env: _Held | None = None
        self.recorder = Recorder(game, keep_frames, labelled)
        self.seeds = EpisodeSeeds(0, 0, 0)
        self._frame = np.zeros(0, np.uint8)
        self.shown: list[NDArray[np.uint8]] = [np.zeros((*game.frame_size, 3), np.uint8)]
        """The frames that followed the last action, of which the last is where the game stands."""
        self._overruled = np.zeros(0, bool)
        self._schedule = game.actions.examples()[:0]

    @property
    def playing(self) -> bool:
        return not self.recorder.finished

    def begin(self, index: int, seeds: EpisodeSeeds) -> NDArray[np.uint8]:
        if self._env is None:
            played = self._game
            if self.hold > 1:
                played = replace(played, frame_skip=played.frame_skip // self.hold)
            self._env = _Held(start_game(played, labelled=self._labelled), self.hold)
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
        self.shown = [self._frame]
        return self._frame

    def overruled(self) -> Any | None:
        """The action that is played in place of the agent's; None: the agent's."""
        step = len(self.recorder)
        return self._schedule[step] if self._overruled[step] else None

    def step(self, action: Any) -> None:
        assert self._env is not None
        self._frame = self.recorder.step(self._env, self._frame, action)
        self.shown = self._env.shown

    def close(self) -> None:
        if self._env is not None:
            self._env.close()


class _Held(gymnasium.Wrapper[NDArray[np.uint8], Any, NDArray[np.uint8], Any]):
    """Plays every action several times, and keeps the frames that each brought."""

    def __init__(self, env: gymnasium.Env[NDArray[np.uint8], Any], hold: int) -> None:
        super().__init__(env)
        self._hold = hold
        self.shown: list[NDArray[np.uint8]] = []

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        self.shown, paid = [], 0.0
        for _ in range(self._hold):
            frame, reward, terminated, truncated, info = self.env.step(action)
            self.shown.append(frame.copy() if self._hold > 1 else frame)
            paid += float(reward)
            if terminated or truncated:
                break
        return frame, paid, terminated, truncated, info
