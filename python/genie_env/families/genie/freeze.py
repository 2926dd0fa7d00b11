"""Freezes tokenizer, dynamics and, where its actions are latent, these into a world directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from genie_env.data.datasets import Batch, Clips, held_out, longest_episode, open_stores
from genie_env.data.frame_rate import pace, rate_of
from genie_env.data.progress import say
from genie_env.data.recording_metadata import numbered_actions, read_meta
from genie_env.data.run_directory import only_writer
from genie_env.data.videos import as_directories
from genie_env.envs.validation import check_temperature
from genie_env.families.latent_statistics import latent_statistics, points
from genie_env.families.played_game import PlayedGame, longest_dream
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
from genie_env.training.dynamics_actions import numbered_game, one_hot_codes
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
    """Writes the world of the run directory `dynamics`, which names its tokenizer and, unless its
    actions are those of its recordings, its latent actions, into `out`.

    `order`: "confidence" or "random"; `passes`: as many as in training where None;
    `played`: the real game, of which video says nothing; None in it: as recorded actions say. Raises
    ValueError where a run is unfinished or damaged, or the runs do not belong together; `out` is
    then as it was.
    """
    check_temperature(temperature)
    check_choice("genie", "order", order)
    learned = {"dynamics": provenance(dynamics, DYNAMICS)}
    settings = learned["dynamics"]["settings"]
    tokenizer_run = Path(settings["tokenizer"])
    learned["tokenizer"] = provenance(tokenizer_run, TOKENIZER)
    made_by = settings["latent_actions"]
    actions_run = None if made_by is None else Path(made_by)
    if actions_run is not None:
        learned["latent_actions"] = provenance(actions_run, LATENT_ACTIONS)
    for run, known in zip((tokenizer_run, actions_run), settings["weights"], strict=True):
        if run is not None and weights_fingerprint(run) != known:
            raise ValueError(
                f"{run} was trained again after {dynamics} had learned from it: what its codes "
                "mean has changed; run `train dynamics` again into another --out"
            )
    tokenizer = load_tokenizer(tokenizer_run)
    actions = (
        _recorded(settings["data"], played)
        if actions_run is None
        else _latent(load_latent_actions(actions_run))
    )
    load_dynamics(dynamics, actions.codes)  # raises ValueError where they do not fit
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
                "frame_skip": int(pace(directories[0], stores[0]).get("frame_skip", 1)),
                **rate_of(directories, stores),
                # The recordings show no longer episode.
                "max_episode_steps": longest,
                "temperature": temperature,
                **actions.config,
                **played.config(),
                "training": {**learned, "data": [*map(read_meta, directories, stores)]},
            },
            {
                **prefixed("tokenizer", weights),
                **prefixed("dynamics", load_weights(dynamics, DYNAMICS)),
                "action_codes": actions.codes,
            },
            {"tokens": _first_tokens(stores, tokens)},
            _statistics(stores, tokens, weights["quantizer.codebook"]),
            None if actions_run is None else (actions_run, LATENT_ACTIONS),
            lambda made, stored: _figures(made, stored, learned, stores),
            played,
        )
    say(f"wrote {out}")


@dataclass(frozen=True)
class _Actions:
    """The actions of the world."""

    codes: torch.Tensor
    """float32 [actions, dimensions]"""
    config: Mapping[str, Any]
    """The fields of config.json that they decide."""


def _latent(model: LatentAction) -> _Actions:
    codes = model.codes()
    meanings = [str(code) for code in range(model.actions)]
    return _Actions(codes, {"actions": {"meanings": meanings, "code_dimensions": codes.shape[1]}})


def _recorded(data: Sequence[str], played: PlayedGame) -> _Actions:
    if played.actions_map is not None:
        raise ValueError(
            f"{played.actions_map} says what latent actions stand for, but the actions of this world "
            "are those of its recordings: leave out --actions-map"
        )
    directories = [Path(path) for path in data]
    stores = open_stores(directories)
    game = numbered_game(directories, stores)
    return _Actions(
        one_hot_codes(game),
        {
            "actions": {**game.actions.as_json(), "recorded": True},
            "max_episode_steps": longest_dream(game, stores),
            "real_game": game.game,
        },
    )


def _figures(
    made: Path, weights: Weights, learned: Mapping[str, Any], stores: Sequence[EpisodeStore]
) -> dict[str, Figures]:
    """The held-out figures of a world's weights, on the recordings that its dynamics learned from;
    what the dynamics read is encoded by the world's own networks."""

    def clips(of: Mapping[str, Any], count: int, length: int = 0) -> list[list[tuple[int, slice]]]:
        """Batches of a network's clips: the store and the frames of each."""
        longest = longest_episode(stores, held_out_part=True)
        places = Clips(stores, min(length or of["clip"], longest), held_out_part=True)
        size = min(of["batch"], len(places))
        return [places.batch(size, of["seed"], i) for i in range(count)]

    def frames_of(places: list[tuple[int, slice]]) -> torch.Tensor:
        """uint8 [size, length, H, W, 3]."""
        return torch.from_numpy(np.stack([stores[store].frames[rows] for store, rows in places]))

    def trainer(model: Model, of: Mapping[str, Any]) -> Trainer:
        return Trainer(model, bf16=of["dtype"] == "bfloat16", seed=of["seed"])

    def autoencoder(
        model: Tokenizer | LatentAction, own: Weights, of: Mapping[str, Any], codes: int
    ) -> Figures:
        batches = [frames_of(places) for places in clips(of, AUTOENCODER_BATCHES)]
        losses = held_out_figures(trainer(model, of), own, ({"frames": b} for b in batches))
        used = usage(torch.cat([model.encode(batch) for batch in batches]), codes)
        return {**losses, **finite(used)}

    of_tokenizer, of_dynamics = (learned[name]["settings"] for name in ("tokenizer", "dynamics"))
    tokenizer = Tokenizer(**of_tokenizer["sizes"])
    figures = {
        "tokenizer": autoencoder(
            tokenizer, part("tokenizer", weights), of_tokenizer, tokenizer.codes
        )
    }
    if "latent_actions" in learned:
        run, of_actions = made / LATENT_ACTIONS_FOLDER, learned["latent_actions"]["settings"]
        model = load_latent_actions(run)
        figures["latent_actions"] = autoencoder(
            model, load_weights(run, LATENT_ACTIONS), of_actions, model.actions
        )

        def actions_of(places: list[tuple[int, slice]]) -> torch.Tensor:
            return model.encode(frames_of(places), bf16=of_actions["dtype"] == "bfloat16")
    else:
        recorded = [numbered_actions(store) for store in stores]

        def actions_of(places: list[tuple[int, slice]]) -> torch.Tensor:
            taken = np.stack([recorded[store][rows][:-1] for store, rows in places])
            return torch.from_numpy(taken)

    def encoded(places: list[tuple[int, slice]]) -> Batch:
        bf16 = of_tokenizer["dtype"] == "bfloat16"
        tokens = tokenizer.encode(frames_of(places), bf16=bf16)
        return {"tokens": tokens, "actions": actions_of(places)}

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
