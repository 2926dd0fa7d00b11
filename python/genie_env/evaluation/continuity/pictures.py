"""The pictures of `genie-env continuity`: figures by age, and reality beside dreams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from genie_env._core import World, WorldState
from genie_env.data.files import write_atomically
from genie_env.evaluation.continuity.dreams import dreams, observed
from genie_env.evaluation.continuity.episodes import Past
from genie_env.evaluation.continuity.objects import QUANTITIES
from genie_env.evaluation.continuity.report import shown_kinds
from genie_env.evaluation.outcomes import Episode

PICTURED = 4
"""Episodes in the picture."""
DREAMS = 2
"""Of each."""
_COLORS = {"reality": "C7", "mean": "C0", "single": "C1", "frozen": "C2", "label": "black"}
_ERRORS = {"dream": "C1", "dream_mean": "C0", "round_trip": "C7", "frozen": "C2", "other": "C3"}
_WORDS = {"dream_mean": "mean of dreams", "round_trip": "round trip", "other": "other episode"}
_READ = {
    "reality": "reality",
    "mean": "mean of dreams",
    "single": "single dreams",
    "frozen": "frozen",
}
Figures = Mapping[str, Any]


def plot(found: Mapping[str, Figures], file: Path, title: str) -> None:
    """Errors, and where they were measured R2 and shares of what is read, and the drift, by age."""
    objects, drift = found.get("objects"), found.get("drift")
    kinds = [] if objects is None else shown_kinds(objects)[:-1]
    columns = 1 + 3 * bool(objects) + bool(drift)
    canvas = Canvas(figsize=(4.6 * columns, 4.2 * max(1, len(kinds))), layout="constrained")
    canvas.suptitle(title)
    panels = canvas.subplots(max(1, len(kinds)), columns, squeeze=False)
    _errors(panels[0, 0], found["errors"])
    for row, kind in enumerate(kinds):
        assert objects is not None
        _read(panels[row, 1:4], objects, kind)
    if drift is not None:
        _drift(panels[0, -1], drift)
    for row in panels[1:]:
        row[0].set_axis_off()
        if drift is not None:
            row[-1].set_axis_off()
    write_atomically(file, lambda temporary: canvas.savefig(temporary, format="png", dpi=110))


def _line(panel: Axes, figures: Figures, color: str, label: str) -> None:
    """Means and intervals by age."""
    ages = [int(age) for age in figures]
    panel.plot(
        ages, [f["mean"] for f in figures.values()], "o-", color=color, label=label, markersize=3
    )
    if all(figure["ci95"] is not None for figure in figures.values()):
        ends = np.array([figure["ci95"] for figure in figures.values()]).T
        panel.fill_between(ages, *ends, color=color, alpha=0.15, linewidth=0)


def _errors(panel: Axes, errors: Figures) -> None:
    for name, color in _ERRORS.items():
        _line(panel, errors[name], color, _WORDS.get(name, name))
    panel.set(
        title="against what followed", xlabel="frames dreamed", ylabel="mean squared error", ylim=0
    )
    panel.legend(fontsize="small")


def _read(panels: NDArray[np.object_], objects: Figures, kind: str) -> None:
    by_age = objects["read"][kind]
    for panel, quantity in zip(panels, QUANTITIES, strict=False):
        measured = {age: each[quantity] for age, each in by_age.items() if quantity in each}
        for name, words in _READ.items():
            _line(panel, {age: each[name] for age, each in measured.items()}, _COLORS[name], words)
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set(
            title=f"{quantity} of the nearest {objects['object']}, from {kind}",
            xlabel="frames dreamed",
            ylabel="R2",
            ylim=(-0.5, 1),
        )
    panels[0].legend(fontsize="small")
    shares = {"label": "labelled", "reality": "read in reality", "dream": "read in dreams"}
    for name, words in shares.items():
        color = _COLORS.get(name, "C0")
        _line(panels[2], {age: each["shows"][name] for age, each in by_age.items()}, color, words)
    panels[2].set(
        title=f"frames that show a {objects['object']}", xlabel="frames dreamed", ylim=(0, 1)
    )
    panels[2].legend(fontsize="small")


def _drift(panel: Axes, drift: Figures) -> None:
    _line(panel, drift["auc"], "C3", "dreamed against real")
    panel.axhline(0.5, color="black", linewidth=0.8)
    panel.set(
        title="dreamed frames told from real ones",
        xlabel="frames dreamed",
        ylabel="AUC",
        ylim=(0.4, 1),
    )
    ages = [int(age) for age in drift["auc"]]
    panel.set_xscale("symlog", linthresh=1)
    panel.set_xticks(ages, [f"{age}" for age in ages])
    panel.set_xlim(left=0)


def picture(
    world: World,
    episodes: Sequence[Episode],
    burn_in: int,
    ages: Sequence[int],
    temperature: float,
    seed: int,
    file: Path,
) -> None:
    """For some episodes, at age 0 and each of the others: reality, its round trip, and dreams."""
    kind = world.spec.frame.name if world.spec.frame is not None else ""
    some, horizon = episodes[:PICTURED], max(ages)
    columns = (0, *ages)

    def shown(state: WorldState, rows: torch.Tensor | None = None) -> torch.Tensor:
        return world.observe(state, kind, rows)

    pasts = [Past(i, (burn_in + len(each) - 1 - horizon) // 2) for i, each in enumerate(some)]
    moved = [Past(past.episode, past.frame + age) for past in pasts for age in columns]
    given = observed(world, some, moved, {kind: shown}, seed=seed)[kind]
    grid = np.zeros((len(some), 2 + DREAMS, len(columns), *given.shape[1:]), np.uint8)
    grid[:, 1] = given.reshape(len(some), len(columns), *given.shape[1:])
    for (row, past), (column, age) in (
        (r, c) for r in enumerate(pasts) for c in enumerate(columns)
    ):
        episode = some[past.episode]
        grid[row, 0, column] = episode.store.frames[episode.first + past.frame + age]
    for at in dreams(
        world, some, pasts, horizon=horizon, samples=DREAMS, temperature=temperature, seed=seed
    ):
        if at.age in columns:
            grid[at.pasts, 2 + at.samples, columns.index(at.age)] = shown(at.state).cpu().numpy()
    _save(grid, columns, file)


def _save(grid: NDArray[np.uint8], ages: Sequence[int], file: Path) -> None:
    """[episodes, rows, ages, H, W, 3]"""
    names = ["reality", "round trip", *(f"dream {n + 1}" for n in range(DREAMS))]
    episodes, rows, columns = grid.shape[:3]
    canvas = Canvas(figsize=(1.3 * columns + 1, 1.3 * episodes * rows), layout="constrained")
    panels = canvas.subplots(episodes * rows, columns, squeeze=False)
    for row, line in enumerate(panels):
        for column, panel in enumerate(line):
            panel.imshow(grid[row // rows, row % rows, column], interpolation="nearest")
            panel.set_xticks([])
            panel.set_yticks([])
            if row == 0:
                panel.set_title(f"age {ages[column]}", fontsize=9)
        line[0].set_ylabel(names[row % rows], fontsize=8)
    write_atomically(file, lambda temporary: canvas.savefig(temporary, format="png", dpi=80))
