"""How well a world predicts recorded episodes, and what its actions control.

The world follows some frames of an episode that no training used, and dreams on. What its actions
control is dPSNR (Bruce et al. 2024, section 3): how much closer to the recorded frames the dream is
under the actions that led to them than under random ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch  # comes first: it loads the libraries that _core is linked to
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from genie_env._core import EpisodeStore, World
from genie_env.data.datasets import fingerprint, held_out, open_stores
from genie_env.data.files import write_json
from genie_env.data.midway import Midway
from genie_env.data.progress import busy, counted
from genie_env.data.rows_once import frames_fingerprint
from genie_env.data.run_directory import only_writer
from genie_env.data.videos import as_directories
from genie_env.data.world_recordings import (
    check_recordings,
    check_unseen,
    frame_size_of,
    recorded_actions,
)
from genie_env.envs.actions import actions_of_world
from genie_env.envs.latent_actions import has_latent_actions
from genie_env.envs.validation import check_temperature
from genie_env.evaluation.fidelity_pictures import film, plot
from genie_env.evaluation.rollouts import Starts, measure
from genie_env.evaluation.statistics import RESAMPLES, Curve, summarise_groups
from genie_env.families import family_of_world
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.latent_actions import (
    LATENT_ACTIONS,
    LATENT_ACTIONS_FOLDER,
    actions_of_episodes,
    load_latent_actions,
)
from genie_env.training.runs import final_report, is_frozen


def actions_of(
    world: World,
    world_directory: Path,
    directories: Sequence[Path],
    stores: Sequence[EpisodeStore],
    latent_actions: Path | None,
    episodes: Sequence[NDArray[np.bool_]],
) -> list[NDArray[Any]]:
    """The world's action from every frame of some episodes to the next: [frames] a store. episodes:
    bool [E] a store.

    As recorded; or, for a world whose actions are latent, inferred from the frames by the latent
    action model of the run `latent_actions` (0 where no frame follows). Raises ValueError where that
    run is missing, superfluous or not the one that the world was learned from, and where
    recorded actions have other meanings than the world's.
    """
    spec, actions = world.spec, actions_of_world(world.spec.actions)
    action_codes = family_of_world(spec.family).action_codes
    if action_codes is not None and has_latent_actions(spec.family, world_directory):
        if latent_actions is None:
            raise ValueError(
                f"the actions of the world {spec.name} are latent, no recording holds them, and "
                f"it has no {LATENT_ACTIONS_FOLDER}/ that infers them: give --latent-actions, the run of "
                "`train latent-actions` that it was learned from"
            )
        final_report(latent_actions, LATENT_ACTIONS)
        model = load_latent_actions(latent_actions)
        if model.actions != actions.width:
            raise ValueError(
                f"{latent_actions} has {model.actions} latent actions, the world {spec.name} "
                f"{actions.width}: give the run that it was learned from"
            )
        if not _same_codes(action_codes(world_directory), model.codes(), latent_actions):
            raise ValueError(
                f"the codes of {latent_actions} are not the actions of the world {spec.name}, "
                "whose codebook is another: give the run that it was learned from, as it was then"
            )
        return [*actions_of_episodes(latent_actions, model, stores, episodes)]
    if latent_actions is not None:
        raise ValueError(
            f"the actions of the world {spec.name} are those of its recordings ({actions}): leave "
            "out --latent-actions, which is for worlds learned without them"
        )
    return recorded_actions(world, directories, stores)


def _same_codes(stored: torch.Tensor, codes: torch.Tensor, run: Path) -> bool:
    """Whether a world's codebook, stored in float16, is `codes`, those of `run`."""
    if stored.shape != codes.shape:
        return False
    if is_frozen(run):  # its weights were rounded to float16 before the codes were computed
        return torch.allclose(stored, codes, atol=2e-3)
    return torch.equal(stored, codes.half().float())


def fidelity(
    world: Path,
    data: Sequence[Path],
    latent_actions: Path | None = None,
    *,
    options: Mapping[str, bool | int | float | str],
    starts: int,
    burn_in: int,
    horizon: int,
    temperature: float,
    seed: int,
    device: str,
    out: Path | None,
    frames_per_second: float | None = None,
    skip_bad: bool = False,
    json_file: Path | None,
) -> None:
    """Measures the world in the directory `world` on the held-out episodes of `data`; prints a table,
    and writes `json_file`, and a plot and a video into `out`, where given.

    data: directories, or video files and folders of them, which are decoded as in training.
    latent_actions: the run that infers them; where None, the world's own. Other arguments as in
    `genie-env fidelity`. What is measured is kept in `out`, or else beside `json_file`, until the end.
    Raises ValueError for wrong arguments, and where the recordings are not of the world's game.
    """
    for name, value in (("starts", starts), ("burn-in", burn_in), ("horizon", horizon)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected 1 or more")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected 0 or more")
    check_temperature(temperature)
    if latent_actions is None and (world / LATENT_ACTIONS_FOLDER).exists():
        latent_actions = world / LATENT_ACTIONS_FOLDER
    loaded = World.load(world, device=device, options=dict(options))
    spec = loaded.spec
    directories = as_directories(
        data, frames_per_second, skip_bad=skip_bad, frame_size=frame_size_of(loaded)
    )
    stores = open_stores(directories)
    check_recordings(loaded, directories, stores)
    check_unseen(world, directories, stores)
    with ExitStack() as stack:
        if out is not None:
            stack.enter_context(only_writer(out))
        unseen = [held_out(store) for store in stores]
        actions = actions_of(loaded, world, directories, stores, latent_actions, unseen)
        drawn = Starts.draw(
            stores,
            actions,
            actions_of_world(spec.actions),
            burn_in=burn_in,
            horizon=horizon,
            count=starts,
            seed=seed,
        )
        episodes = drawn.episodes
        count = int(episodes.max()) + 1
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
            "options": {name: option.value for name, option in spec.options.items()},
            "dtype": spec.dtype,
            "data": [str(directory) for directory in data],
            "recordings": [fingerprint(store) for store in stores],
            "latent_actions": None if latent_actions is None else str(latent_actions),
            "latent_actions_weights": latent_actions and weights_fingerprint(latent_actions),
            "ci95_method": f"percentile bootstrap over episodes, {RESAMPLES:,} resamples",
        }
        contents = {
            "frames": [frames_fingerprint(store) for store in stores],
            "actions": [sha256(array.tobytes()).hexdigest() for array in actions],
        }
        place = json_file if out is None else out / "fidelity"
        midway = stack.enter_context(Midway(place, {**facts, **contents}))
        console = Console()
        if not console.is_terminal:
            console.width = max(console.width, 120)  # a file is as wide as the table
        found = _measure_shown(loaded, drawn, temperature, console, midway)
        curves = {name: summarise_groups(values, episodes) for name, values in found.items()}
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
            write_json(json_file, {**{n: c.as_json() for n, c in curves.items()}, **facts})
            console.print(f"wrote {json_file}", soft_wrap=True)
        if out is not None:
            plot(curves, burn_in, out / "fidelity.png", f"{spec.name}, temperature {temperature:g}")
            with busy("filming", console=console):
                film(loaded, drawn, temperature, out / "fidelity.mp4")
            console.print(
                f"wrote {out / 'fidelity.png'} and {out / 'fidelity.mp4'}", soft_wrap=True
            )


def _measure_shown(
    world: World, starts: Starts, temperature: float, console: Console, midway: Midway
) -> dict[str, NDArray[np.float64]]:
    frames = starts.burn_in + starts.horizon
    kept = len(midway.found.get("psnr", ())) * frames
    with counted("dreaming", len(starts) * frames, "frames", done=kept, console=console) as advance:
        return measure(world, starts, temperature, advance, midway)


def _table(curves: Mapping[str, Curve], burn_in: int) -> Table:
    """Horizons 1, 2, 4, ... and the last."""
    horizon = len(curves["psnr"].mean)
    table = Table(
        title="dreams against what really followed, dB",
        caption="random: under random actions; still: the last given frame; given: the frame "
        "itself, as the world reconstructs it; surprise: nats per latent dimension or token",
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
