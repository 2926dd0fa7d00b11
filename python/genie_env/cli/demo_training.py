"""How the demo trains an agent: a linear controller by CMA-ES, or, of continuous actions, a network by
PPO, which learns to steer sooner."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from genie_env._core import VecEnv
from genie_env.agents.agent import Agent
from genie_env.agents.controller import LinearController, outputs
from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.agents.evolution import SCORED_DREAMS, ControllerSettings, train_controller
from genie_env.agents.ppo import PpoSettings, PpoUpdate, train_ppo
from genie_env.agents.training_progress import TrainingProgress
from genie_env.data.progress import Progress, busy
from genie_env.envs.actions import BoxActions
from genie_env.games.base import rounded

GENERATIONS = 12
"""The least number of generations that the training should get through, and ..."""
EXPECTED_STEPS = 400
"""... the most steps that a dream then lasts on average."""


@dataclass(frozen=True)
class Round:
    """A generation of CMA-ES, or an update of PPO. Scores are sums of rewards, means over dreams."""

    index: int
    steps: int
    """Dream steps since the beginning of the training."""
    seconds: float
    mean: float | None
    """Of the dreams that it learned from; None where it has none, and only scores."""
    best: float | None
    """The best candidate's; None where there are no candidates."""
    score: float | None
    """The agent's in fresh dreams; None mostly."""
    best_score: float | None
    """The best of these so far; None before the first."""
    agent: Agent


class ControllerTraining:
    """A linear controller, from `start` or from zero weights, by CMA-ES."""

    noun, unit = "controller", "generations"

    def __init__(
        self, dreams: Dreams, minutes: float, seed: int, start: LinearController | None
    ) -> None:
        settings = ControllerSettings(steps=10**12, minutes=minutes, seed=seed)
        settings.check()
        self._dreams, self._settings, self._start = dreams, settings, start

    def rounds(self, console: Console) -> Iterator[Round]:
        """Trains for the given time, and shows how it goes."""
        dreams = self._dreams
        with busy("measuring how fast this machine dreams", console=console):
            count = affordable_dreams(dreams, self._settings)
        settings = dataclasses.replace(self._settings, dreams=count)
        console.print(f"a generation: {settings.population} candidates, {count} dreams each")
        with TrainingProgress(settings, dreams.score, console) as progress:
            run = train_controller(
                dreams,
                settings,
                warm=self._start,
                on_step=progress.step,
                higher_is_better=dreams.score.higher_is_better,
            )
            for now in run:
                yield Round(
                    now.index,
                    now.steps,
                    now.seconds,
                    now.mean,
                    now.best,
                    now.score,
                    now.best_score,
                    now.controller,
                )
                progress.generation(now)

    def untrained(self) -> LinearController:
        """A candidate of evolution's first population."""
        dreams, count = self._dreams, outputs(self._dreams.actions)
        random = np.random.Generator(np.random.Philox(key=self._settings.seed))
        shape = (dreams.num_features,) if count == 1 else (count, dreams.num_features)
        weight = random.normal(0, self._settings.sigma, shape).astype(np.float32)
        return LinearController(weight, dreams.observation, dreams.fingerprint, {}, dreams.actions)


class NetworkTraining:
    """A policy network, by PPO."""

    noun, unit = "network", "updates"

    def __init__(self, dreams: Dreams, minutes: float, seed: int) -> None:
        """Raises ImportError without Stable-Baselines3."""
        self._dreams, self._seconds = dreams, 60 * minutes
        self._settings = PpoSettings(seed=seed)
        train_ppo(
            dreams, self._settings
        )  # which checks all; nothing is trained before the first update

    def rounds(self, console: Console) -> Iterator[Round]:
        """Trains for the given time, and shows how it goes."""
        dreams, score = self._dreams, self._dreams.score
        with busy("measuring how fast this machine learns", console=console):
            (trial,) = train_ppo(dreams, dataclasses.replace(self._settings, steps=1))
        steps = max(1, int(trial.steps_per_s * self._seconds))
        settings = dataclasses.replace(self._settings, steps=steps)
        console.print(f"PPO: {settings.num_envs} dreams at a time, about {steps / 1e6:.2f} M steps")
        columns = (
            TextColumn("update {task.fields[index]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        live, began = console.is_interactive, time.perf_counter()
        with Progress(*columns, console=console, transient=not live) as progress:
            task = progress.add_task("", total=steps, index=0, below="")
            show = partial(progress.update, task)
            run = train_ppo(dreams, settings, on_step=lambda done: show(completed=done))
            for index, update in enumerate(run):
                seconds = time.perf_counter() - began
                now = Round(
                    index,
                    update.steps,
                    seconds,
                    update.mean_return,
                    None,
                    None,
                    None,
                    update.agent,
                )
                yield now
                text = _describe(update, score.name)
                show(index=index + 1, below=text if live else "")
                if not live:
                    progress.say(f"update {index}: {text}, {update.steps / 1e6:.2f} M steps")
                if seconds >= self._seconds:
                    break
        seeds = derived_seeds(self._settings.seed, 0, count=SCORED_DREAMS)
        with busy("scoring it in fresh dreams", console=console):
            found = float(dreams.play_agent(now.agent, seeds).scores.mean())
        yield dataclasses.replace(
            now, index=now.index + 1, mean=None, score=found, best_score=found
        )

    def untrained(self) -> None:
        """None: its actions are those in the middle, without noise."""


Training = ControllerTraining | NetworkTraining


def training_of(
    dreams: Dreams, minutes: float, seed: int, start: LinearController | None
) -> Training:
    """The training for the world's actions. Raises ValueError for values that it does not take, and
    ImportError where it needs what is not installed."""
    if not isinstance(dreams.actions, BoxActions):
        return ControllerTraining(dreams, minutes, seed, start)
    if start is not None:
        raise ValueError(
            f"--warm starts from a linear controller, but for {dreams.actions} the demo trains a "
            "network by PPO: leave it out, or give the controller to `genie-env train controller`"
        )
    return NetworkTraining(dreams, minutes, seed)


def affordable_dreams(dreams: Dreams, settings: ControllerSettings) -> int:
    """Dreams a candidate, at most the usual number: few enough that a slow machine, too, gets
    through GENERATIONS in its time."""
    env = VecEnv(dreams.world, num_envs=512, temperature=dreams.temperature)
    env.reset(seeds=list(range(512)))
    examples = dreams.actions.examples()
    actions = torch.from_numpy(examples[np.arange(512) % len(examples)])
    env.step(actions)
    began, steps = time.perf_counter(), 16
    for _ in range(steps):
        env.step(actions)
    steps_per_s = 512 * steps / (time.perf_counter() - began)
    generation = 60 * (settings.minutes or 0) / GENERATIONS  # seconds
    length = min(EXPECTED_STEPS, dreams.world.spec.max_episode_steps)
    affordable = generation * steps_per_s / (settings.population * length)
    return min(max(int(affordable), 1), settings.dreams)


def _describe(update: PpoUpdate, score: str) -> str:
    mean = "no dream has ended" if update.mean_return is None else rounded(update.mean_return)
    return f"{score} mean {mean}, {update.steps_per_s:,.0f} steps/s"
