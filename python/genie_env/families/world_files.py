"""The files of a world directory (docs/formats.md), as trained networks become them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from genie_env.data.files import write_atomically, write_json
from genie_env.training.runs import final_report, freeze_network, read_settings

FORMAT_VERSION = 2
LATENT_ACTIONS = "latent-actions"
"""The part of a Genie world that says which of its actions happened in a video: a run's directory."""
STARTS = 1000
"""The most contexts that a world keeps to begin dreams from."""


def write_world(
    out: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    starts: Mapping[str, torch.Tensor],
    statistics: Mapping[str, torch.Tensor] | None = None,
    latent_actions: Path | None = None,
) -> None:
    """Writes what a frozen world is, its weights in float16 and, as they are, statistics of what it
    was trained on, where its dreams begin, and the model of its latent actions, a finished run.

    config.json comes last: a directory without one is no world.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").unlink(missing_ok=True)
    halves = {k: v.to(torch.float16).contiguous() for k, v in weights.items()}
    tensors = {**halves, **(statistics or {})}
    write_atomically(out / "model.safetensors", lambda file: file.write_bytes(save(tensors)))
    contexts = {k: v.contiguous() for k, v in starts.items()}
    write_atomically(out / "starts.safetensors", lambda file: file.write_bytes(save(contexts)))
    if latent_actions is not None:
        freeze_network(latent_actions, "latent-actions", out / LATENT_ACTIONS)
    write_json(out / "config.json", {"format_version": FORMAT_VERSION, **config})


def world_name(out: Path, name: str | None) -> str:
    """That of its directory unless given."""
    return out.resolve().name if name is None else name


def provenance(run: Path, network: str) -> dict[str, Any]:
    """What a finished run was given and what it reached. Raises ValueError for an unfinished one."""
    report = final_report(run, network)
    settings = read_settings(run, network)
    return {"settings": settings, "held_out": report["held_out"], "step": report["step"]}


def prefixed(prefix: str, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors under `<prefix>.<name>`, one part of a world's weights."""
    return {f"{prefix}.{name}": tensor for name, tensor in weights.items()}
