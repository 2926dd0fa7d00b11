"""Plays the real game without any world, and keeps what an episode is made of."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from genie_env.data.episode import Episode
from genie_env.envs.actions import DiscreteActions
from genie_env.games.base import Game
from genie_env.games.env_actions import checked_action
from genie_env.games.recorded_env import checked_env

if TYPE_CHECKING:
    from genie_env.data.workers import Jobs

LARGEST_SEED = 2**63 - 1
"""Of a command: evaluations add to it, and the sum still has 64 bits."""
LONGEST_EPISODE = 10_000
"""Frames after which an episode of an environment without a time limit is truncated."""

_POLICY_ORDER = (
    "round by round, each permuted by "
    "numpy.random.default_rng(numpy.random.SeedSequence(seed, spawn_key=(round, 0)))"
)


def start_game(game: Game, *, labelled: bool = False) -> gymnasium.Env[NDArray[np.uint8], Any]:
    """The environment of a game, in a worker; see `checked_env`."""
    env = checked_env(game, labelled=labelled)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(0)  # workers are many: none of them starts threads to resize a frame
    return env


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
    """Plays fixed schedules of actions, and the game's own scripts.

    Several policies share every round of as many episodes, in an order of the round's own: with one
    order for all, every 20th episode (the part that training holds out) might be one policy's.
    """

    game: Game
    seed: int
    policies: tuple[str, ...]
    keep_frames: bool = True
    labelled: bool = False
    """Whether the objects of every frame are kept too."""

    lanes = 1

    def describe(self) -> dict[str, Any]:
        """The player's part of meta.json."""
        policies = {"policies": list(self.policies)}
        return policies if len(self.policies) == 1 else {**policies, "policy_order": _POLICY_ORDER}

    def policy_of(self, index: int) -> str:
        """Who plays an episode: a function of the seed and the index alone."""
        turn, place = divmod(index, len(self.policies))
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(turn, 0)))
        order = rng.permutation(len(self.policies))
        return self.policies[int(order[place])]

    def play(self, jobs: Jobs) -> None:
        env = start_game(self.game, labelled=self.labelled)
        recorder = Recorder(self.game, self.keep_frames, self.labelled)
        try:
            while (index := jobs.take()) is not None:
                seeds = EpisodeSeeds.of(self.seed, index)
                actions = self.game.play(self.policy_of(index), seeds.policy, env)
                frame, info = env.reset(seed=seeds.game)
                recorder.begin(index, seeds.game, info)
                while not recorder.finished:
                    frame = recorder.step(env, frame, next(actions))
                    jobs.tick()
                jobs.give(recorder.episode())
        finally:
            env.close()


class Recorder:
    """Steps a game and keeps what an episode is made of, in buffers that are used again."""

    def __init__(self, game: Game, keep_frames: bool, labelled: bool = False) -> None:
        self._keep_frames = keep_frames
        self._labelled = labelled
        self._keep_final_frame = keep_frames and game.has_final_frame
        self._known_actions = game.actions
        self._frames: NDArray[np.uint8] | None = None
        self._final_frame: NDArray[np.uint8] | None = None
        self._index = self._seed = 0
        self._actions: list[Any] = []
        self._rewards: list[float] = []
        self._labels: list[NDArray[np.float32]] = []
        self._info: dict[str, Any] = {}
        self._terminated = self._truncated = True

    def begin(self, index: int, seed: int, info: dict[str, Any]) -> None:
        """`info`: what the environment's `reset` gave beside the first frame."""
        self._index, self._seed = index, seed
        self._actions, self._rewards, self._labels = [], [], []
        self._info = info
        self._final_frame = None
        self._terminated = self._truncated = False

    def __len__(self) -> int:
        return len(self._actions)

    @property
    def finished(self) -> bool:
        """Whether the episode has ended, or none has begun."""
        return self._terminated or self._truncated

    def step(self, env: Any, frame: NDArray[np.uint8], action: Any) -> NDArray[np.uint8]:
        """Plays `action`, a number or float32 [...], chosen on seeing `frame`; returns the next
        frame. Raises gymnasium.error.InvalidAction for an action that the game does not have."""
        step = len(self)
        if self._keep_frames:
            if self._frames is None:
                self._frames = np.empty((512, *frame.shape), np.uint8)
            elif step == len(self._frames):
                self._frames = np.concatenate([self._frames, np.empty_like(self._frames)])
            self._frames[step] = frame
        if self._labelled:
            self._labels.append(self._info["labels"])
        action = checked_action(self._known_actions, action)  # what is played is recorded
        following: NDArray[np.uint8]
        following, reward, self._terminated, truncated, self._info = env.step(action)
        self._actions.append(action)
        self._rewards.append(reward)
        # An environment may report both; the game's own end is the one that the data keeps.
        cut = truncated or len(self) == LONGEST_EPISODE
        self._truncated = cut and not self._terminated
        if self._keep_final_frame and self.finished:
            self._final_frame = following.copy()
        return following

    def episode(self) -> Episode:
        """The finished episode. Its frames are borrowed until the next `begin`."""
        taken = self._actions
        numbered = isinstance(self._known_actions, DiscreteActions)
        actions = np.array(taken, np.int64) if numbered else np.array(taken, np.float32)
        return Episode(
            index=self._index,
            seed=self._seed,
            frames=None if self._frames is None else self._frames[: len(self)],
            actions=actions,
            rewards=np.array(self._rewards, np.float32),
            terminated=bool(self._terminated),
            truncated=bool(self._truncated),
            final_frame=self._final_frame,
            labels=np.stack(self._labels) if self._labelled else None,
        )
