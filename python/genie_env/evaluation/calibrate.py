"""`genie-env calibrate`: does the dream kill as reality does?

Before any controller plays the real game, the sampling temperature and how termination is drawn
are fixed by policies that learn nothing: those at which such policies live as long in the dream as
in reality. A dream score alone would choose the world that is easiest to exploit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.panel import Panel
from rich.progress import track
from rich.table import Table

from genie_env.agents.dreams import TERMINATIONS, Dreams, derived_seeds
from genie_env.data.files import write_atomically, write_json
from genie_env.envs.registry import find_world
from genie_env.evaluation.evaluate import FRESH_GAMES, RealScores, blind_player, real_game
from genie_env.evaluation.statistics import Summary, summarise
from genie_env.games.frames import Game

POLICIES = ("random", "held", "left", "right", "still", "sweep:60", "sweep:80", "sweep:100")
CONSTANT = ("left", "right", "still")
TEMPERATURES = (0.1, 0.5, 0.75, 1.0, 1.15, 1.3, 1.5)
HOLE = 1.5
"""A constant policy that lives this many times longer in the dream than in reality is a hole."""


@dataclass(frozen=True)
class Setting:
    """One way to dream, and how long each policy survives in it."""

    termination: str
    temperature: float
    survival: Mapping[str, Summary]

    def error(self, real: Mapping[str, Summary]) -> float:
        """The mean over policies of |log(dream mean / real mean)|; 0.69 is a factor of two.

        Logarithms, so that twice as long and half as long are equally wrong and a policy that dies
        early counts as much as one that lives long; a mean of absolutes, so that the policies that
        live too long cannot hide behind those that die too soon.
        """
        return float(np.mean([abs(math.log(self.ratio(real, policy))) for policy in real]))

    def standard_error(self, real: Mapping[str, Summary]) -> float:
        """How far `error` may be off because its means are of n episodes each (delta method)."""
        means = [summary for policy in real for summary in (self.survival[policy], real[policy])]
        return math.sqrt(sum(_relative_variance(mean) for mean in means)) / len(real)

    def ratio(self, real: Mapping[str, Summary], policy: str) -> float:
        return self.survival[policy].mean / real[policy].mean


def _relative_variance(mean: Summary) -> float:
    """Of a mean. Of a single score, that of a survival at constant risk: mean and spread equal."""
    spread = mean.mean if mean.std is None else mean.std
    return (spread / mean.mean) ** 2 / mean.n


def choose(settings: Sequence[Setting], real: Mapping[str, Summary]) -> Setting:
    """Of the settings within a standard error of the smallest error, the temperature nearest 1.

    At temperature 1 the dream is what M learned; to leave it takes evidence (the one standard error
    rule: Breiman et al. 1984, section 3.4.3). Of equally near ones that with the smaller error.
    """
    best = min(settings, key=lambda setting: setting.error(real))
    limit = best.error(real) + best.standard_error(real)
    return min(
        (setting for setting in settings if setting.error(real) <= limit),
        key=lambda setting: (abs(math.log(setting.temperature)), setting.error(real)),
    )


def find_holes(setting: Setting, real: Mapping[str, Summary]) -> list[dict[str, Any]]:
    """The constant policies that live more than HOLE times longer in the dream than in reality."""
    return [
        {
            "policy": policy,
            "dream": setting.survival[policy].mean,
            "real": real[policy].mean,
            "ratio": setting.ratio(real, policy),
        }
        for policy in CONSTANT
        if policy in real and setting.ratio(real, policy) > HOLE
    ]


def measure(dreams: Dreams, seeds: Sequence[int]) -> Setting:
    """Plays every policy in the dream, an episode a seed."""
    scores = dreams.play_blind(POLICIES, seeds)
    survival = {policy: summarise(values) for policy, values in scores.items()}
    return Setting(dreams.termination, dreams.temperature, survival)


def real_survival(
    game: Game, directory: Path, policies: Sequence[str], episodes: int, workers: int
) -> dict[str, Summary]:
    """Every policy's survival in the real game; `directory` keeps the scores, a file a policy.

    Plays only what is missing there. `genie-env evaluate --policy left --world WORLD --json` writes
    such a file.
    """
    survival = {}
    for policy in policies:
        player = blind_player(policy, FRESH_GAMES, game)
        real = RealScores(player, directory / f"{policy.replace(':', '-')}.json")
        for _ in track(real.play(episodes, workers), policy, episodes - len(real.scores)):
            pass
        survival[policy] = summarise(real.scores[:episodes])
    return survival


def calibrate(
    world: Annotated[str, typer.Option(help="a shipped world's name, or a world directory")],
    out: Annotated[Path, typer.Option(help="directory for calibration.json and calibration.png")],
    tau: Annotated[list[float], typer.Option(help="temperatures to try")] = list(TEMPERATURES),
    dreams: Annotated[int, typer.Option(help="dreams a policy, temperature and termination")] = 512,
    real_scores: Annotated[
        Path | None,
        typer.Option(
            "--real",
            help="directory of scores in the real game, played where missing [default: OUT/real]",
        ),
    ] = None,
    episodes: Annotated[int, typer.Option(help="real episodes a policy")] = 300,
    workers: Annotated[int, typer.Option(help="processes that play the real game")] = 2,
    seed: Annotated[int, typer.Option(help="of the dreams")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Find the temperature at which blind policies live as long in the dream as in reality.

    Fixed policies are played in the dream over a range of temperatures, with termination
    thresholded and sampled, and in the real game. Names the setting that is closest to reality,
    and warns of constant policies that live much longer in the dream: a learned controller will.
    """
    for name, value in (("dreams", dreams), ("episodes", episodes)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected 1 or more")
    directory = find_world(world)
    # Loaded and checked before anything is played, so that what is wrong shows at once.
    worlds = [Dreams.load(directory, termination=t, device=device) for t in TERMINATIONS]
    every = [world_dreams.at(temperature) for world_dreams in worlds for temperature in tau]
    game = real_game(directory)
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file is as wide as the table
    real = real_survival(game, real_scores or out / "real", POLICIES, episodes, workers)
    settings = [
        measure(setting, derived_seeds(seed, count=dreams)) for setting in track(every, "dreaming")
    ]
    chosen = choose(settings, real)
    holes = find_holes(chosen, real)
    plot(settings, real, chosen, out / "calibration.png")
    write_json(
        out / "calibration.json",
        {
            "world": {"name": every[0].world.spec.name, "fingerprint": every[0].fingerprint},
            "seed": seed,
            "chosen": _head(chosen, real),
            "holes": holes,
            "real": {policy: summary.as_json() for policy, summary in real.items()},
            "dream": [
                {
                    **_head(setting, real),
                    "survival": {p: summary.as_json() for p, summary in setting.survival.items()},
                }
                for setting in settings
            ],
        },
    )
    _show(console, settings, real, chosen, holes)
    files = f"wrote {out / 'calibration.json'} and {out / 'calibration.png'}"
    console.print(files, soft_wrap=True)


def _head(setting: Setting, real: Mapping[str, Summary]) -> dict[str, Any]:
    return {
        "temperature": setting.temperature,
        "termination": setting.termination,
        "error": setting.error(real),
        "standard_error": setting.standard_error(real),
    }


def plot(
    settings: Sequence[Setting], real: Mapping[str, Summary], chosen: Setting, file: Path
) -> None:
    """A panel a termination: survival by temperature, a colour a policy, reality dashed."""
    terminations = list(dict.fromkeys(setting.termination for setting in settings))
    figure = Figure(figsize=(6.5 * len(terminations), 5.5), layout="constrained")
    panels = figure.subplots(1, len(terminations), sharey=True, squeeze=False)[0]
    for panel, termination in zip(panels, terminations, strict=True):
        here = sorted(
            (s for s in settings if s.termination == termination), key=lambda s: s.temperature
        )
        taus = [setting.temperature for setting in here]
        for index, (policy, summary) in enumerate(real.items()):
            color = f"C{index}"
            dreamt = [setting.survival[policy].mean for setting in here]
            panel.plot(taus, dreamt, "o-", color=color, markersize=4, label=policy)
            panel.axhline(summary.mean, color=color, linestyle="--", linewidth=1)
            if summary.ci95 is not None:
                panel.axhspan(*summary.ci95, color=color, alpha=0.12, linewidth=0)
        if termination == chosen.termination:
            panel.axvline(chosen.temperature, color="black", linestyle=":", linewidth=1)
        panel.set(title=f"termination {termination}", xlabel="temperature", yscale="log")
    panels[0].set_ylabel("survival, tics (dashed: the real game, 95 %)")
    panels[-1].legend(fontsize="small")
    write_atomically(file, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def _show(
    console: Console,
    settings: Sequence[Setting],
    real: Mapping[str, Summary],
    chosen: Setting,
    holes: Sequence[Mapping[str, Any]],
) -> None:
    table = Table(title="mean survival in tics")
    for column in ("", "tau", *real, "error"):
        table.add_column(column, justify="right")
    table.add_row("real", "", *(f"{s.mean:,.0f}" for s in real.values()), "", end_section=True)
    for setting in settings:
        table.add_row(
            setting.termination,
            f"{setting.temperature:g}",
            *(f"{setting.survival[policy].mean:,.0f}" for policy in real),
            f"{setting.error(real):.3f}",
            style="bold green" if setting is chosen else None,
        )
    console.print(table)
    console.print(
        f"Chosen: temperature {chosen.temperature:g}, termination {chosen.termination} (survival is "
        f"off by a factor of {math.exp(chosen.error(real)):.2f} on average), the temperature nearest "
        "1 whose error is within a standard error of the smallest."
    )
    if holes:
        console.print(Panel(hole_warning(holes), title="HOLES IN THE DREAM", style="bold red"))


def hole_warning(holes: Sequence[Mapping[str, Any]]) -> str:
    found = [
        f"always {hole['policy']}: {hole['dream']:,.0f} tics in the dream, {hole['real']:,.0f} in "
        f"reality ({hole['ratio']:.1f} times as long)"
        for hole in holes
    ]
    return (
        "\n".join(found) + "\n\nA controller trained here will find this, live long in the dream "
        "and die in reality. Record episodes that do what these policies do, and train M again."
    )
