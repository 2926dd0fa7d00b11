"""Writes a world directory of V and M that others trained and published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from genie_env._core import EpisodeStore, Trainer, Vision
from genie_env.data.datasets import open_stores
from genie_env.data.files import sha256_of
from genie_env.data.frame_rate import rate_of
from genie_env.data.progress import say
from genie_env.data.recording_metadata import recorded_game
from genie_env.data.run_directory import only_writer
from genie_env.envs.validation import check_choice, check_temperature
from genie_env.families.played_game import PlayedGame, longest_dream
from genie_env.families.vision_memory.checkpoints.actions import ReadActions
from genie_env.families.vision_memory.checkpoints.files import Tensors, read_latents
from genie_env.families.vision_memory.checkpoints.layouts import LAYOUTS, Layout
from genie_env.families.vision_memory.checkpoints.networks import Linear, ReadMemory, ReadNetworks
from genie_env.families.world_files import STARTS, prefixed, reward_config, world_name, write_world

SIDE = 64
"""Of the frames of all layouts, in pixels."""
NO_SPREAD = -200.0
"""The logarithm of a variance that float32 rounds to 0."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a world needs to know and the files of a checkpoint do not say."""

    starts: Sequence[Path] = ()
    """What dreams begin from: recordings, or one file that `read_latents` takes."""
    actions: ReadActions | None = None
    max_episode_steps: int | None = None
    """Steps of the world after which an episode is truncated."""
    reward_per_step: float | None = None
    """What every step pays. None: what M predicts."""
    termination: str | None = None
    """"thresholded", "sampled" or "never". None: the first, where M predicts terminations."""
    temperature: float = 1.0
    frame_skip: int | None = None
    frames_per_second: float | None = None
    name: str | None = None
    real_game: str | None = None


def import_checkpoint(layout: str, vision: Path, memory: Path, out: Path, facts: Facts) -> None:
    """Writes the world of two files, V's and M's, into `out`. `layout`: one of LAYOUTS.

    Weights are stored in float32, and nothing of the files is executed. Where `facts.starts` are
    recordings, they say what `facts` leaves out. Raises ValueError where files are not of the layout,
    which lists all tensors that are missing, misshapen or too many; where something is still not
    said, which lists all of that; or where it does not fit. `out` is then as it was.
    """
    check_choice("layout", layout, tuple(LAYOUTS))
    check_temperature(facts.temperature)
    found = LAYOUTS[layout]
    networks = found.read(vision, memory)
    _check_reads_actions(memory, networks)
    recordings = facts.starts if any(path.is_dir() for path in facts.starts) else ()
    stores = open_stores(list(recordings)) if recordings else []
    facts, recorded = _with_recorded(facts, recordings, stores)
    _check_complete(layout, facts, networks.memory)
    assert facts.actions is not None and facts.max_episode_steps is not None
    facts.actions.check(networks.memory.of_action.shape[1])
    termination = _termination(memory, facts.termination, networks.memory)
    starts = _encoded(networks, stores) if stores else _read_starts(facts.starts, networks.latents)
    played = PlayedGame(facts.real_game, facts.max_episode_steps)
    rate = facts.frames_per_second
    with only_writer(out):
        write_world(
            out,
            {
                "family": "vision-memory",
                "name": world_name(out, facts.name),
                "sizes": {
                    "latents": networks.latents,
                    "hidden": networks.hidden,
                    "components": networks.memory.components,
                },
                "mixture": networks.memory.mixture,
                "decoder_features": "rectified" if networks.rectified_features else "linear",
                "actions": facts.actions.actions.as_json(),
                "frame": {"height": SIDE, "width": SIDE},
                "frame_skip": facts.frame_skip or 1,
                **({} if rate is None else {"frames_per_second": rate}),
                "reward": {"type": "linear"}
                if facts.reward_per_step is None
                else reward_config(None, facts.reward_per_step),
                "temperature": facts.temperature,
                "termination": termination,
                "termination_reads": "action",
                **recorded,
                **played.config(),
                "imported": _provenance(found, vision=vision, memory=memory),
            },
            {
                **prefixed("vision", networks.vision),
                **prefixed("memory", _memory_weights(networks.memory, facts)),
            },
            starts,
            played=played,
            exact=True,
        )
    say(f"wrote {out}")


def _check_reads_actions(file: Path, networks: ReadNetworks) -> None:
    if networks.memory.of_action.shape[1] == 0:
        raise ValueError(
            f"M of {file} reads no action beside the {networks.latents} latents of V, and what cannot "
            "be acted in is no world: give a checkpoint that was trained with actions"
        )


def _with_recorded(
    facts: Facts, recordings: Sequence[Path], stores: Sequence[EpisodeStore]
) -> tuple[Facts, dict[str, str]]:
    """What the recordings say, where `facts` does not; and the config's "real_game"."""
    if not stores:
        return facts, {}
    if (stores[0].height, stores[0].width) != (SIDE, SIDE):
        raise ValueError(
            f"--starts holds frames of {stores[0].height} x {stores[0].width}, and V takes {SIDE} x "
            f"{SIDE}: record them of that size"
        )
    game = recorded_game(recordings, stores)
    said: dict[str, Any] = {
        "actions": ReadActions(game.actions),
        "max_episode_steps": longest_dream(game, stores),
        "frame_skip": game.frame_skip,
        **rate_of(recordings, stores),
    }
    known = replace(facts, **{k: v for k, v in said.items() if getattr(facts, k) is None})
    return known, {"real_game": game.game}


def _check_complete(layout: str, facts: Facts, memory: ReadMemory) -> None:
    """Raises ValueError that lists all that nobody has said."""
    asked = {
        "--starts (what dreams begin from)": bool(facts.starts),
        "--actions, or --action-low and --action-high (what can be done, of which M reads "
        f"{memory.of_action.shape[1]} numbers)": facts.actions is not None,
        "--max-episode-steps (after which an episode is truncated)": facts.max_episode_steps
        is not None,
        "--reward-per-step (as this M predicts no reward)": facts.reward_per_step is not None
        or memory.reward is not None,
    }
    missing = [words for words, given in asked.items() if not given]
    if missing:
        raise ValueError(f"files of the layout {layout} do not say all: give {'; '.join(missing)}")


def _termination(file: Path, asked: str | None, memory: ReadMemory) -> str:
    if memory.termination is not None:
        return asked or "thresholded"
    if asked not in (None, "never"):
        raise ValueError(
            f"--termination is {asked}, but M of {file} predicts no termination: leave it out, and "
            "give a termination_fn to environments where dreams should end"
        )
    return "never"


def _encoded(networks: ReadNetworks, stores: Sequence[EpisodeStore]) -> Tensors:
    """The first frames of recorded episodes, at most STARTS, as V encodes them."""
    vision = Vision(latents=networks.latents, height=SIDE, width=SIDE)
    Trainer(vision).load_weights(networks.vision)
    frames = [torch.from_numpy(s.frames[s.episode_starts[:-1][:STARTS]]) for s in stores]
    mu, logvar = vision.encode(torch.cat(frames)[:STARTS])
    return {"mu": mu, "logvar": logvar}


def _read_starts(paths: Sequence[Path], latents: int) -> Tensors:
    if len(paths) != 1:
        raise ValueError(
            f"--starts are {', '.join(map(str, paths))}: give directories of recorded episodes, or one "
            "file of latents"
        )
    tensors = read_latents(paths[0])
    mu = tensors["mu"]
    logvar = tensors.get("logvar", torch.full_like(mu, NO_SPREAD))
    if mu.dim() != 2 or mu.shape[1] != latents or len(mu) == 0 or logvar.shape != mu.shape:
        raise ValueError(
            f"{paths[0]} has 'mu' {list(mu.shape)} and 'logvar' {list(logvar.shape)}; expected "
            f"[starts, {latents}], as V has {latents} latents"
        )
    return {"mu": mu, "logvar": logvar}


def _memory_weights(memory: ReadMemory, facts: Facts) -> Tensors:
    """By the names of this library's M. What is a sum of several is rounded once, to float32."""
    assert facts.actions is not None
    of_action, added = facts.actions.weights(memory.of_action)
    of_restart = memory.of_restart if memory.of_restart is not None else torch.zeros(len(added))
    termination = memory.termination or _silent(memory)
    outputs = (memory.log_weights, memory.means, memory.log_stds, termination)
    weights = {
        "weight_ih": torch.cat([memory.of_z.double(), of_action, of_restart.unsqueeze(1)], 1),
        "weight_hh": memory.of_hidden,
        "bias": memory.bias + added,
        "output.weight": torch.cat([output.weight for output in outputs]),
        "output.bias": torch.cat([output.bias for output in outputs]),
    }
    if facts.reward_per_step is None:
        assert memory.reward is not None
        weights |= {"reward.weight": memory.reward.weight, "reward.bias": memory.reward.bias}
    return {name: weight.float().contiguous() for name, weight in weights.items()}


def _silent(memory: ReadMemory) -> Linear:
    """A termination logit of a world whose dreams never end."""
    return Linear(torch.zeros(1, memory.of_hidden.shape[1]), torch.zeros(1))


def _provenance(layout: Layout, **files: Path) -> Mapping[str, Any]:
    return {
        "repository": layout.repository,
        **{name: {"file": file.name, "sha256": sha256_of(file)} for name, file in files.items()},
    }
