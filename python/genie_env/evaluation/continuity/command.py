"""`genie-env continuity`: measures a world on recordings, and writes what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console

from genie_env._core import World
from genie_env.data.datasets import fingerprint, held_out, open_stores
from genie_env.data.files import write_json
from genie_env.data.kept import kept
from genie_env.data.labels import read_labels
from genie_env.data.rows_once import frames_fingerprint
from genie_env.data.run_directory import only_writer
from genie_env.data.videos import as_directories
from genie_env.data.world_recordings import (
    check_new,
    check_recordings,
    check_unseen,
    frame_size_of,
)
from genie_env.evaluation.continuity import report
from genie_env.evaluation.continuity.episodes import (
    LEAST,
    every_episode,
    long_enough,
)
from genie_env.evaluation.continuity.parts import (
    Chosen,
    Measured,
    class_number,
    constants,
    labelled,
    measured_drift,
    measured_errors,
    measured_objects,
)
from genie_env.evaluation.continuity.pictures import picture, plot
from genie_env.evaluation.fidelity import actions_of
from genie_env.evaluation.statistics import RESAMPLES
from genie_env.families.model_card import put_section
from genie_env.training.latent_actions import LATENT_ACTIONS_FOLDER

PLOT = "continuity.png"
PICTURE = "continuity-dreams.png"


def continuity(
    world: Path,
    data: Sequence[Path],
    latent_actions: Path | None,
    chosen: Chosen,
    *,
    options: Mapping[str, bool | int | float | str],
    every: bool,
    frames_per_second: float | None,
    skip_bad: bool,
    device: str,
    out: Path | None,
    json_file: Path | None,
    card: bool,
) -> None:
    """Measures the world in the directory `world` on episodes of `data` that it was not trained on:
    the held-out ones, or with `every` all. Prints tables, writes `json_file`, plot and picture into
    `out`, where given; with `card`, these and the figures go into the world's own directory.

    What is found is kept in `out`, so that a command that was stopped goes on after the parts that it
    had measured. Raises ValueError for wrong arguments, and where the recordings are not of the
    world's game, have no labels, those of another recording, or episodes that are too short.
    """
    if latent_actions is None and (world / LATENT_ACTIONS_FOLDER).exists():
        latent_actions = world / LATENT_ACTIONS_FOLDER
    loaded = World.load(world, device=device, options=dict(options))
    spec = loaded.spec
    directories = as_directories(
        data, frames_per_second, skip_bad=skip_bad, frame_size=frame_size_of(loaded)
    )
    stores = open_stores(directories)
    check_recordings(loaded, directories, stores)
    labels = (
        [read_labels(d, s) for d, s in zip(directories, stores, strict=True)]
        if chosen.labels
        else []
    )
    number = class_number(labels, chosen.object)
    if every:
        check_new(world, directories, stores)
    else:
        check_unseen(world, directories, stores)
    unseen = [held_out(store) | every for store in stores]
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file is as wide as the tables
    with ExitStack() as stack:
        if out is not None:
            stack.enter_context(only_writer(out))
        actions = actions_of(loaded, world, directories, stores, latent_actions, unseen)
        episodes = every_episode(stores, unseen, actions, chosen.seed)
        # All is checked before the first part is measured.
        long_enough(episodes, chosen.burn_in, max(chosen.ages), 2, "--ages")
        if chosen.drift:
            long_enough(episodes, chosen.burn_in, max(chosen.drift), 2 * LEAST, "--drift")
        shown = labelled(episodes, stores, labels, number, chosen) if chosen.labels else None
        facts = {
            "world": spec.name,
            "fingerprint": spec.fingerprint,
            "family": spec.family,
            "frame_skip": spec.frame_skip,
            "dtype": spec.dtype,
            "options": {name: option.value for name, option in spec.options.items()},
            "data": [str(directory) for directory in data],
            "recordings": [fingerprint(store) for store in stores],
            "every_episode": every,
            "latent_actions": None if latent_actions is None else str(latent_actions),
            "burn_in": chosen.burn_in,
            "most_episodes": chosen.episodes,
            "temperature": chosen.temperature,
            "seed": chosen.seed,
            "measure": constants(),
            "ci95_method": f"percentile bootstrap over episodes, {RESAMPLES:,} resamples",
        }
        identity = {
            **facts,
            "frames": [frames_fingerprint(store) for store in stores],
            "actions": [sha256(array.tobytes()).hexdigest() for array in actions],
        }

        def part(name: str, own: Mapping[str, Any], find: Callable[[], Measured]) -> Measured:
            if out is None:
                return {**own, **find()}
            known = {**identity, "part": name, **own}
            found = kept(out / "parts", known, {}, lambda _: find())
            return {key: value for key, value in found.items() if key not in {*identity, "part"}}

        found: dict[str, Measured] = {}
        found["errors"] = part(
            "errors",
            {"ages": [*chosen.ages]},
            lambda: measured_errors(loaded, episodes, chosen, console),
        )
        console.print(report.errors_table(found["errors"]))
        if shown is not None:
            contents = [sha256(each.values.tobytes()).hexdigest() for each in labels]
            found["objects"] = part(
                "objects",
                {"ages": [*chosen.ages], "object": shown.name, "labels": contents},
                lambda: measured_objects(loaded, shown, chosen, console),
            )
            for kind in found["objects"]["read"]:
                console.print(report.objects_table(found["objects"], kind))
        if chosen.drift:
            found["drift"] = part(
                "drift",
                {"ages": [*chosen.drift]},
                lambda: measured_drift(loaded, episodes, chosen, console),
            )
            console.print(report.drift_table(found["drift"]))
        console.print(report.summary(found, facts), soft_wrap=True)
        if json_file is not None:
            write_json(json_file, {**found, **facts})
            console.print(f"wrote {json_file}", soft_wrap=True)
        for place in [*([out] if out is not None else []), *([world] if card else [])]:
            plot(found, place / PLOT, f"{spec.name}, temperature {chosen.temperature:g}")
            picture(
                loaded,
                long_enough(episodes, chosen.burn_in, max(chosen.ages), 1, "--ages"),
                chosen.burn_in,
                chosen.ages,
                chosen.temperature,
                chosen.seed,
                place / PICTURE,
            )
            console.print(f"wrote {place / PLOT} and {place / PICTURE}", soft_wrap=True)
        if card:
            for title, lines in report.card_sections(found, facts, PLOT, PICTURE):
                put_section(world, title, lines)
                console.print(f"wrote the section {title!r} of its card", soft_wrap=True)
