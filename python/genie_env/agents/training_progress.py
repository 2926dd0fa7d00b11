"""How the training of a controller is shown while it runs."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from genie_env.agents.evolution import ControllerSettings, Generation
from genie_env.data.progress import Progress
from genie_env.games.base import Score, rounded


class TrainingProgress:
    """A live bar over the generations of a run: a context manager, and a callback of every step."""

    def __init__(self, settings: ControllerSettings, score: Score, console: Console) -> None:
        self._settings = settings
        self._score = score
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[step]}"),
            console=console,
            transient=not console.is_interactive,  # the last generation has a line already
        )
        self._task = self._bar.add_task("generation 0", total=1.0, step="", below="")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, step: int, alive: int) -> None:
        """Call it at every step of a generation's dreams."""
        if step % 32 == 0:
            self._bar.update(self._task, step=f"step {step}, {alive} dreams alive")

    def generation(self, generation: Generation) -> None:
        """Call it after every generation."""
        done = generation.steps / self._settings.steps
        if self._settings.minutes is not None:
            done = max(done, generation.seconds / (60 * self._settings.minutes))
        text = describe(generation, self._score)
        # One that only scores is followed by none, or has its candidates then.
        following = generation.index + (generation.mean is not None)
        live = self._bar.console.is_interactive
        self._bar.update(
            self._task,
            description=f"generation {following}",
            completed=min(done, 1.0),
            step="",
            below=text if live else "",
        )
        if not live:
            millions = generation.steps / 1e6
            self._bar.say(f"generation {generation.index}: {text}, {millions:.1f} M steps")


def describe(generation: Generation, score: Score) -> str:
    if generation.mean is None or generation.best is None:
        assert generation.score is not None  # a generation without candidates only scores
        played = f"final {score.name} {rounded(generation.score)}"
    else:
        played = f"{score.name} mean {rounded(generation.mean)}, best {rounded(generation.best)}"
    return (
        f"{played}, controller {rounded(generation.best_score)} {score.unit}, "
        f"{generation.steps_per_s:,.0f} steps/s"
    )
