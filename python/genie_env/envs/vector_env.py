"""N dreams at once, as a Gymnasium vector environment."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from genie_env import _core
from genie_env.envs import validation
from genie_env.envs.actions import actions_of_world
from genie_env.envs.frame_rate import UNKNOWN_RATE, frames_per_second
from genie_env.envs.infos import (
    as_it_is,
    as_numpy,
    final_observations,
    scores_of,
    with_masks,
    zero_elsewhere,
)
from genie_env.envs.load_world import load_world
from genie_env.envs.options import (
    Array,
    EnvOptions,
    FixedOptions,
    as_arguments,
    constructor,
    function,
    keywords,
)
from genie_env.envs.step_functions import core_function
from genie_env.envs.validation import Given

_RESET_OPTIONS = "'reset_mask', 'frames', 'actions', 'snapshot' or 'temperature'"


class DreamVectorEnv(FixedOptions, VectorEnv[Array, Given, Array]):
    """N dreams in one frozen world, stepped together.

        env = DreamVectorEnv("doom-take-cover", num_envs=1024, temperature=1.15)
        observations, infos = env.reset(seed=0)
        observations, rewards, terminations, truncations, infos = env.step(actions)

    Every array that is returned is fresh, unless `copy` is False: it never changes afterwards.
    `infos["surprise"]`, float32 [N], is the negative log-likelihood of the new frame under the
    world's own prediction, in nats a latent dimension or token; `infos["_surprise"]` is false in
    rows that this step reset. `infos["latent_distance"]`, float32 [N], if it was asked for, is the
    Mahalanobis distance of the frame's latents to those of the training frames.
    `infos["termination_probability"]`, float32 [N], is what the world decided `terminations` by; it
    is missing where nothing terminates in the world, and where `termination_fn` decides.

    One thread at a time uses an environment: a call while another thread is in one raises
    `genie_env.Busy`, and `close` waits. `close` frees what the rows hold.

    Misuse raises TypeError or ValueError, or Gymnasium's InvalidAction, ResetNeeded or
    ClosedEnvironmentError, and leaves the environment as it was.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": UNKNOWN_RATE}

    single_observation_space: gymnasium.spaces.Box
    single_action_space: gymnasium.spaces.Discrete[np.int64] | gymnasium.spaces.Box

    @constructor(keywords)
    def __init__(
        self,
        world: str | Path | _core.World,
        num_envs: int = 1,
        **options: Any,
    ) -> None:
        """Loads the world and makes `num_envs` dreams in it, none of which has begun.

        Args:
            world: an installed world's name, the path of a world directory, or a loaded world
                (which environments may share).
            num_envs: N, dreams stepped together.
            options: the fields of `EnvOptions`, which says what they are; all others are options of
                the world's family, such as those that `genie-env worlds NAME` lists.
        """
        make: Callable[..., DreamVectorEnv] = type(self)
        self._recipe = functools.partial(make, world=world, num_envs=num_envs, **options)
        self.num_envs = validation.integer("num_envs", num_envs)
        given = EnvOptions.of(options)
        self.given = given
        """The options as they were given."""
        self._give: Callable[[torch.Tensor], Array] = (
            as_it_is if given.output == "torch" else as_numpy
        )
        self._buffers: list[torch.Tensor] = []  # of the last two steps, without copy
        self._stepper: ThreadPoolExecutor | None = None
        self._beginning = threading.Lock()  # of step_async
        self._pending: Future[_core.VecEnvStep] | None = None
        self.world = load_world(world, given)
        """The frozen world; `world.spec` says what it is."""
        self._env = _core.VecEnv(
            self.world,
            num_envs=self.num_envs,
            observation=given.observation or "",
            temperature=None if given.temperature_by_row else given.temperature,
            autoreset_mode=validation.autoreset_mode(given.autoreset_mode).value,
            max_episode_steps=given.max_episode_steps,
            max_surprise=given.max_surprise,
            latent_distance=given.latent_distance,
            max_latent_distance=given.max_latent_distance,
            reward_fn=core_function("reward_fn", given.reward_fn, self._give),
            termination_fn=core_function("termination_fn", given.termination_fn, self._give),
            starts=given.starts_in(self.world),
            seed=given.seed,
        )
        self.options = self._env.options
        """The options of the dreams, the world's defaults filled in."""
        if given.temperature_by_row:
            self.set_temperature(given.temperature)
        self.render_mode = given.render_mode
        mode = AutoresetMode(self.options.autoreset_mode)
        spec = self.world.spec
        self.metadata = {
            **type(self).metadata,
            # At which Gymnasium's players and recorders show what is rendered.
            "render_fps": frames_per_second(spec),
            "autoreset_mode": mode,
        }
        self.single_action_space = actions_of_world(spec.actions).space
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

    @property
    def temperature(self) -> Array:
        """The sampling temperature of each row, float32 [N]; to set it, see `set_temperature`."""
        return self._give(self._open("temperature").temperature)

    @temperature.setter
    def temperature(self, temperature: Given) -> None:
        self.set_temperature(temperature)

    @property
    def rollback_bytes(self) -> int:
        """Bytes that the last step saved so that a failing reward_fn or termination_fn could be
        taken back; 0 without them."""
        return self._open("rollback_bytes").rollback_bytes

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
                [N, T, H, W, 3], following them with the "actions" between, [N, T - 1, ...];
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
            actions=(
                None if actions is None else validation.actions(actions, self.single_action_space)
            ),
            snapshot=None if snapshot is None else validation.snapshot(snapshot),
            temperature=None if temperature is None else self._temperatures(temperature),
        )
        super().reset(seed=validation.index(seed))
        return self._give(observation), {}

    def step(self, actions: Given) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Samples the next frame of every row.

        `actions`: integers [N] (Discrete) or numbers [N, ...] (Box). Returns observations [N, ...], rewards (float32 [N]), terminations
        and truncations (bool [N]), and infos. A row whose episode has ended ignores its next action
        and begins another episode (NEXT_STEP), has begun it already (SAME_STEP: the results of the
        last step are then in `infos["final_obs"]` and `infos["final_info"]`), or must be reset
        (DISABLED).
        """
        self._open("step")
        return self._results(self._step(validation.actions(actions, self.single_action_space)))

    def step_async(self, actions: Given) -> None:
        """Begins the step that `step_wait` returns, in another thread: meanwhile this one may learn.

        `actions`: as of `step`; they are copied. Until `step_wait`, every other call but `close`
        raises AlreadyPendingCallError.
        """
        copied = validation.actions(actions, self.single_action_space).clone()
        with self._beginning:
            self._open("step_async")
            if self._stepper is None:
                self._stepper = ThreadPoolExecutor(1, thread_name_prefix="step_async")
            self._pending = self._stepper.submit(self._step, copied)

    def step_wait(self) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Waits for the step that `step_async` began; returns, or raises, what `step` would.

        Raises NoAsyncCallError where none was begun. Ctrl-C leaves the step under way.
        """
        self._check_not_closed("step_wait")
        if self._pending is None:
            raise gymnasium.error.NoAsyncCallError(
                "step_wait: no step is under way; call step_async first", "step_wait"
            )
        wait([self._pending])
        pending, self._pending = self._pending, None
        return self._results(pending.result())

    def follow(
        self, actions: Given, frames: Given
    ) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Steps to given frames, uint8 [N, H, W, 3], such as those of the real game.

        `actions`: as of `step`, which led to these frames. Returns what `step` returns: the
        observations are those of the given frames, and so is the surprise. `terminations` are the
        world's prediction: no row ends or resets by itself.
        """
        env = self._open("follow")
        return self._results(
            env.follow(
                validation.actions(actions, self.single_action_space),
                validation.pixels("frames", frames),
            )
        )

    def keep(self, rows: Given) -> None:
        """Drops all rows but the given ones (integers [R], without repeats), which take that order.

        The other rows are not computed any more; the dreams of those that are kept do not change.
        """
        env = self._open("keep")
        env.keep(validation.integers("rows", rows))
        self.num_envs = env.num_envs
        self._buffers.clear()
        for space in ("action_space", "observation_space"):
            self.__dict__.pop(space, None)

    def set_temperature(self, temperature: Given) -> None:
        """Sets the sampling temperature from the next step on: one number, or one a row (floats
        [N])."""
        self._open("set_temperature").set_temperature(self._temperatures(temperature))

    def snapshot(self, rows: Given | None = None) -> _core.Snapshot:
        """The state of the given rows (integers [R]; None: all), to keep, save or pickle.

        It holds everything that decides their next step: dreams, seeds, counters, temperatures.
        """
        env = self._open("snapshot")
        return env.snapshot(None if rows is None else validation.integers("rows", rows))

    def restore(
        self,
        snapshot: _core.Snapshot,
        rows: Given | None = None,
        seed: int | Sequence[int] | None = None,
    ) -> Array:
        """Sets rows back to a snapshot; returns the observations of all rows.

        The same actions then give the same steps, bit for bit. `rows` (integers [R], without
        repeats; None: all) take the snapshot's R rows, or its only one. With a seed (as in `reset`,
        one for each of `rows`) they branch off: the dream so far is the same, its future is not.
        """
        env = self._open("restore")
        into = None if rows is None else validation.integers("rows", rows)
        return self._give(
            env.restore(validation.snapshot(snapshot), into, self._seeds_of(into, seed))
        )

    def fork(self, row: int, into: Given, seed: int | Sequence[int] | None = None) -> Array:
        """The rows `into` (integers [R]) become copies of `row`, as by `restore`."""
        env = self._open("fork")
        rows, source = validation.integers("into", into), validation.integer("row", row)
        return self._give(env.fork(source, rows, self._seeds_of(rows, seed)))

    def frames(self, rows: Given | None = None) -> Array:
        """The current frames of the given rows (integers [R]), or of all: uint8 [R, H, W, 3]."""
        env = self._open("frames")
        return self._give(env.render(None if rows is None else validation.integers("rows", rows)))

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:  # type: ignore[override]
        """The current frame of every row, uint8 [H, W, 3], if the render mode is "rgb_array"."""
        env = self._open("render")
        if self.render_mode is None:
            gymnasium.logger.warn("render does nothing: the render mode is None, not 'rgb_array'")
            return None
        return tuple(as_numpy(env.render()))

    def close_extras(self, **kwargs: Any) -> None:
        self._env.close()  # first: it waits for the step under way, and may refuse
        if self._stepper is not None:
            self._stepper.shutdown()
        self._pending = None
        self._buffers.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        """An environment is pickled as its arguments: the copy must be reset. A world that was given
        is pickled as its directory, which must then hold the same world. Raises TypeError where a
        StartBank was given, which belongs to the world in memory."""
        if isinstance(self.given.starts, _core.StartBank):
            raise TypeError(
                "an environment whose starts are a StartBank cannot be pickled: give the directories of "
                "recorded episodes as starts"
            )
        return self._recipe, ()

    def __repr__(self) -> str:
        name, rows = self.world.spec.name, self.num_envs
        given = as_arguments({"world": name, "num_envs": rows, **self.given.chosen()})
        return f"DreamVectorEnv({given})"

    def _check_not_closed(self, call: str) -> None:
        if self.closed:
            raise gymnasium.error.ClosedEnvironmentError(
                f"{call}: the environment was closed; make another one"
            )

    def _open(self, call: str) -> _core.VecEnv:
        self._check_not_closed(call)
        if self._pending is not None:
            raise gymnasium.error.AlreadyPendingCallError(
                f"{call}: a step is under way since step_async; call step_wait first", call
            )
        return self._env

    def _step(self, actions: torch.Tensor) -> _core.VecEnvStep:
        if self.given.copy:
            return self._env.step(actions)
        used = self._buffers[0] if len(self._buffers) == 2 else None
        step = self._env.step(actions, used)
        self._buffers = [*self._buffers[-1:], step.observation]
        return step

    def _results(self, step: _core.VecEnvStep) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        give, began = self._give, step.began
        scores = scores_of(step)
        if step.final_observation is None:  # scores are 0 already where a row began
            infos = with_masks(scores, ~began, give)
        else:
            infos = with_masks(zero_elsewhere(~began, scores), ~began, give) | {
                "final_obs": final_observations(step.final_observation, began, give),
                "final_info": with_masks(zero_elsewhere(began, scores), began, give),
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

    def _temperatures(self, values: Given) -> torch.Tensor:
        temperature = validation.numbers("temperature", values)
        return temperature.expand(self.num_envs) if temperature.ndim == 0 else temperature

    def _seeds_of(
        self, rows: torch.Tensor | None, seed: int | Sequence[int] | None
    ) -> list[int] | None:
        count = self.num_envs if rows is None else rows.numel()
        return None if seed is None else validation.row_seeds(seed, count)


@function(keywords)
def make_vec(world: str | Path | _core.World, num_envs: int = 1, **options: Any) -> DreamVectorEnv:
    """N dreams in one frozen world, as a Gymnasium vector environment.

        env = genie_env.make_vec("doom-take-cover", num_envs=1024, temperature=1.15)
        env = genie_env.make_vec("doom-genie", num_envs=16, passes=4)  # an option of its family

    The arguments are those of DreamVectorEnv. Raises TypeError or ValueError that names the option,
    FormatError for a damaged world directory. It is also the entry point of gymnasium.make_vec.
    """
    return DreamVectorEnv(world, num_envs, **options)


def _box(spec: _core.TensorSpec) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(spec.low, spec.high, tuple(spec.shape), np.dtype(spec.dtype).type)
