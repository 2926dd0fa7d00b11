"""`genie-env freeze genie`: tokenizer, latent actions and dynamics become a world directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich import print as show

from genie_env._core import EpisodeStore
from genie_env.data.datasets import held_out, longest_episode, open_stores
from genie_env.data.frame_rate import pace
from genie_env.data.videos import as_directories
from genie_env.envs.validation import check_temperature
from genie_env.families.latent_statistics import points, support_of
from genie_env.families.world_files import STARTS, prefixed, provenance, world_name, write_world
from genie_env.training.dynamics import load_dynamics
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.latent_actions import load_latent_actions
from genie_env.training.runs import load_weights, read_settings
from genie_env.training.tokenizer import encoded_tokens, load_tokenizer

SHRINKAGE = 0.01
"""Of the covariance of latents: where nothing ever moves, some tokens never change."""
MOST_LATENTS = 4096
"""Numbers a frame: the statistics of so many take 64 MB."""


def freeze_genie(
    dynamics: Annotated[
        Path,
        typer.Option(
            help="run directory of `train dynamics`; it knows its tokenizer and latent actions"
        ),
    ],
    out: Annotated[Path, typer.Option(help="world directory to write")],
    name: Annotated[
        str | None, typer.Option(help="of the world; that of its directory unless given")
    ] = None,
    temperature: Annotated[float, typer.Option(help="tau that tokens are drawn at")] = 1.0,
    order: Annotated[
        str, typer.Option(help="which tokens a pass settles: by confidence or random")
    ] = "confidence",
    passes: Annotated[
        int | None,
        typer.Option(help="MaskGIT passes a frame; as many as the dynamics learned to make unless given"),
    ] = None,
) -> None:
    """Freeze a tokenizer, the codebook of latent actions and dynamics into a world directory."""
    check_temperature(temperature)
    if order not in ("confidence", "random"):
        raise ValueError(f"the order is {order!r}: give 'confidence' or 'random'")
    learned = {"dynamics": provenance(dynamics, "dynamics")}
    settings = learned["dynamics"]["settings"]
    tokenizer, latent_actions = Path(settings["tokenizer"]), Path(settings["latent_actions"])
    learned["tokenizer"] = provenance(tokenizer, "tokenizer")
    learned["latent_actions"] = provenance(latent_actions, "latent-actions")
    for run, known in zip((tokenizer, latent_actions), settings["weights"], strict=True):
        if weights_fingerprint(run) != known:
            raise ValueError(
                f"{run} was trained again after {dynamics} had learned from it: what its codes "
                "mean has changed; run `train dynamics` anew into another --out"
            )
    eyes, inferred = load_tokenizer(tokenizer), load_latent_actions(latent_actions)
    load_dynamics(dynamics, inferred.codes())  # raises ValueError where they do not fit
    mind_sizes = settings["sizes"]
    if passes is not None and not 1 <= passes <= mind_sizes["passes"]:
        raise ValueError(
            f"passes is {passes}; expected 1 to {mind_sizes['passes']}, as many as {dynamics} "
            "learned to make"
        )
    if (mind_sizes["positions"], mind_sizes["codes"]) != (eyes.positions, eyes.codes):
        raise ValueError(
            f"{dynamics} foretells {mind_sizes['positions']} tokens a frame, of "
            f"{mind_sizes['codes']} codes, but {tokenizer} makes {eyes.positions} of {eyes.codes}: "
            "run `train dynamics` anew into another --out"
        )
    directories = as_directories(
        [Path(path) for path in settings["data"]], settings["frames_per_second"]
    )
    stores = open_stores(directories)
    eyes_weights = load_weights(tokenizer, "tokenizer")
    eyes_sizes = learned["tokenizer"]["settings"]["sizes"]
    tokens = encoded_tokens(tokenizer, eyes, directories, stores)
    longest = max(longest_episode(stores, held_out_part=part) for part in (False, True))
    write_world(
        out,
        {
            "family": "genie",
            "name": world_name(out, name),
            "frame": {"height": stores[0].height, "width": stores[0].width},
            # The networks' own sizes, but for what stands above and below.
            "tokenizer": {k: v for k, v in eyes_sizes.items() if k != "frame"},
            "dynamics": {
                **{k: v for k, v in mind_sizes.items() if k not in ("positions", "codes")},
                "passes": passes or mind_sizes["passes"],
            },
            "order": order,
            "actions": {
                "meanings": [str(code) for code in range(inferred.actions)],
                "code_dimensions": inferred.codes().shape[1],
            },
            "frame_skip": int(pace(stores[0]).get("frame_skip", 1)),
            # Nothing that was seen went on for longer.
            "max_episode_steps": longest,
            "temperature": temperature,
            "training": {**learned, "data": [json.loads(store.meta) for store in stores]},
        },
        {
            **prefixed("tokenizer", eyes_weights),
            **prefixed("dynamics", load_weights(dynamics, "dynamics")),
            "action_codes": inferred.codes(),
        },
        {"tokens": _first_tokens(stores, tokens)},
        _support(stores, tokens, eyes_weights["quantizer.codebook"]),
        latent_actions,
    )
    show(f"wrote {out}")


def _support(
    stores: Sequence[EpisodeStore], tokens: Sequence[NDArray[np.uint16]], codebook: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Nothing where a frame's latents are too many to know how each goes with each."""
    if tokens[0].shape[1] * codebook.shape[1] > MOST_LATENTS:
        return {}
    return support_of(stores, [points(seen, codebook) for seen in tokens], SHRINKAGE)


def _first_tokens(
    stores: Sequence[EpisodeStore], tokens: Sequence[NDArray[np.uint16]]
) -> torch.Tensor:
    """int64 [starts, S]: of the first frames of training episodes."""
    first = [
        seen[store.episode_starts[:-1][~held_out(store)]]
        for store, seen in zip(stores, tokens, strict=True)
    ]
    return torch.from_numpy(np.concatenate(first)[:STARTS].astype(np.int64))
