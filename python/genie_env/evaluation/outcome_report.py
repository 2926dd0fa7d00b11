"""`genie-env outcomes`: how well a world knows reward and termination, as a table, JSON, a picture and a
section of its model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from genie_env._core import EpisodeStore, World
from genie_env.data.datasets import fingerprint, held_out, open_stores
from genie_env.data.files import write_atomically, write_json
from genie_env.data.progress import counted
from genie_env.data.world_recordings import check_game, check_new, check_recordings
from genie_env.envs.validation import check_temperature
from genie_env.evaluation.fidelity import actions_of
from genie_env.evaluation.outcomes import (
    Bin,
    Outcomes,
    Returns,
    agreeing,
    bins_of,
    drawn_episodes,
    dreamed_bins_of,
    measure,
)
from genie_env.families import knows_outcomes
from genie_env.families.model_card import put_section
from genie_env.training.labelled import drawn_among_alike
from genie_env.training.latent_actions import LATENT_ACTIONS_FOLDER

PICTURE = "outcomes.png"
TITLE = "Reward and termination"


@dataclass(frozen=True)
class Report:
    """What was found of one world."""

    followed: Returns
    dreamed: Returns
    bins: list[Bin]
    """Of followed steps. Empty where the world never terminates."""
    dreamed_bins: list[Bin]
    """Of dreams, by the step of their window."""

    @classmethod
    def of(cls, found: Outcomes, terminates: bool) -> Report:
        recorded, followed, dreamed = found.windows.T
        return cls(
            Returns.of(recorded, followed),
            Returns.of(recorded, dreamed),
            bins_of(found.steps) if terminates else [],
            dreamed_bins_of(found.by_step) if terminates else [],
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "followed": asdict(self.followed),
            "dreamed": asdict(self.dreamed),
            **_bins_as_json("", self.bins),
            **_bins_as_json("dreamed_", self.dreamed_bins),
        }


def _bins_as_json(prefix: str, bins: Sequence[Bin]) -> dict[str, Any]:
    listed = [{**asdict(each), "agrees": each.agrees} for each in bins]
    return {f"{prefix}bins": listed, f"{prefix}agreeing_bins": agreeing(bins)}


def outcomes(
    world: Path,
    data: Sequence[Path],
    *,
    options: Mapping[str, bool | int | float | str],
    windows: int,
    horizon: int,
    temperature: float | None,
    seed: int,
    device: str,
    out: Path | None,
    json_file: Path | None,
    card: bool,
    every_episode: bool = False,
) -> None:
    """Measures the world in the directory `world` on the held-out episodes of `data`; prints a table,
    writes `json_file`, and a picture into `out`, where given; with `card`, picture and figures go
    into the world's own directory. temperature: None for the world's own. every_episode: not only
    those held out, of recordings that no training used.

    Raises ValueError for wrong arguments, and where the recordings are not of the world's game, or,
    with `every_episode`, were trained on.
    """
    for name, value in (("windows", windows), ("horizon", horizon)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected 1 or more")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected 0 or more")
    if temperature is not None:
        check_temperature(temperature)
    loaded = World.load(world, device=device, options=dict(options))
    spec = loaded.spec
    stores = open_stores(data)
    check_recordings(loaded, data, stores)
    if not knows_outcomes(world):
        raise ValueError(
            f"the world {spec.name} has learned neither rewards nor ends: it pays none and never "
            "ends an episode, so that there is nothing to measure; give it heads with `genie-env train heads`"
        )
    check_game(loaded, data, stores)
    if every_episode:
        check_new(world, data, stores)
    chosen = [held_out(store) | every_episode for store in stores]
    actions = _actions_of_steps(loaded, world, data, stores, chosen)
    episodes = drawn_episodes(stores, chosen, actions, horizon, windows, seed)
    tau = spec.temperature if temperature is None else temperature
    console = Console()
    steps = sum(map(len, episodes))
    with counted("following", steps, "steps", console=console) as advance:
        found = measure(
            loaded, episodes, horizon=horizon, temperature=tau, seed=seed, progress=advance
        )
    report = Report.of(found, terminates=bool(found.steps[:, 0].any()))
    facts = {
        "windows": len(found.windows),
        "episodes": len(episodes),
        "steps": len(found.steps),
        "horizon": horizon,
        "temperature": tau,
        "seed": seed,
        "every_episode": every_episode,
        "world": spec.name,
        "fingerprint": spec.fingerprint,
        "dtype": spec.dtype,
        "options": {name: option.value for name, option in spec.options.items()},
        "data": [str(directory) for directory in data],
        "recordings": [fingerprint(store) for store in stores],
    }
    console.print(_table(report, horizon))
    console.print(_summary(facts), soft_wrap=True)
    if json_file is not None:
        write_json(json_file, {**report.as_json(), **facts})
        console.print(f"wrote {json_file}", soft_wrap=True)
    if out is not None:
        plot(found, report, horizon, out / PICTURE, f"{spec.name}, temperature {tau:g}")
        console.print(f"wrote {out / PICTURE}", soft_wrap=True)
    if card:
        plot(found, report, horizon, world / PICTURE, f"{spec.name}, temperature {tau:g}")
        put_section(world, TITLE, _card_lines(report, facts))
        console.print(
            f"wrote {world / PICTURE} and the section {TITLE!r} of its card", soft_wrap=True
        )


def _actions_of_steps(
    world: World,
    directory: Path,
    data: Sequence[Path],
    stores: Sequence[EpisodeStore],
    episodes: Sequence[NDArray[np.bool_]],
) -> list[NDArray[Any]]:
    """The world's action of every step of some episodes, an episode's last one too: [frames] a store.
    episodes: bool [E] a store."""
    inference = directory / LATENT_ACTIONS_FOLDER
    run = inference if inference.is_dir() else None
    actions = actions_of(world, directory, data, stores, run, episodes)
    if run is None:
        return actions
    filled = []
    for store, chosen, inferred in zip(stores, episodes, actions, strict=True):
        steps = np.flatnonzero(np.repeat(chosen, np.diff(store.episode_starts)))
        followed = np.ones(store.num_frames, bool)
        if store.final_frames is None:
            followed[store.episode_starts[1:] - 1] = False
        codes = inferred.astype(np.int64)
        codes[steps] = drawn_among_alike(inferred[steps], store.actions[steps], followed[steps])
        filled.append(codes)
    return filled


def _summary(facts: Mapping[str, Any]) -> str:
    kind = "new" if facts["every_episode"] else "held-out"
    return (
        f"{facts['windows']:,} windows of at most {facts['horizon']} steps in {facts['episodes']:,} "
        f"{kind} episodes ({facts['steps']:,} steps); temperature {facts['temperature']:g}; world "
        f"{facts['world']} ({facts['fingerprint'][:12]}, {facts['dtype']})"
    )


def _rows(report: Report) -> list[tuple[str, str, str]]:
    """Figure, of followed frames, of dreams."""

    def r2(returns: Returns) -> str:
        return "does not vary" if returns.r2 is None else f"{returns.r2:.3f}"

    rows = [
        ("R2 of returns", r2(report.followed), r2(report.dreamed)),
        (
            "mean absolute error",
            f"{report.followed.error:.4g}",
            f"{report.dreamed.error:.4g}",
        ),
        ("mean return recorded", f"{report.followed.mean:.4g}", f"{report.dreamed.mean:.4g}"),
    ]
    if report.bins:
        counts = [f"{agreeing(b)} of {len(b)}" for b in (report.bins, report.dreamed_bins)]
        rows.append(("bins of termination that agree", counts[0], counts[1]))
    return rows


def _table(report: Report, horizon: int) -> Table:
    table = Table(
        title=f"windows of {horizon} steps: what the world says against what was recorded",
        caption="a bin agrees where its mean probability lies in the 95 % Wilson interval of the "
        "recorded share; followed steps are binned by their probability, dreamed ones by their place "
        "in the window",
    )
    for column in ("figure", "followed", "dreamed"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for row in _rows(report):
        table.add_row(*row)
    return table


def _card_lines(report: Report, facts: Mapping[str, Any]) -> list[str]:
    lines = [f"{_summary(facts)}. As `genie-env outcomes` measures it:", ""]
    lines += ["| figure | followed | dreamed |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in _rows(report)]
    if not facts["every_episode"]:
        lines += ["", "The termination's scale and shift were fitted on held-out episodes as well."]
    return [*lines, "", f"![reward and termination]({PICTURE})"]


def plot(found: Outcomes, report: Report, horizon: int, file: Path, title: str) -> None:
    """Three panels: returns told against recorded ones, followed and dreamed; and the recorded share
    of terminations by the probability told, of both."""
    figure = Figure(figsize=(15, 4.8), layout="constrained")
    figure.suptitle(title)
    followed, dreamed, terminations = figure.subplots(1, 3)
    recorded = found.windows[:, 0]
    _returns(followed, recorded, found.windows[:, 1], report.followed, f"followed {horizon} steps")
    _returns(dreamed, recorded, found.windows[:, 2], report.dreamed, f"dreamed {horizon} steps")
    _reliability(terminations, report)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def _returns(
    panel: Axes,
    recorded: NDArray[np.float64],
    told: NDArray[np.float64],
    returns: Returns,
    title: str,
) -> None:
    r2 = "" if returns.r2 is None else f", R2 {returns.r2:.3f}"
    panel.plot(recorded, told, ".", color="C0", alpha=0.3)
    ends = [min(recorded.min(), told.min()), max(recorded.max(), told.max())]
    panel.plot(ends, ends, color="black", linewidth=0.8)
    panel.set(title=f"{title}{r2}", xlabel="recorded return", ylabel="the world's return")


def _reliability(panel: Axes, report: Report) -> None:
    if not report.bins:
        panel.text(0.5, 0.5, "this world never terminates", ha="center", va="center")
        panel.set_axis_off()
        return
    kinds = (("followed", report.bins, "o", "C3"), ("dreamed", report.dreamed_bins, "s", "C1"))
    for name, bins, marker, color in kinds:
        told, share, low, high = np.array(
            [(each.predicted, each.observed, each.low, each.high) for each in bins]
        ).T
        label, error = f"{name}, {agreeing(bins)} of {len(bins)} agree", [share - low, high - share]
        panel.errorbar(told, share, yerr=error, fmt=marker, color=color, capsize=3, label=label)
    least = max(min(min(each.predicted for each in report.bins), 1e-2), 1e-6)
    panel.plot([least, 1], [least, 1], color="black", linewidth=0.8)
    panel.set_xscale("symlog", linthresh=least)
    panel.set_yscale("symlog", linthresh=least)
    panel.set(
        title="termination",
        xlabel="probability told",
        ylabel="recorded share (95 % Wilson interval)",
    )
    panel.legend(loc="upper left")
