"""What latent actions mean, from a few labelled transitions.

A latent action model learns from frames alone to distinguish actions, but not their names. A
dictionary from its codes to real actions takes few labels (Bruce et al. 2024, on training agents).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from genie_env._core import EpisodeStore
from genie_env.data.action_dictionary import (
    Counts,
    accuracy,
    accuracy_after,
    check_labelled,
    labelled_transitions,
    most_frequent,
    most_frequent_after,
)
from genie_env.data.datasets import HELD_OUT_EVERY, fingerprint, open_stores, transitions
from genie_env.data.files import write_atomically, write_json
from genie_env.data.kept import kept
from genie_env.data.labelled_transitions import CodeCounts, LabelledTransitions
from genie_env.data.midway import Midway
from genie_env.data.recording_metadata import action_meanings, first_action
from genie_env.data.rows_once import frames_fingerprint
from genie_env.data.run_directory import only_writer
from genie_env.evaluation.action_classifier import train_classifier
from genie_env.evaluation.statistics import Summary, summarise
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.latent_actions import (
    LATENT_ACTIONS,
    encoded_actions,
    load_latent_actions,
)
from genie_env.training.runs import final_report

LABELLED = (20, 50, 200, 1000)
COMPARED = 200
"""Number of labels at which the dictionary is compared with the classifier."""
DRAWS = 20
"""Random sets of labelled transitions, for every number of labels."""


def map_actions(
    latent_actions: Path,
    data: Sequence[Path],
    out: Path,
    labelled: int = COMPARED,
    steps: int = 3000,
    seed: int = 0,
) -> None:
    """Measures what the codes of the run `latent_actions` mean in the recordings `data`; prints two
    tables and writes mapping.json and mapping.png into `out`.

    labelled: transitions whose action the dictionary is made from; steps: updates of the supervised
    classifier. Raises ValueError for wrong numbers, too few recordings, and an unfinished run.
    """
    for name, value, least in (("steps", steps, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name} is {value}; expected {least} or more")
    final_report(latent_actions, LATENT_ACTIONS)
    stores = open_stores(data)
    meanings = action_meanings(data, stores)
    known, unseen = (
        sum(len(transitions(store, held_out_part=part)) for store in stores)
        for part in (False, True)
    )
    check_labelled(labelled, known)
    if not unseen:
        raise ValueError(
            f"too few episodes: the held-out part, every {HELD_OUT_EVERY}th episode of a "
            "directory, has no transition between two frames; record on"
        )

    with only_writer(out):
        model = load_latent_actions(latent_actions)
        codes = encoded_actions(latent_actions, model, data, stores)
        shape = (model.actions, len(meanings))
        trained, tested = (
            LabelledTransitions.of(stores, codes, held_out_part=part) for part in (False, True)
        )
        every, held_out = trained.counts(shape), tested.counts(shape)

        def labels(number: int, draw: int) -> CodeCounts:
            return trained.only(labelled_transitions(known, number, seed, draw)).counts(shape)

        numbers = sorted({labelled, *(n for n in LABELLED if n <= known)})
        drawn = {number: [labels(number, draw) for draw in range(DRAWS)] for number in numbers}
        alone, accuracies = (
            {number: summarise([each(one, held_out) for one in drawn[number]]) for number in numbers}
            for each in (_accuracy_alone, _accuracy)
        )
        supervised = _supervised(
            out / "supervised",
            stores,
            actions=len(meanings),
            window=model.receptive_field,
            steps=steps,
            seed=seed,
        )
        chosen_labels, start = drawn[labelled][0], first_action(stores[0])
        compared, best = accuracies.get(COMPARED), supervised["accuracy"]
        found = {
            "latent_actions": str(latent_actions),
            "weights": weights_fingerprint(latent_actions),
            "data": [str(directory) for directory in data],
            "recordings": [fingerprint(store) for store in stores],
            "seed": seed,
            "transitions": {"training": known, "held_out": unseen},
            "labelled": labelled,
            "dictionary": dictionary_entries(chosen_labels.alone, meanings, start),
            "after": chosen_labels.dictionary(start)[1],  # JSON makes texts of the numbers
            "codes": code_entries(chosen_labels.alone, start),
            "dictionary_accuracy": _accuracy(chosen_labels, held_out),
            "accuracy": _as_json(accuracies),
            "accuracy_by_code_alone": _as_json(alone),
            "every_label": _accuracy(every, held_out),
            "supervised": supervised,
            "chance": accuracy(
                np.full(model.actions, every.alone.sum(axis=0).argmax()), held_out.alone
            ),
            "ratio": compared.mean / best if compared is not None and best else None,
            "confusion": held_out.alone.tolist(),  # a row a code, a column an action
        }
        write_json(out / "mapping.json", found)
        plot(accuracies, found, out / "mapping.png")
    console = Console()
    _show(console, accuracies, found, _named(meanings, first_action(stores[0])))
    files = f"wrote {out / 'mapping.json'} and {out / 'mapping.png'}"
    console.print(files, soft_wrap=True)


def _accuracy_alone(labels: CodeCounts, held_out: CodeCounts) -> float:
    return accuracy(most_frequent(labels.alone), held_out.alone)


def _accuracy(labels: CodeCounts, held_out: CodeCounts) -> float:
    """Of the dictionary that knows the action before; where an episode begins, of codes alone."""
    alone, after = most_frequent(labels.alone), most_frequent_after(labels.alone, labels.after)
    return accuracy_after(alone, after, held_out.alone, held_out.after)


def _as_json(accuracies: Mapping[int, Summary]) -> dict[str, Any]:
    return {str(number): summary.as_json() for number, summary in accuracies.items()}


def _supervised(
    directory: Path,
    stores: Sequence[EpisodeStore],
    *,
    actions: int,
    window: int,
    steps: int,
    seed: int,
) -> dict[str, Any]:
    """The classifier's figures, kept in a file of `directory` that is named after everything they
    depend on, so that latent action models with the same receptive field share one classifier."""
    settings = {
        "window": window,
        "steps": steps,
        "seed": seed,
        "actions": actions,
        "recordings": [fingerprint(store) for store in stores],
        "frames": [frames_fingerprint(store) for store in stores],
        "labels": [hashlib.sha256(store.actions.tobytes()).hexdigest()[:32] for store in stores],
    }

    def classify(midway: Midway) -> dict[str, Any]:
        reached = train_classifier(
            stores, actions=actions, window=window, steps=steps, seed=seed, midway=midway
        )
        return reached.as_json()

    return kept(directory, settings, {"accuracy": float}, classify)


def dictionary_entries(
    counts: Counts, meanings: Sequence[str | None], start: int = 0
) -> dict[str, dict[str, Any]]:
    """By code: the action, numbered from `start`, its meaning, the share of the code's labels that have this action, and how
    many labels the code has; without labels the share is None."""
    return {
        str(code): {
            "action": start + int(action),
            "meaning": meanings[action],
            "share": int(row[action]) / int(row.sum()) if row.any() else None,
            "count": int(row.sum()),
        }
        for code, (action, row) in enumerate(zip(most_frequent(counts), counts, strict=True))
    }


def code_entries(counts: Counts, start: int = 0) -> dict[str, dict[str, Any]]:
    """By action, numbered from `start`: the code that occurred most often with it, the share of the
    action's labels that have this code, and how many labels the action has. Actions without a label
    are left out."""
    return {
        str(start + action): {
            "code": int(code),
            "share": int(row[code]) / int(row.sum()),
            "count": int(row.sum()),
        }
        for action, (code, row) in enumerate(zip(most_frequent(counts.T), counts.T, strict=True))
        if row.any()
    }


def plot(accuracies: Mapping[int, Summary], found: Mapping[str, Any], file: Path) -> None:
    """Held-out accuracy by the number of labels."""
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    panel = figure.subplots()
    numbers = list(accuracies)
    means = np.array([summary.mean for summary in accuracies.values()])
    ends = np.array([summary.ci95 for summary in accuracies.values()])
    panel.errorbar(
        numbers,
        means,
        yerr=np.abs(ends.T - means),
        fmt="o-",
        capsize=3,
        label=f"latent actions, the action before and a dictionary (mean of {DRAWS} draws, 95 %)",
    )
    alone = [each["mean"] for each in found["accuracy_by_code_alone"].values()]
    panel.plot(numbers, alone, "o:", color="C2", label="latent actions alone")
    lines = (
        ("supervised classifier, every label", found["supervised"]["accuracy"], "--", "C1"),
        ("latent actions, the action before, every label", found["every_label"], "-.", "C0"),
        ("chance: the most frequent action", found["chance"], ":", "black"),
    )
    for label, value, style, color in lines:
        panel.axhline(value, linestyle=style, color=color, linewidth=1.2, label=label)
    panel.set(
        xscale="log",
        xlabel="labelled transitions",
        ylabel="accuracy on held-out episodes",
        ylim=(0, 1.02),
        xticks=numbers,
        xticklabels=[f"{number:,}" for number in numbers],
    )
    panel.minorticks_off()
    panel.legend(fontsize="small", loc="lower right")
    write_atomically(file, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def _named(meanings: Sequence[str | None], start: int) -> dict[int, str]:
    """What to call each action, by its number."""
    return {
        action: f"action {action}" if meaning is None else meaning
        for action, meaning in enumerate(meanings, start)
    }


def _show(
    console: Console,
    accuracies: Mapping[int, Summary],
    found: Mapping[str, Any],
    names: Mapping[int, str],
) -> None:
    held_out = np.array(found["confusion"])
    table = Table(title="held-out transitions by code and action")
    for column in ("code", *names.values(), "means", "its labels"):
        table.add_column(column, justify="right")
    for code, entry in found["dictionary"].items():
        if entry["count"]:
            evidence = f"{entry['share']:.0%} of {entry['count']:,}"
        else:
            evidence = "none: the most frequent action"
        row = (f"{number:,}" for number in held_out[int(code)])
        table.add_row(code, *row, names[entry["action"]], evidence)
    console.print(table)
    missing = set(names) - {entry["action"] for entry in found["dictionary"].values()}
    if missing:
        console.print(
            f"No code means {', '.join(names[action] for action in sorted(missing))}.",
            style="bold red",
        )

    table = Table(title="share of held-out actions that are predicted")
    for column in ("", "accuracy", "95 % interval", "by code alone"):
        table.add_column(column, justify="right")
    for number, summary in accuracies.items():
        low, high = summary.ci95 or (summary.mean, summary.mean)
        alone = found["accuracy_by_code_alone"][str(number)]["mean"]
        table.add_row(
            f"{number:,} labels", f"{summary.mean:.1%}", f"{low:.1%} to {high:.1%}", f"{alone:.1%}"
        )
    known = found["transitions"]["training"]
    table.add_row(f"every label ({known:,})", f"{found['every_label']:.1%}", "", "", end_section=True)
    table.add_row("supervised classifier", f"{found['supervised']['accuracy']:.1%}", "", "")
    table.add_row("most frequent action", f"{found['chance']:.1%}", "", "")
    console.print(table)
    if found["ratio"] is not None:
        console.print(
            f"With {COMPARED} labels, latent actions reach {found['ratio']:.1%} of what the "
            f"supervised classifier reaches with all {known:,}."
        )
