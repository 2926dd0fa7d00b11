"""The pictures of `genie-env fidelity`: figures by horizon, and reality beside the dreams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genie_env._core import World
from genie_env.data.files import write_atomically
from genie_env.envs.actions import actions_of_world
from genie_env.evaluation.rollouts import Moment, Starts, roll_out
from genie_env.evaluation.statistics import Curve
from genie_env.media.video import Picture, side_by_side, write_video

FILMED = 6
"""Starts in the video."""
FRAMES_PER_SECOND = 7
"""Slow enough that a viewer can compare frame by frame."""
HELD = 7
"""Pictures for which the last one of a start is repeated."""
SCALE = 6


def plot(curves: Mapping[str, Curve], burn_in: int, file: Path, title: str) -> None:
    """Three panels: dPSNR and PSNR by frames dreamt, surprise by frames since the first."""
    figure = Figure(figsize=(16, 4.8), layout="constrained")
    figure.suptitle(title)
    control, fidelity, surprise = figure.subplots(1, 3)
    _interval(control, curves["dpsnr"], "C0", "dPSNR")
    control.axhline(0, color="black", linewidth=0.8)
    control.set(
        title="what the actions control", xlabel="frames dreamt", ylabel="dPSNR, dB (95 % interval)"
    )
    for name, color, label in (
        ("psnr_given", "C7", "the frame itself, given"),
        ("psnr", "C0", "dream, recorded actions"),
        ("psnr_random", "C1", "dream, random actions"),
        ("psnr_still", "C2", "last given frame, held"),
    ):
        _interval(fidelity, curves[name], color, label)
    fidelity.set(title="against what followed", xlabel="frames dreamt", ylabel="PSNR, dB")
    legend = fidelity.get_legend_handles_labels()
    figure.legend(*legend, loc="outside lower center", ncols=4, fontsize="small")
    _interval(surprise, curves["surprise"], "C3", "surprise")
    surprise.axvline(burn_in, color="black", linestyle=":", linewidth=1)
    surprise.set(
        title="surprise of reality (dotted: dreams begin)",
        xlabel="frames followed",
        ylabel="nats per latent dimension or token",
    )
    write_atomically(file, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def _interval(panel: Axes, curve: Curve, color: str, label: str) -> None:
    places = np.arange(1, len(curve.mean) + 1)
    panel.plot(places, curve.mean, "o-", color=color, markersize=3, label=label)
    if curve.ci95 is not None:
        panel.fill_between(places, *curve.ci95, color=color, alpha=0.15, linewidth=0)


def film(world: World, starts: Starts, temperature: float, file: Path) -> None:
    """Reality | the dream under the recorded actions | under random ones, of starts spread over all
    of them; before the dreams begin, all three show the given frames."""
    chosen = np.unique(np.linspace(0, len(starts) - 1, FILMED).astype(np.int64))
    filmed = starts.take(chosen)
    moments = list(roll_out(world, filmed, temperature))

    def pictures() -> Iterator[Picture]:
        for row in range(len(filmed)):
            for index, moment in enumerate(moments):
                picture = _panels(world, filmed, row, index, moment)
                yield picture
            yield from [picture] * HELD

    write_video(file, pictures(), FRAMES_PER_SECOND)


def _panels(world: World, starts: Starts, row: int, index: int, moment: Moment) -> Picture:
    names = actions_of_world(world.spec.actions)
    action = names.name(starts.actions_at(index)[row])
    if moment.dreamt is None:
        given = moment.real[row].numpy()
        until = index + 1 - starts.burn_in
        captions = [f"reality {until}: {action}", "given", "given"]
        return side_by_side([given] * 3, captions, SCALE)
    ahead = index - starts.burn_in
    random = names.name(starts.random_actions[row, ahead])
    frames = (moment.real, moment.dreamt.recorded, moment.dreamt.random)
    captions = [f"reality +{ahead + 1}: {action}", f"dream: {action}", f"random actions: {random}"]
    return side_by_side([f[row].cpu().numpy() for f in frames], captions, SCALE)
