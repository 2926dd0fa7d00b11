"""The seam of games: what the package has to know of a real game, and what it need not.

A new game is one class with `actions`, `frame_size`, `frames_per_second` and `make`, in a file of
its own, and one call of `registry.register_game`. A Gymnasium environment with pictures needs
neither: see `games.gymnasium`.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from genie_env.envs.actions import Actions, Taken
from genie_env.games.blind import GENERAL_POLICIES, Draws, general_schedule
from genie_env.games.frames import FrameSize

__all__ = ["FrameSize", "Game", "Score", "rounded"]

_FIRST_SCHEDULE = 2100


@dataclass(frozen=True)
class Score:
    """The name and the unit of the sum of an episode's rewards."""

    name: str = "score"
    unit: str = "points"
    higher_is_better: bool = True

    def __str__(self) -> str:
        return f"{self.name} ({self.unit})"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def of_json(value: Any) -> Score:
        """Reads what `as_json` gave. Raises ValueError for anything else."""
        kinds = {"name": str, "unit": str, "higher_is_better": bool}
        if not (
            isinstance(value, dict)
            and value.keys() == kinds.keys()
            and all(isinstance(value[name], kind) for name, kind in kinds.items())
        ):
            raise ValueError(
                f'"score" is {value!r}; expected its "name" and "unit" as text, and '
                '"higher_is_better", true or false'
            )
        return Score(**value)


def rounded(score: float) -> str:
    """A score for tables: a whole number from 100 on, three digits below.

    >>> rounded(1092.4), rounded(30.0), rounded(0.12345)
    ('1,092', '30', '0.123')
    """
    return f"{score:,.0f}" if abs(score) >= 100 else f"{score:.3g}"


@dataclass(frozen=True)
class Game(ABC):
    """A real game at one frame skip.

    Picklable: every worker process makes its own environment. A step of the game is what its
    environment takes without any frame skip; policies, limits and rates count such steps.
    """

    name: str
    frame_skip: int = 1
    """Steps of the game that an action is held for; one frame is kept of them."""
    env_args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the environment, which describe a variant of the game."""

    score: ClassVar[Score] = Score()
    has_final_frame: ClassVar[bool] = True
    """Whether the environment shows a frame after an episode's last action; it is then recorded."""
    own_policies: ClassVar[Mapping[str, str]] = {}
    """Blind policies beyond the general ones, and what each does; `schedule` plays them."""
    scripted_policies: ClassVar[Mapping[str, str]] = {}
    """Policies that read the game's own state, and what each does; `script` plays them. A dream has no
    such state: they play the real game alone."""
    baselines: ClassVar[tuple[str, ...]] = ("random", "held", "long-held")
    """The blind policies that dream and reality are compared by."""
    constant_policies: ClassVar[tuple[str, ...]] = ()
    """The baselines that repeat one action: the first that an agent in training finds."""
    axes: ClassVar[tuple[str, ...]] = ()
    """What the numbers of a continuous action are, in order; empty where the game does not say."""
    yardsticks: ClassVar[Mapping[str, str]] = {"random play": "random"}
    """The policies, blind or scripted, that an agent's score is shown beside, the weakest first, by
    what a table calls them."""
    policy_hint: ClassVar[str] = ""
    """What the names of its own policies leave open, for the error that lists them."""
    recording_policy: ClassVar[str] = "held"
    """The policy, blind or scripted, whose recordings cover the game well."""
    label_classes: ClassVar[tuple[str, ...]] = ()
    """The classes of the objects that `make_labelled` labels, the one that matters most first; empty
    where the game labels none."""

    def __post_init__(self) -> None:
        if self.frame_skip < 1:
            raise ValueError(f"frame skip is {self.frame_skip}; expected 1 or more")

    @property
    @abstractmethod
    def actions(self) -> Actions:
        """What its actions are and mean; the action space of `make()`'s environment is
        `actions.space`."""

    @property
    @abstractmethod
    def frame_size(self) -> FrameSize:
        """The size of every frame that `make()`'s environment shows."""

    @property
    @abstractmethod
    def frames_per_second(self) -> float | None:
        """Steps of the game that a second of play takes; None where the game does not say. A
        registered game whose rate is a constant gives it as an attribute of its class."""

    @property
    def max_steps(self) -> int | None:
        """Steps after which the game truncates an episode; None where it has no such limit. Like the
        rate, it may be an attribute of the class."""
        return None

    @property
    def notices(self) -> tuple[str, ...]:
        """What who records the game should know, each in a line."""
        return ()

    @abstractmethod
    def make(self) -> gymnasium.Env[NDArray[np.uint8], Any]:
        """An environment of its own: observations uint8 [height, width, 3], actions as `actions`
        says, each held for `frame_skip` steps, whose rewards are summed."""

    def make_labelled(self) -> gymnasium.Env[NDArray[np.uint8], Any]:
        """An environment that gives the objects of every frame as well, as `labels.packed` does:
        float32 [8, 6], `info["labels"]` of `reset` and `step`. By default `make()` does so."""
        self.check_labelled()
        return self.make()

    def check_labelled(self) -> None:
        """Raises ValueError where the game labels no objects."""
        if not self.label_classes:
            raise ValueError(
                f"{self.name} does not say what objects its frames show: record it without --labels"
            )

    def settings(self) -> dict[str, Any]:
        """Everything else that decides the game's dynamics and pictures, for meta.json. Raises an
        ImportError that says what to install where the game cannot be played."""
        return dict(self.env_args)

    def recorded_arguments(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The `env_args` that the settings of a recording tell of, where it does not give them itself,
        as recordings of format 1 do not."""
        return {}

    @property
    def recorded_frames_per_second(self) -> float | None:
        """Frames that are kept of a second of play."""
        rate = self.frames_per_second
        return None if rate is None else rate / self.frame_skip

    @property
    def policies(self) -> dict[str, str]:
        """Every blind policy that can play this game, and what it does."""
        return {**GENERAL_POLICIES, **self.own_policies}

    def knows_policy(self, policy: str) -> bool:
        return policy in self.policies

    def check_policy(self, policy: str) -> None:
        """Raises ValueError for a blind policy that this game does not know."""
        if policy in self.scripted_policies:
            raise ValueError(
                f"the policy {policy!r} reads the state of {self.name} itself, which a dream does not "
                f"have; expected one of {', '.join(self.policies)}, its blind policies"
            )
        if not self.knows_policy(policy):
            raise ValueError(
                f"unknown policy {policy!r}; expected one of {', '.join(self.policies)}, the blind "
                f"policies of {self.name}{self._scripts()}{self.policy_hint}"
            )

    def check_real_policy(self, policy: str) -> None:
        """Raises ValueError for a policy, blind or scripted, that this game does not know."""
        if policy not in self.scripted_policies:
            self.check_policy(policy)

    def _scripts(self) -> str:
        names = ", ".join(self.scripted_policies)
        return f", or, in the real game, {names}" if names else ""

    def blind_actions(self, policy: str, seed: int, steps: int) -> Taken:
        """An episode's first `steps` actions under a blind policy, each held for `frame_skip` steps
        of the game: int64 [steps] or float32 [steps, ...], a function of the arguments alone.

        A longer schedule begins with the shorter one. Raises ValueError for an unknown policy.
        """
        self.check_policy(policy)
        every = self.schedule(policy, Draws.of(seed), steps * self.frame_skip)
        return every[:: self.frame_skip]

    def schedule(self, policy: str, draws: Draws, length: int) -> Taken:
        """The actions of a policy in the first `length` steps of the game: int64 [length] or float32
        [length, ...]. A game with policies of its own overrides this, and calls it for the others."""
        return general_schedule(policy, draws, length, self.actions)

    def play(self, policy: str, seed: int, env: gymnasium.Env[Any, Any]) -> Iterator[Any]:
        """The actions of a policy, blind or scripted, in an episode of `env`, which `make()` gave: each
        is chosen when it is asked for, in the state that `env` then has. A function of the policy and
        the seed. Raises ValueError for an unknown policy."""
        self.check_real_policy(policy)
        return (
            self.script(policy, seed, env)
            if policy in self.scripted_policies
            else self._play_blind(policy, seed)
        )

    def script(self, policy: str, seed: int, env: gymnasium.Env[Any, Any]) -> Iterator[Any]:
        """The same of one of `scripted_policies`. A game that has some overrides this."""
        raise NotImplementedError(f"{self.name} does not say how {policy!r} plays")

    def _play_blind(self, policy: str, seed: int) -> Iterator[Any]:
        schedule = self.blind_actions(policy, seed, 0)
        for step in itertools.count():
            # In pieces that double; longer schedules begin with shorter ones.
            if step == len(schedule):
                schedule = self.blind_actions(policy, seed, max(_FIRST_SCHEDULE, 2 * step))
            yield schedule[step]

    def with_arguments(self, env_args: Mapping[str, Any]) -> Game:
        """The same game with these `env_args` in place of its own; those that are left out stay."""
        return replace(self, env_args={**self.env_args, **env_args}) if env_args else self

    def describe(self) -> dict[str, Any]:
        """The game's part of meta.json. Raises where the game cannot be played."""
        height, width = self.frame_size
        rate, settings = self.recorded_frames_per_second, self.settings()
        # Those of a Gymnasium environment are its settings.
        env_args = {} if settings == self.env_args else {"env_args": dict(self.env_args)}
        return {
            "game": self.name,
            "settings": settings,
            **env_args,
            "frame_skip": self.frame_skip,
            "actions": self.actions.as_json(),
            "score": self.score.as_json(),
            "frame": {"height": height, "width": width},
            **({} if rate is None else {"frames_per_second": rate}),
            **({} if self.max_steps is None else {"max_steps": self.max_steps}),
        }

    def __str__(self) -> str:
        height, width = self.frame_size
        return f"{self.name} at frame skip {self.frame_skip}, {height} x {width}"
