"""Writing a world directory (docs/formats.md) from trained networks."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from genie_env._core import FormatError, World, safetensors_bytes, world_families
from genie_env.data.files import write_atomically, write_json
from genie_env.data.run_directory import only_writer
from genie_env.data.paths import shown_in
from genie_env.training.runs import Network, final_report, freeze_network, read_settings

FORMAT_VERSION = 2
"""Of what is written here: `write_world` reads it back by the loader in C++, which defines it."""
LATENT_ACTIONS_FOLDER = "latent-actions"
"""The folder of a world with the model that infers its latent actions from video: a run directory."""
STARTS = 1000
"""The most contexts that a world keeps to begin dreams from."""


def write_world(
    out: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    starts: Mapping[str, torch.Tensor],
    statistics: Mapping[str, torch.Tensor] | None = None,
    latent_actions: tuple[Path, Network] | None = None,
) -> None:
    """Writes a frozen world into the directory `out`, and replaces the one that is there.

    weights are stored in float16, statistics of the training latents as they are; `latent_actions`
    is a finished run, and its network. Everything is written beside `out` first and loaded from
    there: the loader in C++ alone knows what a config may hold. Raises ValueError naming the file
    and the field where it refuses the world; `out` is then as it was.
    """
    config = shown_in(config)  # of paths that are not UTF-8, the loader would refuse the JSON
    halves = {k: v.to(torch.float16) for k, v in weights.items()}
    model = safetensors_bytes({**halves, **(statistics or {})})
    contexts = safetensors_bytes(dict(starts))
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write_atomically(made / "model.safetensors", lambda file: file.write_bytes(model))
        write_atomically(made / "starts.safetensors", lambda file: file.write_bytes(contexts))
        write_json(made / "config.json", {"format_version": FORMAT_VERSION, **config})
        try:
            World.load(made)
        except FormatError as error:
            raise ValueError(
                f"{out} was not written, as nobody could load it: "
                f"{str(error).replace(str(made), str(out))}"
            ) from error
        if latent_actions is not None:
            run, network = latent_actions
            freeze_network(run, network, made / LATENT_ACTIONS_FOLDER)
        _publish(made, out)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _publish(made: Path, out: Path) -> None:
    """Moves everything, config.json last: a directory without one is no world. Other files that are
    in `out`, such as a model card, stay."""
    with only_writer(out):
        (out / "config.json").unlink(missing_ok=True)
        shutil.rmtree(out / LATENT_ACTIONS_FOLDER, ignore_errors=True)
        for path in sorted(made.iterdir(), key=lambda path: path.name == "config.json"):
            os.replace(path, out / path.name)


def check_choice(family: str, option: str, value: str) -> None:
    """Raises ValueError unless a family's option can have this value."""
    options = {each.name: each for each in world_families()[family].options}
    choices = options[option].choices
    if value not in choices:
        raise ValueError(f"the {option} is {value!r}: give {' or '.join(map(repr, choices))}")


def world_name(out: Path, name: str | None) -> str:
    """That of its directory unless given."""
    return out.resolve().name if name is None else name


def provenance(run: Path, network: Network) -> dict[str, Any]:
    """The settings and the last held-out figures of a finished run. Raises ValueError for an
    unfinished one."""
    report = final_report(run, network)
    settings = read_settings(run, network)
    return {"settings": settings, "held_out": report["held_out"], "step": report["step"]}


def prefixed(prefix: str, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors under `<prefix>.<name>`, one part of a world's weights."""
    return {f"{prefix}.{name}": tensor for name, tensor in weights.items()}
