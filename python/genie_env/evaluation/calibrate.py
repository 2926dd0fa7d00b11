"""Calibration: does the dream end episodes as the real game does?

Before any controller plays the real game, the sampling temperature, and an option of the world's
family where it names one, are fixed by blind policies, which learn nothing: those at which such policies score as high in the
dream as in the real game. A dream score alone would choose the world that is easiest to exploit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from genie_env._core import Option
from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.data.files import write_atomically, write_json
from genie_env.data.kept import kept
from genie_env.data.midway import Midway
from genie_env.data.progress import counted, say, track
from genie_env.data.run_directory import only_writer
from genie_env.envs.options import FamilyValue, StepFunction
from genie_env.evaluation.evaluate import FRESH_GAMES, RealScores, blind_player
from genie_env.evaluation.statistics import Summary, summarise
from genie_env.families import family_of_world, knows_outcomes
from genie_env.games.action_map import codes_of_actions, real_actions
from genie_env.games.base import Game, Score, rounded
from genie_env.games.real_game import real_game

TEMPERATURES = (0.1, 0.5, 0.75, 1.0, 1.15, 1.3, 1.5)
HOLE = 1.5
"""A constant policy that scores this many times better in the dream than in the real game shows a
hole in the dream."""
HOLE_DEVIATIONS = 1.0
"""The same in standard deviations of real scores, where scores are compared by their differences."""


@dataclass(frozen=True)
class Comparison:
    """How mean scores of dream and real game are compared: by their ratio, or, where not all
    that are compared are above 0, by their difference. A way to dream in which they are not is then no
    choice, unless in none they are."""

    deviation: float | None = None
    """The standard deviation of the real scores of all policies together, in which differences are
    measured; None: ratios."""

    @staticmethod
    def of(settings: Sequence[Setting], real: Mapping[str, Summary], score: Score) -> Comparison:
        """Raises ValueError where all real scores are equal and ratios cannot be taken."""

        def above_0(scores: Mapping[str, Summary]) -> bool:
            return all(summary.mean > 0 for summary in scores.values())

        if above_0(real) and any(above_0(setting.scores) for setting in settings):
            return Comparison()
        means = [summary.mean for summary in real.values()]
        within = np.mean([(summary.std or 0.0) ** 2 for summary in real.values()])
        deviation = math.sqrt(within + np.var(means))
        if deviation <= 1e-9 * max(map(abs, means), default=0.0):
            mean = means[0]
            raise ValueError(
                f"every {score.name} of the blind policies in the real game is {mean:g} "
                f"{score.unit}, which tells nothing of the dream: give more --episodes"
            )
        return Comparison(deviation)

    def distance(self, dream: Summary, real: Summary) -> float:
        """How much higher the dream's mean is: a logarithm of the ratio, or deviations.

        Of ratios the logarithm, so that twice and half the real score are equally wrong and a policy
        with a low score counts as much as one with a high score.
        """
        if self.deviation is None:
            return math.log(dream.mean / real.mean) if dream.mean > 0 else -math.inf
        return (dream.mean - real.mean) / self.deviation

    def variance(self, mean: Summary) -> float:
        """Of a mean, in the square of the unit of `distance`; the spread of a single score counts as the
        score itself."""
        spread = abs(mean.mean) if mean.std is None else mean.std
        unit = self.deviation or mean.mean
        return math.inf if unit <= 0 else (spread / unit) ** 2 / mean.n

    def words(self, distance: float) -> str:
        """Of an absolute distance."""
        if self.deviation is None:
            return f"by a factor of {math.exp(distance):.2f}"
        return f"by {distance:.2f} standard deviations of the real game's"

    def as_json(self) -> dict[str, Any]:
        by = "ratio" if self.deviation is None else "difference"
        return {"by": by, **({} if self.deviation is None else {"deviation": self.deviation})}


RATIOS = Comparison()


@dataclass(frozen=True)
class Setting:
    """One way to dream, and the scores of each policy in it."""

    choice: str | None
    """The value of the family's calibrated option; None where it has none."""
    temperature: float
    scores: Mapping[str, Summary]
    option: str = ""
    """The name of that option."""

    @property
    def words(self) -> str:
        """The option and its value; empty where there is none."""
        return "" if self.choice is None else f"{self.option} {self.choice}"

    def error(self, real: Mapping[str, Summary], by: Comparison = RATIOS) -> float:
        """The mean over policies of the absolute distance; of ratios, 0.69 is a factor of two.

        A mean of absolutes, so that errors of both signs do not cancel.
        """
        distances = [by.distance(self.scores[policy], real[policy]) for policy in real]
        return float(np.mean(np.abs(distances)))

    def standard_error(self, real: Mapping[str, Summary], by: Comparison = RATIOS) -> float:
        """How far `error` may be off because its means are of n episodes each (delta method)."""
        means = [summary for policy in real for summary in (self.scores[policy], real[policy])]
        return math.sqrt(sum(by.variance(mean) for mean in means)) / len(real)


def choose(
    settings: Sequence[Setting], real: Mapping[str, Summary], by: Comparison = RATIOS
) -> Setting:
    """Chooses, of the settings within a standard error of the smallest error, the one whose
    temperature is nearest 1.

    At temperature 1 the dream is what the world has learned; to leave it takes evidence (the one
    standard error rule: Breiman et al. 1984, section 3.4.3). Of equally near ones that with the
    smaller error.
    """
    best = min(settings, key=lambda setting: setting.error(real, by))
    limit = best.error(real, by) + best.standard_error(real, by)
    return min(
        (setting for setting in settings if setting.error(real, by) <= limit),
        key=lambda setting: (abs(math.log(setting.temperature)), setting.error(real, by)),
    )


def find_holes(
    setting: Setting, real: Mapping[str, Summary], game: Game, by: Comparison = RATIOS
) -> list[dict[str, Any]]:
    """The game's constant policies that score more than HOLE times better in the dream than in the
    real game, or HOLE_DEVIATIONS."""
    better = 1 if game.score.higher_is_better else -1
    most = math.log(HOLE) if by.deviation is None else HOLE_DEVIATIONS
    holes = []
    for policy in game.constant_policies:
        if policy not in real:
            continue
        dream, distance = setting.scores[policy], by.distance(setting.scores[policy], real[policy])
        if better * distance > most:
            far = {"ratio": math.exp(distance)} if by.deviation is None else {"deviations": distance}
            holes.append({"policy": policy, "dream": dream.mean, "real": real[policy].mean, **far})
    return holes


def measure(
    dreams: Dreams,
    game: Game,
    seeds: Sequence[int],
    directory: Path,
    codes: Mapping[int, int] | None = None,
    advance: Callable[[int], None] = lambda ended: None,
) -> Setting:
    """Plays every baseline of the game in the dream, an episode a seed; `directory` keeps the scores,
    so that a calibration that is stopped goes on. `codes`: as of Dreams.play_blind. `advance` is
    called with the number of dreams that have ended since its last call."""
    left = len(game.baselines) * len(seeds)

    def count(_: int, alive: int) -> None:
        nonlocal left
        advance(left - alive)
        left = alive

    def play(midway: Midway) -> dict[str, Any]:
        scores = dreams.play_blind(game, game.baselines, seeds, count, midway, codes)
        return {"scores": {policy: values.tolist() for policy, values in scores.items()}}

    identity = {
        **{"world": dreams.fingerprint, "dtype": dreams.world.spec.dtype},
        **{**dreams.options, **dreams.functions},
        **{"temperature": dreams.temperature, **game.describe(), "seeds": [*seeds]},
        **_as_json(codes),
    }
    schema = {"scores": {policy: [float] for policy in game.baselines}}
    scores = kept(directory, identity, schema, play)["scores"]
    advance(left)  # all of those that were kept
    summaries = {policy: summarise(scores[policy]) for policy in game.baselines}
    option = _calibrated(dreams)
    choice = None if option is None else str(option.value)
    return Setting(choice, dreams.temperature, summaries, "" if option is None else option.name)


def play_real_game(game: Game, directory: Path, episodes: int, workers: int) -> dict[str, Summary]:
    """The scores of every baseline in the real game; `directory` keeps them, a file a policy.

    Plays only what is missing there. `genie-env evaluate --policy left --world WORLD --json` writes
    such a file.
    """
    scores = {}
    for policy in game.baselines:
        player = blind_player(policy, FRESH_GAMES, game)
        real = RealScores(player, directory / f"{policy.replace(':', '-')}.json")
        for _ in track(real.play(episodes, workers), policy, episodes - len(real.scores)):
            pass
        scores[policy] = summarise(real.scores[:episodes])
    return scores


def _check_pays(setting: Setting, score: Score) -> None:
    """Raises ValueError where a dream pays no policy anything."""
    if all(summary.mean == 0 and not summary.std for summary in setting.scores.values()):
        raise ValueError(
            f"every {score.name} of {', '.join(setting.scores)} in the dream is 0 {score.unit}: the "
            "world pays nothing, so that its scores cannot be compared with those of the real game; "
            "give a world that was learned with rewards, or a reward_fn"
        )


def calibrate(
    world: Path,
    out: Path,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    dreams: int = 512,
    game: str | None = None,
    action_map: Path | None = None,
    options: Mapping[str, FamilyValue] = {},
    reward_fn: StepFunction | None = None,
    termination_fn: StepFunction | None = None,
    real_scores: Path | None = None,
    episodes: int = 300,
    workers: int = 2,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Calibrates a world directory: writes calibration.json and calibration.png into `out`, and
    prints a table.

    `dreams`: dreams a policy and setting. `game`: named as in find_game; None: the one that the world
    names. `action_map`: the mapping.json of a world of latent actions, in place of its own. `options`:
    of the world's family; one that is given is not varied. `real_scores`: directory of scores in the
    real game, `episodes` a policy, played where they are missing; None is `out`/real. Raises ValueError before
    anything is played where the world names no real game, or its actions are not that game's.
    """
    for name, value in (("dreams", dreams), ("episodes", episodes)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected 1 or more")
    played = real_game(world, game)
    # Loaded and checked before anything is played, so that what is wrong shows at once.
    worlds = [
        replace(each, reward_fn=reward_fn, termination_fn=termination_fn)
        for each in _choices(world, options, device)
    ]
    every = [dreaming.at(temperature) for dreaming in worlds for temperature in temperatures]
    _check_scores(every[0])
    codes, dictionary = None, real_actions(every[0].world, played, action_map)
    if dictionary is None:
        every[0].check_plays(played)
    else:
        codes = codes_of_actions(every[0].world, played, action_map, dictionary)
        _say_codes(codes, dictionary.means, played)
    if reward_fn is not None:
        say(
            "with a reward function, dreams are still compared with the game's own score: the function "
            f"must pay what the game pays, {played.score.name} in {played.score.unit}"
        )
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file is as wide as the table
    with only_writer(out):
        seeds, dreamt = derived_seeds(seed, count=dreams), out / "dreams"

        def dream(settings: Sequence[Dreams]) -> list[Setting]:
            total = len(settings) * len(played.baselines) * dreams
            with counted("dreaming", total, "dreams") as advance:
                return [measure(d, played, seeds, dreamt, codes, advance) for d in settings]

        # Before hours of the real game, should it have no score.
        (first,) = dream(every[:1])
        _check_pays(first, played.score)
        real = play_real_game(played, real_scores or out / "real", episodes, workers)
        settings = [first, *dream(every[1:])]
        by = Comparison.of(settings, real, played.score)
        chosen = choose(settings, real, by)
        holes = find_holes(chosen, real, played, by)
        plot(settings, real, chosen, by, played.score, out / "calibration.png")
        write_json(
            out / "calibration.json",
            {
                "world": {"name": every[0].world.spec.name, "fingerprint": every[0].fingerprint},
                **every[0].functions,
                "game": {"name": played.name, "frame_skip": played.frame_skip},
                **_as_json(codes),
                "score": played.score.as_json(),
                "seed": seed,
                "compared": by.as_json(),
                "chosen": _head(chosen, real, by),
                "holes": holes,
                "real": {policy: summary.as_json() for policy, summary in real.items()},
                "dream": [
                    {
                        **_head(setting, real, by),
                        "scores": {p: summary.as_json() for p, summary in setting.scores.items()},
                    }
                    for setting in settings
                ],
            },
        )
    _show(console, settings, real, chosen, holes, by, played.score)
    files = f"wrote {out / 'calibration.json'} and {out / 'calibration.png'}"
    console.print(files, soft_wrap=True)


def _as_json(codes: Mapping[int, int] | None) -> dict[str, Any]:
    return {} if codes is None else {"codes": {str(k): v for k, v in codes.items()}}


def _say_codes(codes: Mapping[int, int], means: Mapping[int, Any], game: Game) -> None:
    """Says which latent action each of the game's is in dreams, and where that one stands for another,
    as there may be fewer meanings than actions."""
    for action, code in codes.items():
        other = "" if means[code] == action else f", which means {game.actions.name(means[code])!r}"
        say(f"in dreams {game.actions.name(action)!r} is the latent action {code}{other}")


def _check_scores(dreams: Dreams) -> None:
    """Raises ValueError where no policy can score in a world, or end."""
    spec = dreams.world.spec
    if not knows_outcomes(dreams.world.directory) and dreams.reward_fn is None:
        raise ValueError(
            f"the world {spec.name} has learned neither rewards nor ends: it pays none and never "
            "ends an episode, so that its scores cannot be compared with those of the real game; give a "
            "world that was learned with rewards and ends, or a reward_fn"
        )


def _calibrated(dreams: Dreams) -> Option | None:
    """The option that the world's family wants to be calibrated."""
    spec = dreams.world.spec
    name = family_of_world(spec.family).calibrated_option
    return None if name is None else spec.options.get(name)


def _choices(world: Path, options: Mapping[str, FamilyValue], device: str) -> list[Dreams]:
    """The world loaded once for every value of its family's calibrated option, or for the given."""
    loaded = Dreams.load(world, options=options, device=device)
    option = _calibrated(loaded)
    if option is None or option.name in options:
        return [loaded]
    return [
        loaded
        if choice == option.value
        else Dreams.load(world, options={**options, option.name: choice}, device=device)
        for choice in option.choices
    ]


def _head(setting: Setting, real: Mapping[str, Summary], by: Comparison) -> dict[str, Any]:
    return {
        "temperature": setting.temperature,
        **({} if setting.choice is None else {setting.option: setting.choice}),
        **{
            name: value if math.isfinite(value) else None
            for name, value in (
                ("error", setting.error(real, by)),
                ("standard_error", setting.standard_error(real, by)),
            )
        },
    }


def plot(
    settings: Sequence[Setting],
    real: Mapping[str, Summary],
    chosen: Setting,
    by: Comparison,
    score: Score,
    file: Path,
) -> None:
    """A panel for each value of the calibrated option: scores by temperature, or, of a single one, by
    policy."""
    choices = list(dict.fromkeys(setting.words for setting in settings))
    figure = Figure(figsize=(6.5 * len(choices), 5.5), layout="constrained")
    panels = figure.subplots(1, len(choices), sharey=True, squeeze=False)[0]
    for panel, words in zip(panels, choices, strict=True):
        here = sorted((s for s in settings if s.words == words), key=lambda s: s.temperature)
        if len(here) == 1:
            _plot_by_policy(panel, here[0], real)
        else:
            _plot_by_temperature(panel, here, real)
            if words == chosen.words:
                panel.axvline(chosen.temperature, color="black", linestyle=":", linewidth=1)
        panel.set_title(f"{words} (chosen)" if words and words == chosen.words else words)
        panel.set_yscale("log" if by.deviation is None else "linear")
    panels[0].set_ylabel(f"{score.name}, {score.unit} (intervals: 95 %)")
    panels[-1].legend(fontsize="small")
    write_atomically(file, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def _plot_by_temperature(panel: Axes, here: Sequence[Setting], real: Mapping[str, Summary]) -> None:
    """A colour a policy, the real game dashed."""
    taus = [setting.temperature for setting in here]
    for index, (policy, summary) in enumerate(real.items()):
        color = f"C{index}"
        dreamt = [setting.scores[policy].mean for setting in here]
        panel.plot(taus, dreamt, "o-", color=color, markersize=4, label=policy)
        panel.axhline(summary.mean, color=color, linestyle="--", linewidth=1)
        if summary.ci95 is not None:
            panel.axhspan(*summary.ci95, color=color, alpha=0.12, linewidth=0)
    panel.set_xlabel("temperature (dashed: the real game)")


def _plot_by_policy(panel: Axes, setting: Setting, real: Mapping[str, Summary]) -> None:
    """Dream and real game side by side, with their intervals."""
    for shift, label, scores in ((-0.1, "dream", setting.scores), (0.1, "real game", real)):
        places = [index + shift for index in range(len(real))]
        means = [scores[policy].mean for policy in real]
        (line,) = panel.plot(places, means, "o", markersize=5, label=label)
        intervals = [scores[policy].ci95 or [mean] * 2 for policy, mean in zip(real, means, strict=True)]
        panel.vlines(places, *zip(*intervals, strict=True), color=line.get_color())
    panel.set_xticks(range(len(real)), list(real), rotation=30)
    panel.set_xlabel(f"policy, temperature {setting.temperature:g}")


def _show(
    console: Console,
    settings: Sequence[Setting],
    real: Mapping[str, Summary],
    chosen: Setting,
    holes: Sequence[Mapping[str, Any]],
    by: Comparison,
    score: Score,
) -> None:
    table = Table(title=f"mean {score.name}, {score.unit}")
    for column in ("", "tau", *real, "error"):
        table.add_column(column, justify="right")
    table.add_row("real", "", *(f"{rounded(s.mean)}" for s in real.values()), "", end_section=True)
    for setting in settings:
        table.add_row(
            setting.choice or "dream",
            f"{setting.temperature:g}",
            *(f"{rounded(setting.scores[policy].mean)}" for policy in real),
            f"{setting.error(real, by):.3f}",
            style="bold green" if setting is chosen else None,
        )
    console.print(table)
    way = f", {chosen.words}" if chosen.words else ""
    console.print(
        f"Chosen: temperature {chosen.temperature:g}{way} ({score.name} is off "
        f"{by.words(chosen.error(real, by))} on average), the temperature nearest 1 whose error is "
        "within a standard error of the smallest."
    )
    if holes:
        console.print(
            Panel(hole_warning(holes, score), title="HOLES IN THE DREAM", style="bold red")
        )


def hole_warning(holes: Sequence[Mapping[str, Any]], score: Score) -> str:
    found = [
        f"always {hole['policy']}: a {score.name} of {rounded(hole['dream'])} {score.unit} in the "
        f"dream, {rounded(hole['real'])} in the real game ({_how_far(hole)})"
        for hole in holes
    ]
    return (
        "\n".join(found)
        + "\n\nA controller that is trained here will find this, score well in the "
        "dream and badly in the real game. Record episodes that do what these policies do, and "
        "train the world again."
    )


def _how_far(hole: Mapping[str, Any]) -> str:
    if "ratio" in hole:
        return f"{hole['ratio']:.1f} times"
    return f"{abs(hole['deviations']):.1f} standard deviations of real scores"
