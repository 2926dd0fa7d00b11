"""`genie-env continuity`: measures a world on recordings, and writes what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console

from genie_env._core import EpisodeStore, World
from genie_env.agents.dreams import derived_seeds
from genie_env.data.datasets import fingerprint, held_out, open_stores
from genie_env.data.files import write_json
from genie_env.data.kept import kept
from genie_env.data.labels import Labels, read_labels
from genie_env.data.progress import counted
from genie_env.data.run_directory import only_writer
from genie_env.data.videos import as_directories
from genie_env.data.world_recordings import (
    check_new,
    check_recordings,
    check_unseen,
    frame_size_of,
)
from genie_env.envs.validation import check_temperature
from genie_env.evaluation.continuity import drift as drifting
from genie_env.evaluation.continuity import errors as erring
from genie_env.evaluation.continuity import networks, reading, report
from genie_env.evaluation.continuity.episodes import (
    LEAST,
    MEASURED,
    Past,
    divided,
    every_episode,
    long_enough,
)
from genie_env.evaluation.continuity.objects import labelled_objects, object_pasts
from genie_env.evaluation.continuity.pictures import picture, plot
from genie_env.evaluation.continuity.readers import TRAINED_ON
from genie_env.evaluation.fidelity import actions_of
from genie_env.evaluation.outcomes import Episode
from genie_env.evaluation.statistics import RESAMPLES
from genie_env.families.model_card import put_section
from genie_env.training.encoded import frames_fingerprint
from genie_env.training.latent_actions import LATENT_ACTIONS_FOLDER

PLOT = "continuity.png"
PICTURE = "continuity-dreams.png"
Measured = dict[str, Any]


@dataclass(frozen=True)
class Chosen:
    """What is measured, and how."""

    ages: tuple[int, ...]
    """Of errors and objects, in steps of the world."""
    drift: tuple[int, ...]
    """Of the drift; empty where it is not measured."""
    labels: bool
    object: str | None
    """A class of labels; None for the first."""
    burn_in: int
    temperature: float
    seed: int

    def __post_init__(self) -> None:
        for name, ages in (("ages", self.ages), ("drift", self.drift)):
            if any(age < 1 for age in ages) or len(set(ages)) < len(ages):
                raise ValueError(
                    f"{name} are {', '.join(map(str, ages))}; expected different numbers from 1 on"
                )
        if not self.ages:
            raise ValueError("no ages were given; expected at least one")
        if self.object is not None and not self.labels:
            raise ValueError("--object is a class of labels: give --labels as well")
        check_temperature(self.temperature)


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
    number = _class(labels, chosen.object)
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
            "temperature": chosen.temperature,
            "seed": chosen.seed,
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
            "errors", {"ages": [*chosen.ages]}, lambda: _errors(loaded, episodes, chosen, console)
        )
        console.print(report.errors_table(found["errors"]))
        if chosen.labels:
            name = labels[0].classes[number]
            contents = [sha256(each.values.tobytes()).hexdigest() for each in labels]
            found["objects"] = part(
                "objects",
                {"ages": [*chosen.ages], "object": name, "labels": contents},
                lambda: _objects(loaded, episodes, stores, labels, number, chosen, console),
            )
            for kind in found["objects"]["read"]:
                console.print(report.objects_table(found["objects"], kind))
        if chosen.drift:
            found["drift"] = part(
                "drift",
                {"ages": [*chosen.drift]},
                lambda: _drift(loaded, episodes, chosen, console),
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


def _class(labels: Sequence[Labels], name: str | None) -> int:
    """The number of the class that is read. Raises ValueError where the recordings do not have it, or
    have different ones."""
    if not labels:
        return 0
    first = labels[0]
    for each in labels:
        if each.classes != first.classes:
            raise ValueError(
                f"the recordings label different classes: {', '.join(first.classes)} in "
                f"{first.directory} but {', '.join(each.classes)} in {each.directory}; give recordings "
                "of one game"
            )
    if name is not None and name not in first.classes:
        raise ValueError(
            f"no object of the class {name!r} is labelled; expected one of {', '.join(first.classes)}"
        )
    return 0 if name is None else first.classes.index(name)


def _errors(
    world: World, episodes: Sequence[Episode], chosen: Chosen, console: Console
) -> Measured:
    horizon = max(chosen.ages)
    usable = long_enough(episodes, chosen.burn_in, horizon, 2, "--ages")[:MEASURED]
    pasts = erring.error_pasts(usable, chosen.burn_in, horizon, chosen.seed)
    total = erring.frames_dreamed(pasts, horizon)
    with counted("errors: dreaming", total, "frames", console=console) as advance:
        return erring.measure_errors(
            world,
            usable,
            pasts,
            chosen.ages,
            temperature=chosen.temperature,
            seed=chosen.seed,
            advance=advance,
        )


def _objects(
    world: World,
    episodes: Sequence[Episode],
    stores: Sequence[EpisodeStore],
    labels: Sequence[Labels],
    number: int,
    chosen: Chosen,
    console: Console,
) -> Measured:
    horizon = max(chosen.ages)
    usable = long_enough(episodes, chosen.burn_in, horizon, 2 * LEAST, "--ages")
    measured, trained = divided(usable)
    objects = labelled_objects(measured, labels, stores, number)
    shown = labelled_objects(trained, labels, stores, number)
    pasts = object_pasts(objects, chosen.burn_in, horizon, chosen.seed)
    name = labels[0].classes[number]
    for kind, parts in (("learn from", shown), ("are measured", objects)):
        if not any(each.present.any() for each in parts) or not pasts:
            raise ValueError(
                f"no frame of the {len(parts)} episodes that {kind} shows an object of the class "
                f"{name!r} early enough: give more episodes, or another --object"
            )
    total = reading.reading_steps(world, networks.STEPS)
    with counted("objects: learning to read", total, "updates", console=console) as advance:
        readers = reading.train_readers(
            world, trained, shown, chosen.burn_in, seed=chosen.seed, advance=advance
        )
    total = len(pasts) * reading.SAMPLES * horizon
    with counted("objects: dreaming", total, "frames", console=console) as advance:
        figures = reading.measure_objects(
            world,
            readers,
            measured,
            objects,
            pasts,
            chosen.ages,
            temperature=chosen.temperature,
            seed=chosen.seed,
            advance=advance,
        )
    frames = sum(len(each.present) for each in shown)
    learned = {"frames": min(frames, TRAINED_ON), "episodes": len(trained)}
    return {**figures, "trained_on": learned}


def _drift(world: World, episodes: Sequence[Episode], chosen: Chosen, console: Console) -> Measured:
    ages, burn_in, seed = chosen.drift, chosen.burn_in, chosen.seed
    measured, trained = divided(long_enough(episodes, burn_in, max(ages), 2 * LEAST, "--drift"))
    learned_from = drifting.trained_pasts(trained, burn_in, ages, seed)
    pasts = drifting.drift_pasts(measured, burn_in, ages, drifting.MEASURED_PASTS, seed, use=5)

    def frames(
        of: Sequence[Episode], those: Sequence[Past], wanted: Sequence[int], own: int, title: str
    ) -> drifting.Frames:
        total = len(those) * max(wanted)
        with counted(f"drift: dreaming {title}", total, "frames", console=console) as advance:
            return drifting.drift_frames(
                world,
                of,
                those,
                wanted,
                temperature=chosen.temperature,
                seed=own,
                advance=advance,
            )

    own = derived_seeds(seed, 6, count=3)
    shown = frames(trained, learned_from, ages, own[0], "what is learned from")
    with counted("drift: learning", networks.STEPS, "updates", console=console) as advance:
        network = drifting.trained_network(shown, learned_from, seed=own[1], advance=advance)
    shown = frames(measured, pasts, (0, *ages), own[2], "what is measured")
    figures = drifting.drift_figures(network, shown, pasts, (0, *ages), world.spec.name)
    learned = {"frames": len(learned_from) * len(ages), "episodes": len(trained)}
    return {**figures, "trained_on": learned}
