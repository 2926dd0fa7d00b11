"""The figures of `genie-env continuity` as tables, and as sections of a model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from genie_env.evaluation.continuity.errors import MEASURES
from genie_env.evaluation.continuity.objects import QUANTITIES
from genie_env.evaluation.continuity.reading import RECORDED

ERRORS = "Error by age"
OBJECTS = "Labelled objects"
DRIFT = "Drift"
_HEADS = {
    "dream": "dream",
    "dream_mean": "mean of dreams",
    "round_trip": "round trip",
    "frozen": "frozen",
    "other": "other episode",
}
_R2 = ("reality", "mean", "single", "frozen")
_MEANT = (
    "Shares that show one: by label / read in reality / in dreams. R2: read in reality, after this "
    "world's own encoding / in the mean of the dreams of a past / in single dreams / in the last real "
    "frame before the dream, of pasts whose nearest one is the nearest still. Inside: truths within the "
    "dreams' 80 % interval."
)
Figures = Mapping[str, Any]


def errors_table(found: Figures) -> Table:
    caption = "; ".join(f"{_HEADS[name]}: {meaning}" for name, meaning in MEASURES.items())
    return _table("squared error of pixels from 0 to 1, in thousandths", caption, _errors(found))


def objects_table(found: Figures, kind: str) -> Table:
    caption = (
        "shows: share of frames that show one, by label / read in reality / in dreams; R2: read in "
        "reality / mean of dreams / single dreams / last real frame; inside: truths within the dreams' "
        "80 % interval"
    )
    return _table(f"nearest {found['object']}, read from {kind}", caption, _objects(found, kind))


def drift_table(found: Figures) -> Table:
    caption = "0.5: nobody can tell them apart; 1: everybody can"
    return _table("dreamed frames told from real ones", caption, _drift(found))


def summary(found: Mapping[str, Figures], facts: Figures) -> str:
    """What was measured, in a line."""
    parts = [
        f"{name}: {each['pasts']:,} pasts in {each['episodes']:,} episodes"
        for name, each in found.items()
    ]
    return (
        f"{'; '.join(parts)}; each after {facts['burn_in']} given frames or more; temperature "
        f"{facts['temperature']:g}; world {facts['world']} ({facts['fingerprint'][:12]}, "
        f"{facts['dtype']}), {facts['frame_skip']} steps of the game a frame"
    )


def card_sections(
    found: Mapping[str, Figures], facts: Figures, plot: str, picture: str
) -> Iterator[tuple[str, list[str]]]:
    """Title and lines of a section for each part."""
    errors = {"errors": found["errors"]}
    measured = (
        f"{summary(errors, facts)}. Mean squared error of pixels from 0 to 1, in thousandths, as "
        "`genie-env continuity` measures it:"
    )
    yield (
        ERRORS,
        [
            measured,
            "",
            *_markdown(_errors(found["errors"])),
            "",
            f"![continuity]({plot})",
            "",
            f"![reality, its round trip, and dreams]({picture})",
        ],
    )
    if objects := found.get("objects"):
        lines = [f"{summary({'objects': objects}, facts)}; {objects['samples']} dreams a past."]
        for kind in shown_kinds(objects):
            lines += ["", f"The nearest {objects['object']}, read from {kind}:", ""]
            lines += _markdown(_objects(objects, kind))
        lines += ["", _MEANT]
        yield OBJECTS, lines
    if drift := found.get("drift"):
        learned = drift["trained_on"]
        measured = (
            f"{summary({'drift': drift}, facts)}. How well a network that saw {learned['frames']:,} "
            f"frames of each kind, of {learned['episodes']:,} other episodes, tells dreamed frames from "
            "real ones after this world's own encoding and decoding:"
        )
        yield DRIFT, [measured, "", *_markdown(_drift(drift))]


def shown_kinds(objects: Figures) -> list[str]:
    """Of what can be read, the latents, or what comes first, and the world's frame."""
    kinds = [kind for kind in objects["read"] if kind != RECORDED]
    return [kinds[0], *({kinds[-1]} - {kinds[0]}), RECORDED]


Rows = list[tuple[str, ...]]
"""The first is the head."""


def _errors(found: Figures) -> Rows:
    rows: Rows = [("age", "dream", "95 % interval", *[*_HEADS.values()][1:])]
    for age in found["dream"]:
        dream, *others = (found[name][age] for name in _HEADS)
        means = (f"{1000 * each['mean']:.2f}" for each in others)
        rows.append((age, f"{1000 * dream['mean']:.2f}", _interval(dream, 1000), *means))
    return rows


def _objects(found: Figures, kind: str) -> Rows:
    rows: Rows = [
        ("age", "shows, %", "pasts", *(f"{q}: R2" for q in QUANTITIES), "inside, %"),
    ]
    for age, each in found["read"][kind].items():
        shows = " / ".join(f"{100 * share['mean']:.0f}" for share in each["shows"].values())
        figures = [each.get(quantity) for quantity in QUANTITIES]
        r2 = ["-" if figure is None else _r2(figure) for figure in figures]
        inside = [f"{100 * f['inside']['mean']:.0f}" for f in figures if f and "inside" in f]
        rows.append((age, shows, f"{each['pasts']:,}", *r2, " / ".join(inside) or "-"))
    return rows


def _r2(figure: Figures) -> str:
    return " / ".join(f"{figure[name]['mean']:.2f}" for name in _R2 if name in figure)


def _drift(found: Figures) -> Rows:
    rows: Rows = [("age", "AUC", "95 % interval")]
    rows += [(age, f"{auc['mean']:.3f}", _interval(auc)) for age, auc in found["auc"].items()]
    return rows


def _interval(figure: Figures, scale: float = 1) -> str:
    if figure["ci95"] is None:
        return "-"
    low, high = (scale * end for end in figure["ci95"])
    return f"{low:.2f} to {high:.2f}"


def _table(title: str, caption: str, rows: Rows) -> Table:
    table = Table(title=title, caption=caption)
    for head in rows[0]:
        table.add_column(head, justify="right")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _markdown(rows: Sequence[tuple[str, ...]]) -> list[str]:
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    return [head, f"|{'---|' * len(rows[0])}", *others]
