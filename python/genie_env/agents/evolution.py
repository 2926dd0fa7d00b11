"""CMA-ES trains a linear controller, entirely inside the dream."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import gt, lt
from pathlib import Path
from typing import Any

import cma  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from genie_env.agents.agent import AGENT
from genie_env.agents.controller import LinearController, outputs
from genie_env.agents.dreams import (
    Dreams,
    EpisodeResults,
    EvaluateControllers,
    OnStep,
    derived_seeds,
)
from genie_env.data.files import write_atomically
from genie_env.data.run_directory import claim_run
from genie_env.envs.json_files import read_json_lines

LOG = "generations.jsonl"

_LINE = {
    "generation": int,
    "steps": int,
    "seconds": float,
    "candidates": [float],
    "score": (float, None),
}
"""A line of the log."""

SCORE_EVERY = 5
"""Generations between two scores of the distribution's mean."""
SCORED_DREAMS = 256
MOST_FEATURES = 2048
"""Numbers of an observation that a controller reads."""
MOST_CORRELATED = 4096
"""Weights up to which the covariance is full, as in the paper; beyond, its matrix would not fit into
memory, and only its diagonal is learned (sep-CMA-ES, Ros & Hansen 2008)."""


@dataclass(frozen=True)
class ControllerSettings:
    """All that decides a training run, besides its world and the weights it starts from."""

    steps: int = 40_000_000
    """Dream steps to spend; the generation that passes it is the last."""
    minutes: float | None = None
    """Time to spend, if that is over sooner."""
    seed: int = 0
    population: int = 64
    dreams: int = 16
    """Dreams a candidate; all candidates of a generation dream from the same seeds."""
    sigma: float = 0.1
    """Standard deviation of the first population."""

    def check(self) -> None:
        for name, least in (("steps", 1), ("population", 4), ("dreams", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")
        for name in ("sigma", "minutes"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} is {value}; expected a number above 0")


@dataclass(frozen=True)
class Generation:
    """The results of one generation. Scores are sums of rewards, each a mean over dreams."""

    index: int
    steps: int
    """Dream steps since the beginning of the run, those of scoring included."""
    seconds: float
    """Since the beginning of the run, CMA-ES's own included, interruptions left out."""
    steps_per_s: float
    mean: float | None
    """The population's mean score; None where this generation has no population and only scores."""
    best: float | None
    """The best candidate's score: too good, since it is chosen among many."""
    sigma: float
    score: float | None
    """The score of the distribution's mean at the start of this generation, on fresh dreams; None
    mostly."""
    best_score: float
    """The best score so far: the controller's."""
    controller: LinearController
    """The distribution's mean that has the best score so far."""


def train_controller(
    dreams: Dreams,
    settings: ControllerSettings,
    *,
    out: Path | None = None,
    warm: LinearController | None = None,
    on_step: OnStep | None = None,
    in_real_game: EvaluateControllers | None = None,
    higher_is_better: bool = True,
) -> Iterator[Generation]:
    """Trains a controller in `dreams`, all dreams of a generation in one batch; see `evolve`.

    Starts from `warm`, or from all weights zero: a controller that always takes the middle action
    (of many numbered ones, the first). `on_step` is called at every step of a batch. A run in `out` that was stopped goes on; its steps
    and minutes may have been raised. Raises ValueError if the observation is no vector of at most
    MOST_FEATURES floats, or a generation does not fit into memory; at the first generation, ValueError if the run in `out`
    had other settings, and RuntimeError if another process writes there. `in_real_game`: train there
    instead (a baseline); the dreams then only say what the controller sees. `higher_is_better`: what
    the game says of its score.

        dreams = Dreams.load("doom-take-cover")
        for generation in train_controller(dreams, ControllerSettings(minutes=3)):
            print(generation.index, generation.mean, generation.best_score)
        generation.controller.save(Path("agent.safetensors"))
    """
    settings.check()
    if warm is not None:
        warm.check_fits(dreams.world.spec)
        dreams = replace(dreams, observation=warm.observation)
    if dreams.num_features > MOST_FEATURES:
        raise ValueError(
            f"{dreams.observation!r} has {dreams.num_features:,} numbers; a linear controller reads "
            f"at most {MOST_FEATURES:,}: give another --observation, or `genie-env train ppo`"
        )
    if in_real_game is None:
        _check_room(dreams, settings)
    count = outputs(dreams.actions)
    shape = (dreams.num_features,) if count == 1 else (count, dreams.num_features)
    start = np.zeros(shape, np.float32) if warm is None else warm.weight
    how: dict[str, Any] = {**dreams.settings, "seed": settings.seed}
    if in_real_game is not None:
        how = {"trained_in": "the real game", "seed": settings.seed}
    first = LinearController(
        start,
        dreams.observation,
        dreams.fingerprint,
        {k: str(v) for k, v in how.items()},
        dreams.actions,
    )
    identity = {
        "agent": LinearController.kind,
        "observation": dreams.observation,
        "world": dreams.fingerprint,
        # Chosen by processor: a run resumed on another one must not mix the two.
        "dtype": dreams.world.spec.dtype,
        **how,
        "population": settings.population,
        "dreams": settings.dreams,
        "sigma": settings.sigma,
        "warm": hashlib.sha256(start.tobytes()).hexdigest() if warm else None,
    }

    def dream(
        weights: NDArray[np.float32], owners: NDArray[np.int64], seeds: list[int]
    ) -> EpisodeResults:
        return dreams.play_controllers(weights, owners, seeds, on_step)

    def generations() -> Iterator[Generation]:
        claim = contextlib.nullcontext() if out is None else claim_run(out, identity, [LOG, AGENT])
        with claim:
            yield from evolve(
                in_real_game or dream, first, settings, out, higher_is_better=higher_is_better
            )

    return generations()


def _check_room(dreams: Dreams, settings: ControllerSettings) -> None:
    """Raises ValueError where the dreams of a generation do not fit into memory together."""
    try:
        dreams.check_room(settings.population * settings.dreams + SCORED_DREAMS)
    except ValueError as error:
        raise ValueError(
            f"a generation of {settings.population:,} candidates in {settings.dreams:,} dreams each "
            f"does not fit into memory ({error}): give fewer --dreams or a smaller --population"
        ) from error


class _Normal:
    """CMA-ES's Gaussian draws, a function of (seed, generation): cma itself would seed NumPy."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.begin(0)

    def begin(self, generation: int) -> None:
        self._random = np.random.Generator(np.random.Philox(key=[self._seed, generation]))

    def __call__(self, *shape: int) -> NDArray[np.float64]:
        return self._random.standard_normal(shape)


class _Log:
    """A line of JSON a generation. A kill may leave half a line at the end, which opening drops."""

    def __init__(self, file: Path | None, population: int) -> None:
        self._file = file
        self.lines: list[dict[str, Any]] = []
        if file is not None and file.exists():
            self.lines = read_json_lines(file, _LINE)
            self._check(file, population)
            text = file.read_bytes()
            whole = text[: text.rfind(b"\n") + 1]
            if whole != text:
                write_atomically(file, lambda temporary: temporary.write_bytes(whole))

    def _check(self, file: Path, population: int) -> None:
        """Raises ValueError, naming the line, where they are not those of one run."""
        generation, scored = 0, False
        for number, line in enumerate(self.lines, start=1):
            count = len(line["candidates"])
            # A generation without candidates scores the mean, once; that one then has them, if the
            # run goes on with more steps.
            if line["generation"] != generation or (count == 0 and scored):
                raise ValueError(
                    f"{file}, line {number} is of generation {line['generation']}, expected "
                    f"{generation}: several trainings have written into this run, and nothing in it "
                    "can be relied on; train into another --out"
                )
            if count not in (0, population) or not line["seconds"] > 0 or line["steps"] < 0:
                raise ValueError(
                    f"{file}, line {number} has {count} candidates, {line['steps']} steps and "
                    f"{line['seconds']} seconds, expected {population} or none, and numbers above "
                    "0; bring the file back from a copy, or train into another --out"
                )
            if count == 0 and line["score"] is None:
                raise ValueError(
                    f"{file}, line {number} has neither candidates nor a score; bring the file "
                    "back from a copy, or train into another --out"
                )
            generation, scored = generation + (count > 0), count == 0

    def append(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            with self._file.open("a") as opened:
                opened.write(json.dumps(line) + "\n")


def evolve(
    evaluate: EvaluateControllers,
    first: LinearController,
    settings: ControllerSettings,
    out: Path | None = None,
    *,
    higher_is_better: bool = True,
) -> Iterator[Generation]:
    """Improves `first` by CMA-ES, a generation at a time, until the budget is spent.

    The scores that `evaluate` gives are logged in `out` (generations.jsonl), and all else follows
    from them: a run that was stopped is replayed to where it stood (its generations are yielded
    again) and goes on as if it had never stopped. The controller with the best score so far is
    agent.safetensors there. The last generation only scores the final mean.

    The covariance is full up to MOST_CORRELATED weights. Of 1,088 weights it costs 0.06 s a generation on
    two cores, beside 10 to 25 s of dreams: cma decomposes it only as often as its (here very small)
    learning rates ask. Of 3,168 it costs more than a second. That time counts among the run's seconds.
    """
    settings.check()
    log = _Log(out / LOG if out else None, settings.population)
    normal = _Normal(settings.seed)
    strategy = cma.CMAEvolutionStrategy(
        first.weight.astype(np.float64).ravel(),
        settings.sigma,
        {
            "popsize": settings.population,
            "randn": normal,
            "seed": math.nan,
            "verbose": -9,
            "CMA_diagonal": first.weight.size > MOST_CORRELATED,
        },
    )
    steps, seconds, scored = 0, 0.0, False
    own = 0.0  # seconds of CMA-ES itself since the last line
    better, best_of, sign = (gt, max, -1) if higher_is_better else (lt, min, 1)
    best_score, controller = math.inf * sign, first

    for line in itertools.chain(log.lines, itertools.repeat(None)):
        index = strategy.countiter
        spent = steps >= settings.steps or (
            settings.minutes is not None and seconds >= 60 * settings.minutes
        )
        if line is None and spent and scored:
            return
        mean = strategy.mean.astype(np.float32).reshape(first.weight.shape)
        population = []
        began = time.perf_counter()
        if line["candidates"] if line else not spent:
            normal.begin(index)
            population = strategy.ask()
        own += time.perf_counter() - began
        new = line is None
        if line is None:
            due = spent or (index % SCORE_EVERY == 0 and not scored)
            shape = first.weight.shape
            tried = [candidate.reshape(shape) for candidate in population]
            line = _try_out(evaluate, settings, index, tried, mean if due else None)
            line["seconds"] += own
        own = 0.0

        steps += line["steps"]
        seconds += line["seconds"]
        scored = line["score"] is not None
        if scored and better(line["score"], best_score):
            best_score = line["score"]
            notes = {"generation": str(index), "score": f"{best_score:.1f}", "steps": str(steps)}
            controller = replace(first, weight=mean, notes={**first.notes, **notes})
            if new and out is not None:
                controller.save(out / AGENT)
        if new:
            log.append(line)
        if population:
            began = time.perf_counter()
            strategy.tell(population, [sign * score for score in line["candidates"]])
            own = time.perf_counter() - began
            scored = False
        yield Generation(
            index=index,
            steps=steps,
            seconds=seconds,
            steps_per_s=line["steps"] / line["seconds"],
            mean=float(np.mean(line["candidates"])) if population else None,
            best=best_of(line["candidates"], default=None),
            sigma=float(strategy.sigma),
            score=line["score"],
            best_score=best_score,
            controller=controller,
        )


def _try_out(
    evaluate: EvaluateControllers,
    settings: ControllerSettings,
    index: int,
    population: list[NDArray[np.float64]],
    mean: NDArray[np.float32] | None,
) -> dict[str, Any]:
    """Plays a generation's candidates and, if given, the distribution's mean, all in one batch."""
    began = time.perf_counter()
    shared = derived_seeds(settings.seed, index, 0, count=settings.dreams)
    weights: list[NDArray[Any]] = list(population)
    episodes = [len(shared)] * len(population)
    seeds = shared * len(population)
    if mean is not None:
        weights.append(mean)
        episodes.append(SCORED_DREAMS)
        seeds = seeds + derived_seeds(settings.seed, index, 1, count=SCORED_DREAMS)
    owners = np.repeat(np.arange(len(weights)), episodes)
    results = evaluate(np.stack(weights).astype(np.float32), owners, seeds)
    means = np.bincount(owners, results.scores) / episodes
    return {
        "generation": index,
        "steps": results.steps,
        "seconds": time.perf_counter() - began,
        "candidates": means[: len(population)].tolist(),
        "score": float(means[-1]) if mean is not None else None,
    }
