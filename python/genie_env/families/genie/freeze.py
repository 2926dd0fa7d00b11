"""Freezes tokenizer, latent actions and dynamics into a world directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import (
    Dynamics,
    EpisodeStore,
    LatentAction,
    Model,
    Tokenizer,
    Trainer,
    limits,
)
from genie_env.data.datasets import Batch, ClipData, Clips, held_out, longest_episode, open_stores
from genie_env.data.frame_rate import pace, rate_of
from genie_env.data.progress import say
from genie_env.data.recording_metadata import read_meta
from genie_env.data.run_directory import only_writer
from genie_env.data.videos import as_directories
from genie_env.envs.validation import check_temperature
from genie_env.families.latent_statistics import latent_statistics, points
from genie_env.families.played_game import PlayedGame
from genie_env.families.world_files import (
    STARTS,
    Figures,
    Weights,
    check_choice,
    held_out_figures,
    part,
    prefixed,
    provenance,
    world_name,
    write_world,
)
from genie_env.training.codebook_usage import usage
from genie_env.training.dynamics import DYNAMICS, load_dynamics, measure
from genie_env.training.dynamics import HELD_OUT_BATCHES as DYNAMICS_BATCHES
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.latent_actions import (
    LATENT_ACTIONS,
    LATENT_ACTIONS_FOLDER,
    load_latent_actions,
)
from genie_env.training.loop import finite
from genie_env.training.runs import load_weights
from genie_env.training.tokenizer import HELD_OUT_BATCHES as AUTOENCODER_BATCHES
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
    played: PlayedGame = PlayedGame(),
) -> None:
    """Writes the world of the run directory `dynamics`, which names its tokenizer and latent
    actions, into `out`.

    `order`: "confidence" or "random"; `passes`: as many as in training where None;
    `played`: the real game, of which video says nothing. Raises
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
    with only_writer(out):
        directories = as_directories(
            [Path(path) for path in settings["data"]],
            settings["frames_per_second"],
            skip_bad=settings.get("skip_bad", False),
        )
        stores = open_stores(directories)
        weights = load_weights(tokenizer_run, TOKENIZER)
        tokenizer_sizes = learned["tokenizer"]["settings"]["sizes"]
        tokens = encoded_tokens(tokenizer_run, tokenizer, directories, stores)
        longest = max(longest_episode(stores, held_out_part=unseen) for unseen in (False, True))
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
                "frame_skip": int(pace(directories[0], stores[0]).get("frame_skip", 1)),
                **rate_of(directories, stores),
                # The recordings show no longer episode.
                "max_episode_steps": longest,
                "temperature": temperature,
                **played.config(),
                "training": {**learned, "data": [*map(read_meta, directories, stores)]},
            },
            {
                **prefixed("tokenizer", weights),
                **prefixed("dynamics", load_weights(dynamics, DYNAMICS)),
                "action_codes": latent_actions.codes(),
            },
            {"tokens": _first_tokens(stores, tokens)},
            _statistics(stores, tokens, weights["quantizer.codebook"]),
            (actions_run, LATENT_ACTIONS),
            lambda made, stored: _figures(made, stored, learned, stores),
            played,
        )
    say(f"wrote {out}")


def _figures(
    made: Path, weights: Weights, learned: Mapping[str, Any], stores: Sequence[EpisodeStore]
) -> dict[str, Figures]:
    """The held-out figures of a world's weights, on the recordings that its dynamics learned from;
    what the dynamics read is encoded by the world's own networks."""

    def clips(of: Mapping[str, Any], count: int, length: int = 0) -> list[torch.Tensor]:
        """Batches of a network's clips, uint8 [size, length, H, W, 3]."""
        longest = longest_episode(stores, held_out_part=True)
        places = Clips(stores, min(length or of["clip"], longest), held_out_part=True)
        size = min(of["batch"], len(places))
        return [ClipData(stores, places).batch(size, of["seed"], i)["frames"] for i in range(count)]

    def trainer(model: Model, of: Mapping[str, Any]) -> Trainer:
        return Trainer(model, bf16=of["dtype"] == "bfloat16", seed=of["seed"])

    def autoencoder(
        model: Tokenizer | LatentAction, own: Weights, of: Mapping[str, Any], codes: int
    ) -> Figures:
        batches = clips(of, AUTOENCODER_BATCHES)
        losses = held_out_figures(trainer(model, of), own, ({"frames": b} for b in batches))
        used = usage(torch.cat([model.encode(batch) for batch in batches]), codes)
        return {**losses, **finite(used)}

    of_tokenizer, of_actions, of_dynamics = (
        learned[network]["settings"] for network in ("tokenizer", "latent_actions", "dynamics")
    )
    tokenizer = Tokenizer(**of_tokenizer["sizes"])
    actions = load_latent_actions(made / LATENT_ACTIONS_FOLDER)
    figures = {
        "tokenizer": autoencoder(
            tokenizer, part("tokenizer", weights), of_tokenizer, tokenizer.codes
        ),
        "latent_actions": autoencoder(
            actions,
            load_weights(made / LATENT_ACTIONS_FOLDER, LATENT_ACTIONS),
            of_actions,
            actions.actions,
        ),
    }

    def encoded(frames: torch.Tensor) -> Batch:
        return {
            "tokens": tokenizer.encode(frames, bf16=of_tokenizer["dtype"] == "bfloat16"),
            "actions": actions.encode(frames, bf16=of_actions["dtype"] == "bfloat16"),
        }

    sizes = of_dynamics["sizes"]
    dynamics = Dynamics(weights["action_codes"], **sizes)
    short = [encoded(batch) for batch in clips(of_dynamics, DYNAMICS_BATCHES)]
    (long,) = clips(of_dynamics, 1, max(of_dynamics["clip"], 4 * sizes["window"]))
    losses = held_out_figures(trainer(dynamics, of_dynamics), part("dynamics", weights), short)
    figures["dynamics"] = {**losses, **finite(measure(dynamics, encoded(long)))}
    return figures


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
