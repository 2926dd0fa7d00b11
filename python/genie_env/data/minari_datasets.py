"""Minari datasets with pictures, as recordings.

What a dataset says of its environment is only looked up among those that are registered here: a
dataset that somebody sent names modules, and none of them is imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from genie_env.data.episode import Episode
from genie_env.data.frame_size import check_frame_size
from genie_env.data.recording import columns, versions
from genie_env.envs.actions import MOST_ACTIONS, Actions, DiscreteActions, Taken
from genie_env.games.base import FrameSize, Game, Score
from genie_env.games.env_actions import actions_of_space, within_bounds
from genie_env.games.frames import Preprocessing
from genie_env.games.recorded_env import in_colours, is_image, is_picture
from genie_env.games.registry import find_game, is_known

_HARMLESS = {
    "AddRenderObservation",
    "OrderEnforcing",
    "PassiveEnvChecker",
    "RecordEpisodeStatistics",
    "TimeLimit",
}
"""Wrappers that change neither what a game does nor its pictures."""


class ImportedDataset:
    """A Minari dataset, looked through and found to fit; its episodes are read one by one."""

    def __init__(
        self, dataset: str, picture: str | None = None, preprocessing: Preprocessing | None = None
    ) -> None:
        """`dataset`: the id of an installed one, or a directory; `picture`: the entry that is the
        picture, where observations are dictionaries; `preprocessing`: what is done to pictures.

        Raises ImportError where Minari is missing, and ValueError where there is no such dataset, it
        cannot be read, holds no pictures or actions of another kind, or no network takes its frames.
        """
        folder = _folder(dataset)
        with _readable(dataset):
            self._data = _opened(folder)
            self.name = str(self._data.id)
            self.num_episodes = int(self._data.total_episodes)
            self._env = self._data.env_spec
        self._picture = picture
        self._space = self._picture_space()
        self._preprocessing = preprocessing or Preprocessing()
        native: FrameSize = (self._space.shape[0], self._space.shape[1])
        self.frame_size = self._preprocessing.size_of(native)
        check_frame_size(self.frame_size)
        self.actions = self._actions()
        self.notices: list[str] = []
        """What who imports it should know, each in a line."""
        if self._data.action_space.dtype == np.float64:
            self.notices.append("actions of float64 are recorded as float32")
        self._game = self._real_game(native)
        if isinstance(self._game, Game):
            self.actions = self._game.actions  # which have names

    def meta(self) -> dict[str, Any]:
        """meta.json of format 2."""
        game = self._game
        about = game.describe() if isinstance(game, Game) else self._description(game)
        return {
            "format_version": 2,
            **columns(self.actions, self.frame_size, final_frames=True),
            **about,
            "minari": {
                "dataset": self.name,
                "environment": None if self._env is None else self._env.id,
                "picture": self._picture,
            },
            "versions": versions("minari"),
        }

    def episodes(self, first: int, end: int) -> Generator[Episode, None, None]:
        """The episodes first .. end - 1. Raises ValueError naming one that cannot be read or is not as
        the dataset says."""
        read = iter(self._data.iterate_episodes(range(first, end)))
        for index in range(first, end):
            with _readable(f"episode {index} of {self.name}"):
                data = next(read)
            try:
                episode = self._episode(index, data)
            except ValueError as error:
                raise ValueError(f"episode {index} of {self.name} {error}") from None
            yield episode

    def _picture_space(self) -> spaces.Box:
        """The space of the pictures. Raises ValueError where there are none."""
        space = self._data.observation_space
        expected = "expected pictures (uint8 [height, width, 3], or grey ones)"
        if isinstance(space, spaces.Dict):
            named = {name: each for name, each in space.spaces.items() if _is_picture(each)}
            if self._picture is None and named:
                choices = " or ".join(named)
                raise ValueError(
                    f"the observations of {self.name} are dictionaries: give --picture {choices}"
                )
            if named and self._picture not in named:
                raise ValueError(
                    f"--picture is {self._picture!r}; expected a picture among the observations of "
                    f"{self.name}: {', '.join(named)}"
                )
            space = named.get(str(self._picture), space)
        elif self._picture is not None:
            raise ValueError(
                f"--picture is {self._picture!r}, but the observations of {self.name} are {space}, no "
                "dictionaries: leave it out"
            )
        if not _is_picture(space):
            raise ValueError(
                f"{self.name} has no pictures: its observations are {space}; {expected}: give a "
                "dataset that was recorded with them, as by gymnasium.wrappers.AddRenderObservation"
            )
        box: spaces.Box = space
        return box

    def _actions(self) -> Actions:
        space = self._data.action_space
        try:
            actions = actions_of_space(space)
        except ValueError as error:
            raise ValueError(f"the actions of {self.name} are {space}: {error}") from None
        if actions is None:
            raise ValueError(
                f"the actions of {self.name} are {space}; expected Discrete of at most "
                f"{MOST_ACTIONS:,} actions, or a bounded Box of float32 or float64"
            )
        return actions

    def _real_game(self, native: FrameSize) -> Game | str:
        """The game that shows these pictures and takes these actions, or else only a name for it."""
        if self._env is None:
            self.notices.append(f"{self.name} names no environment: nothing can play its real game")
            return self.name
        name = str(self._env.id)
        if not is_known(name):
            self.notices.append(
                f"{name} is not registered here: its frames a second and the names of its actions "
                "stay unknown; begin with `genie-env --import MODULE` to know them"
            )
            return name
        env_args = self._env_args()
        found = []
        pictures = self._preprocessing
        for source, picture in (("observation", self._picture), ("render", None)):
            try:
                asked: Any = {"env_args": env_args, "frames": source, "picture": picture}
                game = find_game(name, frame_size="native", **asked)
                size, space = game.frame_size, game.actions.space
                if (size, space) == (native, self.actions.space):
                    self._say_wrappers(name)
                    return find_game(
                        name,
                        frame_size=pictures.resize or "native",
                        crop=pictures.crop,
                        pad=pictures.pad,
                        **asked,
                    )
                found.append(f"{source}: {size[0]} x {size[1]}, {space}")
            except Exception as error:  # whatever its constructor raises
                found.append(f"{source}: {str(error).splitlines()[0] if str(error) else error!r}")
        self.notices.append(
            f"{name} does not play here as it was recorded ({'; '.join(found)}), so that the game is "
            f"called {self.name}: to play it, register a game of that name (docs/games.md)"
        )
        return self.name

    def _env_args(self) -> dict[str, Any]:
        """The arguments of the environment that are not its registered ones."""
        if self._env is None:
            return {}
        registered = gymnasium.registry.get(self._env.id)
        usual = {} if registered is None else registered.kwargs
        return {
            name: value
            for name, value in self._env.kwargs.items()
            if name != "render_mode" and not (name in usual and usual[name] == value)
        }

    def _say_wrappers(self, name: str) -> None:
        assert self._env is not None
        wrappers = [each.name for each in self._env.additional_wrappers]
        if others := [each for each in wrappers if each not in _HARMLESS]:
            self.notices.append(
                f"it was recorded through {', '.join(others)}, without which {name} is played"
            )

    def _description(self, name: str) -> dict[str, Any]:
        """The game's part of meta.json, as far as the dataset tells."""
        env = self._env
        wrappers = [] if env is None else [each.name for each in env.additional_wrappers]
        picture = {} if self._picture is None else {"picture": self._picture}
        source = "render" if "AddRenderObservation" in wrappers else "observation"
        limit = None if env is None else env.max_episode_steps
        height, width = self.frame_size
        return {
            "game": name,
            "settings": self._env_args(),
            "frame_skip": 1,
            "actions": self.actions.as_json(),
            "score": Score().as_json(),
            "frame": {"height": height, "width": width},
            **({} if limit is None else {"max_steps": limit}),
            "preprocessing": {"from": source, **picture, **self._preprocessing.as_json()},
        }

    def _episode(self, index: int, data: Any) -> Episode:
        """Raises ValueError whose text goes on after the episode's name."""
        steps = len(data.rewards)
        shown = data.observations
        pictures = np.asarray(shown if self._picture is None else shown[self._picture])
        shape = (steps + 1, *self._space.shape)
        if steps < 1 or pictures.shape != shape or pictures.dtype != np.uint8:
            raise ValueError(
                f"has {steps} steps and pictures of {pictures.dtype} {list(pictures.shape)}; expected "
                f"at least one step, and uint8 {list(shape)}"
            )
        frames = np.stack([self._preprocessing.apply(in_colours(each)) for each in pictures])
        with np.errstate(over="ignore"):
            rewards = np.asarray(data.rewards).astype(np.float32)
        if not np.isfinite(rewards).all():
            raise ValueError("has a reward that is not a finite number of type float32")
        terminations, truncations = (
            np.asarray(each).astype(bool) for each in (data.terminations, data.truncations)
        )
        if (terminations | truncations)[:-1].any():
            raise ValueError(
                "goes on after a termination or a truncation; expected episodes that end with it"
            )
        terminated = bool(terminations[-1])
        return Episode(
            index,
            0,
            frames[:-1],
            self._taken(steps, data.actions),
            rewards,
            terminated,
            # What is cut off without a word is truncated.
            bool(truncations[-1]) or not terminated,
            frames[-1],
        )

    def _taken(self, steps: int, given: Any) -> Taken:
        """An episode's actions as they are recorded."""
        actions = np.asarray(given)
        shape = (steps, *(self.actions.space.shape or ()))
        taken: Taken | None = None
        if isinstance(self.actions, DiscreteActions):
            if actions.shape == shape and actions.dtype.kind in "iu":
                numbers = actions.astype(np.int64) - self.actions.start
                known = ((numbers >= 0) & (numbers < self.actions.count)).all()
                taken = actions.astype(np.int64) if known else None
        elif actions.shape == shape and actions.dtype.kind in "fiu":
            taken = within_bounds(self.actions, actions.astype(np.float32))
        if taken is None:
            raise ValueError(
                f"has actions of {actions.dtype} {list(actions.shape)} that are not {steps} of its "
                f"space, {self._data.action_space}"
            )
        return taken


def _is_picture(space: Any) -> bool:
    return (is_image(space) or is_picture(space)) and space.dtype == np.uint8


def _folder(dataset: str) -> Path:
    """Where a dataset's data are. Looks only: Minari would make a folder for its datasets."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    installed = Path(root) if root else Path.home() / ".minari" / "datasets"
    for place in (Path(dataset), installed / dataset):
        for folder in (place / "data", place):
            if os.path.isfile(folder / "metadata.json"):
                return folder
    raise ValueError(
        f"there is no Minari dataset {dataset!r}, as a directory or installed in {installed}: "
        "`minari list local` lists what is there, `minari download` installs one"
    )


def _opened(folder: Path) -> Any:
    try:
        import minari
    except ImportError as error:
        raise ImportError(
            "importing Minari datasets needs Minari: pip install 'genie_env[minari]'"
        ) from error
    metadata = json.loads((folder / "metadata.json").read_bytes())
    for field in ("observation_space", "action_space"):
        if not isinstance(metadata.get(field), str):
            # Minari would make the environment to ask it, whatever its module does.
            raise ValueError(f"metadata.json has no {field!r}")
    return minari.MinariDataset(folder)


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    """Whatever Minari raises over data is a ValueError that names them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of spaces, which are checked here
            yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{what} cannot be read ({why}): download or write it again") from error
