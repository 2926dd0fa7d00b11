"""The three parts of the measure, with their progress: errors, labelled objects, drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from genie_env._core import EpisodeStore, World
from genie_env.agents.dreams import derived_seeds
from genie_env.data.labels import Labels
from genie_env.data.progress import counted
from genie_env.envs.validation import check_temperature
from genie_env.evaluation.continuity import drift as drifting
from genie_env.evaluation.continuity import errors as erring
from genie_env.evaluation.continuity import networks, objects, readers, reading
from genie_env.evaluation.continuity.dreams import frames_followed
from genie_env.evaluation.continuity.episodes import (
    LEAST,
    Past,
    divided,
    long_enough,
)
from genie_env.evaluation.continuity.objects import Nearest, labelled_objects, object_pasts
from genie_env.evaluation.outcomes import Episode

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
    episodes: int
    """That are measured, or half of those that there are."""
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
        if self.episodes < LEAST:
            raise ValueError(f"episodes is {self.episodes}; expected {LEAST} or more")
        check_temperature(self.temperature)


def constants() -> dict[str, Any]:
    """What of the measure itself decides its figures: those of another version are not taken for
    its own."""
    return {
        "networks": {
            "vectors": [*networks.LAYERS],
            "pictures": [networks.SIDE, *networks.CHANNELS, networks.PICTURE_FEATURES],
            "steps": dict(networks.STEPS),
            "weight_decay": dict(networks.WEIGHT_DECAY),
            "batch": networks.BATCH,
            "learning_rate": networks.LEARNING_RATE,
        },
        "trained_on": {
            "vectors": readers.TRAINED_ON,
            "pictures_every": readers.PICTURES_EVERY,
            "drift": drifting.FRAMES,
        },
        "pasts": [erring.PASTS, objects.PASTS, drifting.MEASURED_PASTS],
        "samples": [erring.SAMPLES, reading.SAMPLES],
    }


def class_number(labels: Sequence[Labels], name: str | None) -> int:
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


def measured_errors(
    world: World, episodes: Sequence[Episode], chosen: Chosen, console: Console
) -> Measured:
    horizon = max(chosen.ages)
    usable = long_enough(episodes, chosen.burn_in, horizon, 2, "--ages")[: chosen.episodes]
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


@dataclass(frozen=True)
class Labelled:
    """Episodes whose labels were checked."""

    name: str
    """The class of the objects that are read."""
    trained: list[Episode]
    """What readers learn from,"""
    learned: list[Nearest]
    """and its objects."""
    measured: list[Episode]
    objects: list[Nearest]
    pasts: list[Past]
    """Of the measured episodes."""


def labelled(
    episodes: Sequence[Episode],
    stores: Sequence[EpisodeStore],
    labels: Sequence[Labels],
    number: int,
    chosen: Chosen,
) -> Labelled:
    """Raises ValueError where labels are of other frames, or show no object."""
    horizon, name = max(chosen.ages), labels[0].classes[number]
    usable = long_enough(episodes, chosen.burn_in, horizon, 2 * LEAST, "--ages")
    measured, trained = divided(usable, chosen.episodes)
    shown = labelled_objects(measured, labels, stores, number)
    learned = labelled_objects(trained, labels, stores, number)
    pasts = object_pasts(measured, chosen.burn_in, horizon, chosen.seed)
    if not all(any(each.present.any() for each in part) for part in (learned, shown)):
        raise ValueError(
            f"no object of the class {name!r} is in the labels of {len(learned)} episodes to learn from, "
            f"or of {len(shown)} to measure: give more episodes, or another --object"
        )
    return Labelled(name, trained, learned, measured, shown, pasts)


def measured_objects(world: World, shown: Labelled, chosen: Chosen, console: Console) -> Measured:
    horizon = max(chosen.ages)
    frames = reading.drawn_frames(shown.trained, chosen.burn_in, chosen.seed)
    total = frames_followed(frames)
    with counted("objects: following", total, "frames", console=console) as advance:
        inputs = reading.encoded_frames(
            world,
            shown.trained,
            frames,
            seed=chosen.seed,
            pictures_every=readers.pictures_every(len(frames)),
            advance=advance,
        )
    total = reading.reading_steps(inputs)
    with counted("objects: learning to read", total, "updates", console=console) as advance:
        trained = reading.train_readers(
            inputs, shown.learned, frames, seed=chosen.seed, advance=advance
        )
    del inputs
    total = len(shown.pasts) * reading.SAMPLES * horizon
    with counted("objects: dreaming", total, "frames", console=console) as advance:
        figures = reading.measure_objects(
            world,
            trained,
            shown.measured,
            shown.objects,
            shown.pasts,
            chosen.ages,
            temperature=chosen.temperature,
            seed=chosen.seed,
            advance=advance,
        )
    learned = {"frames": len(frames), "episodes": len(shown.trained)}
    return {**figures, "trained_on": learned}


def measured_drift(
    world: World, episodes: Sequence[Episode], chosen: Chosen, console: Console
) -> Measured:
    ages, burn_in, seed = chosen.drift, chosen.burn_in, chosen.seed
    measured, trained = divided(
        long_enough(episodes, burn_in, max(ages), 2 * LEAST, "--drift"), chosen.episodes
    )
    learned_from = drifting.trained_pasts(trained, burn_in, ages, seed)
    pasts = drifting.measured_pasts(measured, burn_in, ages, seed)

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
    with counted(
        "drift: learning", networks.STEPS["pictures"], "updates", console=console
    ) as advance:
        network = drifting.trained_network(shown, learned_from, seed=own[1], advance=advance)
    shown = frames(measured, pasts, (0, *ages), own[2], "what is measured")
    figures = drifting.drift_figures(network, shown, pasts, (0, *ages), world.spec.name)
    learned = {"frames": len(learned_from) * len(ages), "episodes": len(trained)}
    return {**figures, "trained_on": learned}
