"""Freezes tokenizer, latent actions and dynamics into a world directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich import print as show

from genie_env._core import EpisodeStore, limits
from genie_env.data.datasets import held_out, longest_episode, open_stores
from genie_env.data.frame_rate import pace, rate_of
from genie_env.data.videos import as_directories
from genie_env.envs.validation import check_temperature
from genie_env.families.latent_statistics import latent_statistics, points
from genie_env.families.world_files import (
    STARTS,
    check_choice,
    prefixed,
    provenance,
    world_name,
    write_world,
)
from genie_env.training.dynamics import DYNAMICS, load_dynamics
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.latent_actions import LATENT_ACTIONS, load_latent_actions
from genie_env.training.runs import load_weights
from genie_env.training.tokenizer import TOKENIZER, encoded_tokens, load_tokenizer

SHRINKAGE = 0.01
"""Of the covariance of latents, which has no inverse where some tokens never change."""
MOST_LATENTS = limits["latents"]
"""Most numbers a frame that statistics are kept of; they then take 64 MB."""


def freeze_genie(
    dynamics: Path,
    out: Path,
    name: str | None = None,
    temperature: float = 1.0,
    order: str = "confidence",
    passes: int | None = None,
) -> None:
    """Writes the world of the run directory `dynamics`, which names its tokenizer and latent
    actions, into `out`.

    `order`: "confidence" or "random"; `passes`: as many as in training where None. Raises
    ValueError where a run is unfinished or damaged, or the runs do not belong together; `out` is
    then as it was.
    """
    check_temperature(temperature)
    check_choice("genie", "order", order)
    learned = {"dynamics": provenance(dynamics, DYNAMICS)}
    settings = learned["dynamics"]["settings"]
    tokenizer_run, actions_run = Path(settings["tokenizer"]), Path(settings["latent_actions"])
    learned["tokenizer"] = provenance(tokenizer_run, TOKENIZER)
    learned["latent_actions"] = provenance(actions_run, LATENT_ACTIONS)
    for run, known in zip((tokenizer_run, actions_run), settings["weights"], strict=True):
        if weights_fingerprint(run) != known:
            raise ValueError(
                f"{run} was trained again after {dynamics} had learned from it: what its codes "
                "mean has changed; run `train dynamics` again into another --out"
            )
    tokenizer, latent_actions = load_tokenizer(tokenizer_run), load_latent_actions(actions_run)
    load_dynamics(dynamics, latent_actions.codes())  # raises ValueError where they do not fit
    sizes = settings["sizes"]
    if passes is not None and not 1 <= passes <= sizes["passes"]:
        raise ValueError(
            f"passes is {passes}; expected 1 to {sizes['passes']}, as many as {dynamics} "
            "learned to make"
        )
    if (sizes["positions"], sizes["codes"]) != (tokenizer.positions, tokenizer.codes):
        raise ValueError(
            f"{dynamics} predicts {sizes['positions']} tokens a frame, of {sizes['codes']} codes, "
            f"but {tokenizer_run} makes {tokenizer.positions} of {tokenizer.codes}: run `train "
            "dynamics` again into another --out"
        )
    directories = as_directories(
        [Path(path) for path in settings["data"]], settings["frames_per_second"]
    )
    stores = open_stores(directories)
    weights = load_weights(tokenizer_run, TOKENIZER)
    tokenizer_sizes = learned["tokenizer"]["settings"]["sizes"]
    tokens = encoded_tokens(tokenizer_run, tokenizer, directories, stores)
    longest = max(longest_episode(stores, held_out_part=part) for part in (False, True))
    write_world(
        out,
        {
            "family": "genie",
            "name": world_name(out, name),
            "frame": {"height": stores[0].height, "width": stores[0].width},
            # The networks' own sizes, without those that are given elsewhere in this config.
            "tokenizer": {k: v for k, v in tokenizer_sizes.items() if k != "frame"},
            "dynamics": {
                **{k: v for k, v in sizes.items() if k not in ("positions", "codes")},
                "passes": passes or sizes["passes"],
            },
            "order": order,
            "actions": {
                "meanings": [str(code) for code in range(latent_actions.actions)],
                "code_dimensions": latent_actions.codes().shape[1],
            },
            "frame_skip": int(pace(stores[0]).get("frame_skip", 1)),
            **rate_of(stores),
            # The recordings show no longer episode.
            "max_episode_steps": longest,
            "temperature": temperature,
            "training": {**learned, "data": [json.loads(store.meta) for store in stores]},
        },
        {
            **prefixed("tokenizer", weights),
            **prefixed("dynamics", load_weights(dynamics, DYNAMICS)),
            "action_codes": latent_actions.codes(),
        },
        {"tokens": _first_tokens(stores, tokens)},
        _statistics(stores, tokens, weights["quantizer.codebook"]),
        (actions_run, LATENT_ACTIONS),
    )
    show(f"wrote {out}")


def _statistics(
    stores: Sequence[EpisodeStore], tokens: Sequence[NDArray[np.uint16]], codebook: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Empty where a frame has too many latents for their covariance."""
    if tokens[0].shape[1] * codebook.shape[1] > MOST_LATENTS:
        return {}
    return latent_statistics(stores, [points(each, codebook) for each in tokens], SHRINKAGE)


def _first_tokens(
    stores: Sequence[EpisodeStore], tokens: Sequence[NDArray[np.uint16]]
) -> torch.Tensor:
    """int64 [starts, S]: the tokens of the first frames of training episodes."""
    first = [
        each[store.episode_starts[:-1][~held_out(store)]]
        for store, each in zip(stores, tokens, strict=True)
    ]
    return torch.from_numpy(np.concatenate(first)[:STARTS].astype(np.int64))
