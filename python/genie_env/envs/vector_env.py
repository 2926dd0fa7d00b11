"""N dreams at once, as a Gymnasium vector environment."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from genie_env import _core
from genie_env.envs import validation
from genie_env.envs.registry import find_world
from genie_env.envs.validation import Given

Array = Any
"""What an environment gives: np.ndarray, or torch.Tensor where its output is "torch"."""

StepFunction = Callable[[Array, Array, Array], Given]
"""Of observations, actions and next observations, none of which it may write to."""

_RESET_OPTIONS = "'reset_mask', 'frames', 'actions', 'snapshot' or 'temperature'"


class DreamVectorEnv(VectorEnv[Array, Given, Array]):
    """N dreams in one frozen world, stepped together.

        env = DreamVectorEnv("doom-take-cover", num_envs=1024, temperature=1.15)
        observations, infos = env.reset(seed=0)
        observations, rewards, terminations, truncations, infos = env.step(actions)

    Every array that is returned is fresh: it never changes afterwards. `infos["surprise"]` is
    float32 [N]: how unlikely the world itself finds the new frame, in nats a latent dimension;
    `infos["_surprise"]` is false in rows that this step reset. `infos["out_of_support"]`, where it
    was asked for, is how far the new frame is from those that the world was trained on: the
    Mahalanobis distance of its latents. Not for several threads at a time.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 35}  # Doom's tics

    single_observation_space: gymnasium.spaces.Box
    single_action_space: gymnasium.spaces.Discrete[np.int64]

    def __init__(
        self,
        world: str | Path | _core.World,
        num_envs: int = 1,
        *,
        device: str = "cpu",
        dtype: str = "auto",
        temperature: Given | None = None,
        termination: str = "calibrated",
        passes: int | None = None,
        order: str | None = None,
        observation: str | None = None,
        output: str = "numpy",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        max_surprise: float | None = None,
        out_of_support: bool = False,
        max_out_of_support: float | None = None,
        reward_fn: StepFunction | None = None,
        termination_fn: StepFunction | None = None,
        render_mode: str | None = None,
        seed: int | None = None,
    ) -> None:
        """Loads the world and makes `num_envs` dreams in it, none of which has begun.

        Args:
            world: a shipped world's name, the path of a world directory, or a loaded world (which
                environments may share).
            device: "cpu", "cuda" or "cuda:1".
            dtype: "float32", "bfloat16", or "auto": bfloat16 where it is faster.
            temperature: of sampling: one number, or one a row (floats [N]); None: the world's
                calibrated one.
            termination: "sampled" from its probability, "thresholded" at one half, or
                "calibrated": whichever of the two the world's config names.
            passes: of MaskGIT a frame, 1 to 64, where the world's frames are tokens: the time of a
                step grows with them; None: the world's own.
            order: which tokens a pass settles: by "confidence" (the most certain first) or
                "random"; None: the world's own.
            observation: one of the world's; None: its first.
            output: "numpy" arrays, or "torch" tensors on the world's device.
            autoreset_mode: NEXT_STEP, SAME_STEP or DISABLED: Gymnasium's AutoresetMode, its value
                ("NextStep") or its name ("NEXT_STEP").
            max_episode_steps: steps after which an episode is truncated; None: the world's; 0: no
                limit.
            max_surprise: a step more surprising than that truncates the episode; None: none does.
            out_of_support: whether infos say how far each frame is from the training data.
            max_out_of_support: a step further away than that truncates the episode; None: none
                does.
            reward_fn, termination_fn: yours in place of the world's, of whole batches:
                f(observations, actions, next_observations) gives rewards (numbers [N]) or whether
                episodes ended (bool [N]). Rows that begin an episode are ignored. An exception
                arrives as it was raised, and the step has not happened.
            render_mode: None or "rgb_array".
            seed: row i has the seed `seed + i` until a reset gives it another; None: from the
                operating system.
        """
        arguments = {name: value for name, value in locals().items() if name != "self"}
        self._recipe = functools.partial(type(self), **arguments)
        validation.check_type("num_envs", num_envs, SupportsIndex, "an integer")
        for name, number in (
            ("num_envs", num_envs),
            ("max_episode_steps", max_episode_steps),
            ("passes", passes),
        ):
            validation.check_integer(name, number)
        by_rows = isinstance(temperature, list | tuple | np.ndarray | torch.Tensor)
        if not by_rows:
            validation.check_type("temperature", temperature, SupportsFloat | None, "a number")
        for name, threshold in (
            ("max_surprise", max_surprise),
            ("max_out_of_support", max_out_of_support),
        ):
            validation.check_type(name, threshold, SupportsFloat | None, "a number")
        validation.check_type("out_of_support", out_of_support, bool, "a bool")
        for name, function in (("reward_fn", reward_fn), ("termination_fn", termination_fn)):
            validation.check_type(name, function, Callable | None, "a function")
        validation.check_type("device", device, str, "its name, such as 'cpu'")
        validation.check_type("dtype", dtype, str, "its name, such as 'float32'")
        validation.check_type("order", order, str | None, "its name, such as 'random'")
        validation.check_type("observation", observation, str | None, "its name")
        worlds = str | Path | _core.World
        validation.check_type("world", world, worlds, "a name, a Path or a loaded world")
        for name, value, known in (
            ("output", output, ("numpy", "torch")),
            ("render_mode", render_mode, (None, "rgb_array")),
            ("termination", termination, ("calibrated", "sampled", "thresholded")),
        ):
            if value not in known:
                expected = " or ".join(repr(k) for k in known)
                raise ValueError(f"{name} is {value!r}, expected {expected}")

        choices = (device, dtype, termination, passes, order)
        if not isinstance(world, _core.World):
            loaded = _core.World.load(
                find_world(world),
                device=device,
                dtype=dtype,
                termination=None if termination == "calibrated" else termination,
                passes=passes,
                order=order,
            )
        elif choices == ("cpu", "auto", "calibrated", None, None):
            loaded = world
        else:
            raise ValueError(
                "device, dtype, termination, passes and order are chosen when a world is loaded: "
                "give them to World.load, or give the path of the world here"
            )
        self._give: Callable[[torch.Tensor], Array] = _as_it_is if output == "torch" else _as_numpy
        self.world = loaded
        """The frozen world; `world.spec` says what it is."""
        self._env: _core.VecEnv | None = _core.VecEnv(
            loaded,
            num_envs=num_envs,
            observation=observation or "",
            temperature=None if by_rows else temperature,
            autoreset_mode=validation.autoreset_mode(autoreset_mode).value,
            max_episode_steps=max_episode_steps,
            max_surprise=max_surprise,
            out_of_support=out_of_support,
            max_out_of_support=max_out_of_support,
            reward_fn=self._step_function("reward_fn", reward_fn, validation.numbers),
            termination_fn=self._step_function("termination_fn", termination_fn, validation.boolean),
            seed=None if seed is None else validation.seed(seed),
        )
        self.options = self._env.options
        """What the environment was made with, every default filled in."""
        self.num_envs = num_envs
        if by_rows:
            self.set_temperature(temperature)
        self.render_mode = render_mode
        mode = AutoresetMode(self.options.autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": mode}

        spec = loaded.spec
        self.single_action_space = gymnasium.spaces.Discrete(len(spec.actions))
        self.single_observation_space = next(
            _box(kind) for kind in spec.observations if kind.name == self.options.observation
        )

    # Batched bounds take as much memory as a batch of observations: they are made when asked for.
    @functools.cached_property
    def action_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        return batch_space(self.single_action_space, self.num_envs)

    @functools.cached_property
    def observation_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        return batch_space(self.single_observation_space, self.num_envs)

    @property
    def device(self) -> torch.device:
        """Where the world computes."""
        return self.world.device

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Begins episodes; returns the observations of all rows.

        Args:
            seed: int s: row i takes the seed s + i; a list: one a row. A row given a seed begins at
                its first episode; None: rows go on to their next.
            options: "reset_mask", bool [N]: the rows to reset, by default all. Only they take what
                else is given:
                "frames": begin from these instead of stored starts, uint8 [N, H, W, 3]; or from
                [N, T, H, W, 3], following them with the "actions" between, integers [N, T - 1];
                "snapshot": begin a new episode where it was taken, of N rows or of one for all;
                "temperature": one number, or one a row (floats [N]), until another is given.
        """
        env = self._open("reset")
        options = dict(options or {})
        mask, temperature = options.pop("reset_mask", None), options.pop("temperature", None)
        frames, actions = options.pop("frames", None), options.pop("actions", None)
        snapshot = options.pop("snapshot", None)
        if options:
            raise ValueError(f"options: got {sorted(options)}, expected {_RESET_OPTIONS}")
        observation = env.reset(
            seeds=None if seed is None else validation.row_seeds(seed, self.num_envs),
            mask=None if mask is None else validation.boolean("reset_mask", mask),
            frames=None if frames is None else validation.pixels("frames", frames),
            actions=None if actions is None else validation.integers("actions", actions),
            snapshot=None if snapshot is None else validation.snapshot(snapshot),
            temperature=None if temperature is None else self._temperatures(temperature),
        )
        super().reset(seed=int(seed) if isinstance(seed, (int, np.integer)) else None)
        return self._give(observation), {}

    def step(self, actions: Given) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """One dreamt frame a row.

        `actions`: integers [N]. Returns observations, rewards (float32), terminations, truncations
        (bool) and infos. A row whose episode has ended ignores its next action and begins another
        (NEXT_STEP), has begun it already (SAME_STEP: what the last step brought is then in
        `infos["final_obs"]` and `infos["final_info"]`), or must be reset (DISABLED).
        """
        return self._results(self._open("step").step(validation.integers("actions", actions)))

    def follow(
        self, actions: Given, frames: Given
    ) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """One given frame a row, reality's for instance: uint8 [N, H, W, 3].

        The observations are then what the world makes of these frames, and the surprise is its
        surprise at them. `terminations` are only its opinion: no row ends or resets by itself.
        """
        env = self._open("follow")
        return self._results(
            env.follow(validation.integers("actions", actions), validation.pixels("frames", frames))
        )

    def keep(self, rows: Given) -> None:
        """Goes on with only the given rows (integers [R], without repeats), in that order.

        No other row is computed any more; what the rows dream does not change.
        """
        env = self._open("keep")
        env.keep(validation.integers("rows", rows))
        self.num_envs = env.num_envs
        for space in ("action_space", "observation_space"):
            self.__dict__.pop(space, None)

    def set_temperature(self, temperature: Given) -> None:
        """The sampling temperature from the next step on: one number, or one a row (floats [N])."""
        self._open("set_temperature").set_temperature(self._temperatures(temperature))

    def snapshot(self, rows: Given | None = None) -> _core.Snapshot:
        """All that the given rows are (integers [R]; None: all): a value to keep, save and pickle.

        It holds their dreams, seeds, counters and temperatures.
        """
        env = self._open("snapshot")
        return env.snapshot(None if rows is None else validation.integers("rows", rows))

    def restore(
        self,
        snapshot: _core.Snapshot,
        rows: Given | None = None,
        seed: int | Sequence[int] | None = None,
    ) -> Array:
        """Rows go on where the snapshot was taken; returns the observations of all rows.

        The same actions then bring the same steps, to the bit. `rows` (integers [R], without
        repeats; None: all) take the snapshot's R rows, or its only one. With a seed (as in `reset`,
        one for each of `rows`) they branch off: the dream so far is the same, its future another.
        """
        env = self._open("restore")
        into = None if rows is None else validation.integers("rows", rows)
        return self._give(env.restore(validation.snapshot(snapshot), into, self._seeds_of(into, seed)))

    def fork(self, row: int, into: Given, seed: int | Sequence[int] | None = None) -> Array:
        """The rows `into` (integers [R]) become copies of `row`, as by `restore`."""
        env = self._open("fork")
        rows = validation.integers("into", into)
        return self._give(env.fork(validation.row(row), rows, self._seeds_of(rows, seed)))

    def frames(self, rows: Given | None = None) -> Array:
        """The current frames of the given rows (integers [R]), or of all: uint8 [R, H, W, 3]."""
        env = self._open("frames")
        return self._give(env.render(None if rows is None else validation.integers("rows", rows)))

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:  # type: ignore[override]
        """The current frame of every row, where the render mode is "rgb_array"."""
        env = self._open("render")
        if self.render_mode is None:
            gymnasium.logger.warn("render does nothing: the render mode is None, not 'rgb_array'")
            return None
        return tuple(_as_numpy(env.render()))

    def close_extras(self, **kwargs: Any) -> None:
        self._env = None

    def __reduce__(self) -> tuple[Any, ...]:
        """An environment is pickled as its arguments: the copy must be reset."""
        return self._recipe, ()

    def __repr__(self) -> str:
        return f"DreamVectorEnv({self.world.spec.name!r}, num_envs={self.num_envs})"

    def _open(self, call: str) -> _core.VecEnv:
        if self._env is None:
            raise gymnasium.error.ClosedEnvironmentError(
                f"{call}: the environment was closed; make another one"
            )
        return self._env

    def _results(
        self, step: _core.VecEnvStep
    ) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        give, began = self._give, step.began
        scores = {"surprise": step.surprise}
        if step.out_of_support is not None:
            scores["out_of_support"] = step.out_of_support
        if step.final_observation is None:  # scores are 0 already where a row began
            infos = self._infos(scores, ~began)
        else:
            infos = self._infos(_where(~began, scores), ~began) | {
                "final_obs": self._final_observations(step.final_observation, began),
                "final_info": self._infos(_where(began, scores), began),
                "_final_obs": give(began.clone()),
                "_final_info": give(began.clone()),
            }
        return (
            give(step.observation),
            give(step.reward),
            give(step.terminated),
            give(step.truncated),
            infos,
        )

    def _infos(self, scores: dict[str, torch.Tensor], rows: torch.Tensor) -> dict[str, Any]:
        """The scores with the mask of these rows (bool [N]), as Gymnasium gives infos."""
        infos: dict[str, Any] = {}
        for name, score in scores.items():
            infos |= {name: self._give(score), f"_{name}": self._give(rows.clone())}
        return infos

    def _final_observations(self, observations: torch.Tensor, rows: torch.Tensor) -> Array:
        """As Gymnasium gives them: one object a row, None where no episode ended.

        Torch knows no such arrays: there it is all observations before the rows were reset.
        """
        final = self._give(observations)
        if isinstance(final, torch.Tensor):
            return final
        objects = np.full(len(final), None, dtype=object)
        for row in rows.nonzero().flatten().tolist():
            objects[row] = final[row]
        return objects

    def _temperatures(self, values: Given) -> torch.Tensor:
        temperature = validation.numbers("temperature", values)
        return temperature.expand(self.num_envs) if temperature.ndim == 0 else temperature

    def _seeds_of(
        self, rows: torch.Tensor | None, seed: int | Sequence[int] | None
    ) -> list[int] | None:
        count = self.num_envs if rows is None else rows.numel()
        return None if seed is None else validation.row_seeds(seed, count)

    def _step_function(
        self,
        name: str,
        function: StepFunction | None,
        check: Callable[[str, Given], torch.Tensor],
    ) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] | None:
        """The user's function, on what the environment gives, for the compiled part."""
        if function is None:
            return None
        give = self._give
        return lambda *step: check(f"what {name} gave", function(*map(give, step)))


make_vec = DreamVectorEnv
"""Makes a vector environment; also the entry point of gymnasium.make_vec."""


def _where(rows: torch.Tensor, scores: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: score.where(rows, 0) for name, score in scores.items()}


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _as_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()


def _box(spec: _core.TensorSpec) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(spec.low, spec.high, tuple(spec.shape), np.dtype(spec.dtype).type)
