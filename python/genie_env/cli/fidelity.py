"""`genie-env fidelity`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genie_env.cli.options import (
    DeviceOption,
    FamilyOption,
    JsonOption,
    LatentActionsOption,
    SeedOption,
    WorldOption,
    family_options,
)
from genie_env.envs.registry import find_world
from genie_env.evaluation import fidelity as measuring
from genie_env.evaluation.rollouts import GREEDY
from genie_env.training.clip_training import FramesPerSecond, SkipBad


def fidelity(
    world: WorldOption,
    data: Annotated[
        list[Path],
        typer.Option(
            help="directories of recorded episodes, or, for a world of latent actions, video files "
            "or folders of them; the held-out episodes are used, every 20th"
        ),
    ],
    latent_actions: LatentActionsOption = None,
    starts: Annotated[
        int, typer.Option(help="number of frames that dreams start from", min=1, max=1_000_000)
    ] = 300,
    burn_in: Annotated[
        int,
        typer.Option(
            help="recorded frames that the world follows before it dreams", min=1, max=100_000
        ),
    ] = 16,
    horizon: Annotated[
        int, typer.Option(help="frames that each dream lasts", min=1, max=100_000)
    ] = 16,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            "--tau",
            help="sampling temperature of the dreams; near 0 they are the likeliest ones",
            min=1e-6,
            max=1e6,
        ),
    ] = GREEDY,
    frames_per_second: FramesPerSecond = None,
    skip_bad: SkipBad = False,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    option: FamilyOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="directory for fidelity.png and fidelity.mp4", file_okay=False, writable=True
        ),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Measure how well a world predicts recorded episodes, and what its actions control.

    Dreams that start in held-out episodes are compared with what really followed, under the
    recorded actions, or the latent ones that are inferred from the frames, and under random ones: PSNR, their difference dPSNR, and how surprising the
    world finds what followed. With --out, also a plot, and a video of reality beside the dreams.
    """
    measuring.fidelity(
        find_world(world),
        data,
        latent_actions,
        options=family_options(option),
        starts=starts,
        burn_in=burn_in,
        horizon=horizon,
        temperature=temperature,
        frames_per_second=frames_per_second,
        skip_bad=skip_bad,
        seed=seed,
        device=device,
        out=out,
        json_file=json_file,
    )
