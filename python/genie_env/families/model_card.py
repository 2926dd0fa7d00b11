"""The model card of a frozen world: README.md in its directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genie_env.data.files import write_atomically
from genie_env.envs.actions import actions_of_config
from genie_env.envs.json_files import read_json

CARD = "README.md"
WRITTEN = (
    "<!-- Written by `genie-env freeze`, which writes it again unless this line is removed. -->"
)
"""The first line of a card. One that somebody wrote begins with another, and stays."""

_WRONG = "## Where it is wrong"

_FILES = {
    "config.json": "what the world is, how it was trained, and on what data",
    "model.safetensors": "its weights",
    "starts.safetensors": "the contexts that dreams begin from",
    "latent-actions": "the model that infers latent actions from video",
    "mapping.json": "which action of the real game each latent action stands for",
}


def write_card(made: Path, out: Path) -> None:
    """Writes the card of the world in `made`, which will replace the one in `out`, unless `out` has a
    card that somebody wrote."""
    known = out / CARD
    if known.exists() and not known.read_bytes().startswith(WRITTEN.encode()):
        return
    text = "\n".join(_lines(made, read_json(made / "config.json"))) + "\n"
    write_atomically(made / CARD, lambda file: file.write_text(text, encoding="utf-8"))


def _lines(made: Path, config: Mapping[str, Any]) -> Iterator[str]:
    frame, actions = config["frame"], actions_of_config(config["actions"])
    yield from (WRITTEN, f"# {config['name']}", "")
    yield (
        f"A world of the family `{config['family']}`: frames of {frame['height']} x "
        f"{frame['width']}, {actions}, sampling temperature "
        f"{config['temperature']:g}."
    )
    yield from ("", "| file | what it is |", "|---|---|")
    for name, meaning in _FILES.items():
        if (made / name).exists():
            yield f"| `{name}` | {meaning} |"
    if imported := config.get("imported"):
        yield from ("", "## Imported", "")
        files = " and ".join(f"`{imported[network]['file']}`" for network in ("vision", "memory"))
        yield (
            f"Its networks are {files} of a checkpoint in the layout of {imported['repository']}, "
            "which `genie-env import checkpoint` has brought in as they are."
        )
    training = config.get("training", {})
    for network, learned in training.items():
        if isinstance(learned, dict) and "held_out" in learned:
            yield from ("", f"## {network}", "")
            yield (
                f"{learned['step']:,} steps. On held-out episodes, measured on the weights as they "
                "are stored here:"
            )
            yield from ("", "| figure | value |", "|---|---|")
            for name, value in learned["held_out"].items():
                yield f"| {name} | {'-' if value is None else format(value, '.4g')} |"
    if data := training.get("data"):
        yield from ("", "## Data", "")
        recordings = data if isinstance(data, list) else [r for each in data.values() for r in each]
        for text in dict.fromkeys(map(_recording, recordings)):
            yield f"- {text}"
    yield from ("", _WRONG, "")
    yield "Not known yet: `genie-env outcomes`, `genie-env fidelity` and `genie-env calibrate` show it. Write it here."


def _recording(meta: Mapping[str, Any]) -> str:
    """What one recording is, of its meta.json."""
    names = ("game", "frame_skip", "frames_per_second", "policies", "agent", "explore", "seed")
    facts = [f"{name} {meta[name]}" for name in names if name in meta]
    if videos := meta.get("videos"):
        facts.insert(0, f"{len(videos)} video files")
    return ", ".join(facts) or "a recording that says nothing about itself"


def put_section(world: Path, title: str, lines: Sequence[str]) -> None:
    """Writes a section of the card of a world: instead of the one of this title, or else before
    "Where it is wrong", or at the end."""
    file = world / CARD
    known = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    heads = [at for at, line in enumerate(known) if line.startswith("## ")] + [len(known)]
    begin = next((at for at in heads[:-1] if known[at] == f"## {title}"), None)
    if begin is None:
        begin = end = next((at for at in heads[:-1] if known[at] == _WRONG), len(known))
    else:
        end = heads[heads.index(begin) + 1]
    before, after = known[:begin], known[end:]
    if before and before[-1]:
        before.append("")
    section = [f"## {title}", "", *lines, *([""] if after else [])]
    text = "\n".join([*before, *section, *after]) + "\n"
    write_atomically(file, lambda temporary: temporary.write_text(text, encoding="utf-8"))
