"""`genie-env fidelity`: how well a world foretells recorded episodes, and what its actions control.

The world is given a stretch of an episode that no training saw, and dreams on. What its actions
control is dPSNR (Bruce et al. 2024, section 3): how much nearer to the recorded frames the dream is
under the actions that led to them than under random ones.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch  # comes first: it loads the libraries that _core is linked to
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from safetensors import safe_open

from genie_env._core import EpisodeStore, World
from genie_env.data.datasets import fingerprint, open_stores
from genie_env.data.files import write_json
from genie_env.data.recording_metadata import recorded_game
from genie_env.envs.registry import find_world
from genie_env.envs.validation import check_temperature
from genie_env.evaluation.fidelity_pictures import film, plot
from genie_env.evaluation.rollouts import GREEDY, Starts, measure
from genie_env.evaluation.statistics import RESAMPLES, Curve, summarise_groups
from genie_env.families.world_files import LATENT_ACTIONS
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.latent_actions import held_out_actions, load_latent_actions
from genie_env.training.runs import final_report, is_frozen

LATENT = "genie"
"""The family of worlds whose actions no recording holds."""


def check_recordings(
    world: World, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> None:
    """Raises ValueError where frames are not of the world's size, or not as far apart."""
    spec = world.spec
    for directory, store in zip(directories, stores, strict=True):
        height, width = spec.frame.shape[:2]
        if (store.height, store.width) != (height, width):
            raise ValueError(
                f"{directory} holds frames of {store.height} x {store.width}, but those of the "
                f"world {spec.name} are {height} x {width}: give recordings of its game"
            )
        frame_skip = json.loads(store.meta).get("frame_skip")
        if frame_skip != spec.frame_skip:
            raise ValueError(
                f'{directory / "meta.json"}: "frame_skip" is {frame_skip!r}, but a step of the '
                f"world {spec.name} stands for {spec.frame_skip}: give recordings made with "
                f"`genie-env record --frame-skip {spec.frame_skip}`"
            )


def actions_of(
    world: World,
    world_directory: Path,
    directories: Sequence[Path],
    stores: Sequence[EpisodeStore],
    latent_actions: Path | None,
) -> list[NDArray[Any]]:
    """The world's action from every frame of the recordings to the next: [frames] a store.

    As recorded; or, for a world whose actions are latent, inferred from the frames, of held-out
    episodes alone, by the latent action model of the run `latent_actions`. Raises ValueError where
    that run is missing, not wanted or not the one that the world was learned from, and where
    recorded actions do not mean what the world's mean.
    """
    spec = world.spec
    if spec.family == LATENT:
        if latent_actions is None:
            raise ValueError(
                f"the actions of the world {spec.name} are latent, no recording holds them, and "
                f"it has no {LATENT_ACTIONS}/ that infers them: give --latent-actions, the run of "
                "`train latent-actions` that it was learned from"
            )
        final_report(latent_actions, "latent-actions")
        model = load_latent_actions(latent_actions)
        if model.actions != len(spec.actions):
            raise ValueError(
                f"{latent_actions} tells {model.actions} actions apart, the world {spec.name} "
                f"{len(spec.actions)}: give the run that it was learned from"
            )
        if not _codes_are_those_of(world_directory, model.codes(), latent_actions):
            raise ValueError(
                f"the codes of {latent_actions} are not the actions of the world {spec.name}, "
                "whose codebook is another: give the run that it was learned from, as it was then"
            )
        return [*held_out_actions(latent_actions, model, stores)]
    if latent_actions is not None:
        raise ValueError(
            f"the world {spec.name} knows the actions of its recordings ({', '.join(spec.actions)})"
            ": leave out --latent-actions, which is for worlds learned without them"
        )
    recorded = recorded_game(directories, stores)
    if list(recorded.actions) != spec.actions:
        raise ValueError(
            f"the recordings' actions are {', '.join(recorded.actions)}, those of the world "
            f"{spec.name} {', '.join(spec.actions)}: give recordings of its game"
        )
    return [store.actions for store in stores]


def _codes_are_those_of(world: Path, codes: torch.Tensor, run: Path) -> bool:
    with safe_open(world / "model.safetensors", "pt") as tensors:
        known = tensors.get_tensor("action_codes")
    if known.shape != codes.shape:
        return False
    if is_frozen(run):  # of weights that were rounded to float16 before, not after
        return torch.allclose(known.float(), codes, atol=2e-3)
    return torch.equal(known, codes.to(known.dtype))


def fidelity(
    world: Annotated[str, typer.Option(help="a shipped world's name, or a world directory")],
    data: Annotated[
        list[Path],
        typer.Option(
            help="directory of recorded episodes, of which those that training holds out are "
            "used; may be repeated"
        ),
    ],
    latent_actions: Annotated[
        Path | None,
        typer.Option(
            help="run directory of `train latent-actions`, for a world without real ones [default: "
            "the world's own]",
        ),
    ] = None,
    starts: Annotated[int, typer.Option(help="frames that dreams start from")] = 300,
    burn_in: Annotated[int, typer.Option(help="real frames that follow before the dream")] = 16,
    horizon: Annotated[int, typer.Option(help="frames to dream")] = 16,
    temperature: Annotated[
        float, typer.Option(help="of the dreams; near 0: the likeliest ones")
    ] = GREEDY,
    seed: Annotated[int, typer.Option(help="of starts, random actions and dreams")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(help="directory for fidelity.png and fidelity.mp4")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="file for every figure")] = None,
) -> None:
    """Measure how well a world foretells recorded episodes, and what its actions control.

    Dreams that start in held-out episodes are compared with what really followed, under the
    recorded actions and under random ones: PSNR, their difference dPSNR, and how surprising the
    world finds what followed. With --out, also a plot, and a video of reality beside the dreams.
    """
    for name, value in (("starts", starts), ("burn-in", burn_in), ("horizon", horizon)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected 1 or more")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected 0 or more")
    check_temperature(temperature)
    directory = find_world(world)
    if latent_actions is None and (directory / LATENT_ACTIONS).exists():
        latent_actions = directory / LATENT_ACTIONS
    loaded = World.load(directory, device=device)
    spec = loaded.spec
    stores = open_stores(data)
    check_recordings(loaded, data, stores)
    drawn = Starts.draw(
        stores,
        actions_of(loaded, directory, data, stores, latent_actions),
        len(spec.actions),
        burn_in=burn_in,
        horizon=horizon,
        count=starts,
        seed=seed,
    )
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file is as wide as the table
    found = _measure_shown(loaded, drawn, temperature, console)
    episodes = drawn.episodes
    curves = {name: summarise_groups(values, episodes) for name, values in found.items()}
    count = int(episodes.max()) + 1
    console.print(_table(curves, burn_in))
    console.print(
        f"{starts:,} starts in {count:,} held-out episodes, each after {burn_in} given frames; "
        f"temperature {temperature:g}; world {spec.name} ({spec.fingerprint[:12]}, {spec.dtype})",
        soft_wrap=True,
    )
    if drawn.too_short:
        console.print(
            f"left out: {drawn.too_short:,} held-out episodes of less than "
            f"{1 + burn_in + horizon} frames",
            soft_wrap=True,
        )
    if json_file is not None:
        facts = {
            "starts": starts,
            "episodes": count,
            "episodes_too_short": drawn.too_short,
            "burn_in": burn_in,
            "horizon": horizon,
            "seed": seed,
            "temperature": temperature,
            "world": spec.name,
            "fingerprint": spec.fingerprint,
            "dtype": spec.dtype,
            "data": [str(directory) for directory in data],
            "recordings": [fingerprint(store) for store in stores],
            "latent_actions": None if latent_actions is None else str(latent_actions),
            "latent_actions_weights": latent_actions and weights_fingerprint(latent_actions),
            "ci95_method": f"percentile bootstrap over episodes, {RESAMPLES:,} resamples",
        }
        write_json(json_file, {**{n: c.as_json() for n, c in curves.items()}, **facts})
        console.print(f"wrote {json_file}", soft_wrap=True)
    if out is not None:
        plot(curves, burn_in, out / "fidelity.png", f"{spec.name}, temperature {temperature:g}")
        film(loaded, drawn, temperature, out / "fidelity.mp4")
        console.print(f"wrote {out / 'fidelity.png'} and {out / 'fidelity.mp4'}", soft_wrap=True)


def _measure_shown(
    world: World, starts: Starts, temperature: float, console: Console
) -> dict[str, NDArray[np.float64]]:
    columns = (
        TextColumn("dreaming"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames, {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    began = time.perf_counter()
    with Progress(*columns, console=console, transient=True) as bar:
        total = len(starts) * (starts.burn_in + starts.horizon)
        task = bar.add_task("", total=total, rate=0.0)

        def progress(frames: int) -> None:
            rate = (bar.tasks[task].completed + frames) / (time.perf_counter() - began)
            bar.update(task, advance=frames, rate=rate)

        return measure(world, starts, temperature, progress)


def _table(curves: Mapping[str, Curve], burn_in: int) -> Table:
    """Horizons 1, 2, 4, ... and the last."""
    horizon = len(curves["psnr"].mean)
    table = Table(
        title="dreams against what really followed, dB",
        caption="random: under random actions; still: the last given frame; given: the frame "
        "itself, through the world's eyes; surprise: nats a latent dimension or token",
    )
    for column in (
        "frame",
        "dPSNR",
        "95 % interval",
        "PSNR",
        "random",
        "still",
        "given",
        "surprise",
    ):
        table.add_column(column, justify="right")
    for ahead in sorted({2**i for i in range(horizon.bit_length())} | {horizon}):
        at = ahead - 1
        interval = curves["dpsnr"].ci95
        table.add_row(
            f"{ahead}",
            f"{curves['dpsnr'].mean[at]:.2f}",
            "-" if interval is None else f"{interval[0][at]:.2f} to {interval[1][at]:.2f}",
            f"{curves['psnr'].mean[at]:.2f}",
            f"{curves['psnr_random'].mean[at]:.2f}",
            f"{curves['psnr_still'].mean[at]:.2f}",
            f"{curves['psnr_given'].mean[at]:.2f}",
            f"{curves['surprise'].mean[burn_in + at]:.3f}",
        )
    return table
