"""The genie family: tokenizer, latent actions and MaskGIT dynamics (Bruce et al. 2024)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genie_env.data.paths import in_utf8
from genie_env.families.base import RESUMES, Command, Family
from genie_env.families.genie.costs import genie_costs

if TYPE_CHECKING:
    import torch

    from genie_env.envs.latent_actions import ActionInference

_COMMANDS = "genie_env.families.genie.commands"


def _random_world(directory: Path, sizes: str) -> Path:
    from genie_env.families.genie.random_world import GenieSizes, random_genie_world

    return random_genie_world(directory, GenieSizes.parse(sizes))


def _action_codes(directory: Path) -> torch.Tensor:
    from safetensors import safe_open

    file = directory / "model.safetensors"
    with in_utf8(file) as path, safe_open(path, "pt") as tensors:
        codes: torch.Tensor = tensors.get_tensor("action_codes")
    return codes.float()


def _infer_actions(directory: Path) -> ActionInference:
    from genie_env.families.genie.infer_actions import infer_actions

    return infer_actions(directory)


GENIE = Family(
    name="genie",
    default_batches=(1, 4, 16, 64),
    costs=genie_costs,
    random_world=_random_world,
    random_sizes="T=16,S=64,d=256,blocks=6,heads=8,codes=1024,K=8",
    action_codes=_action_codes,
    infer_actions=_infer_actions,
    frames_alone=True,
    commands=(
        Command(
            "train",
            "tokenizer",
            f"{_COMMANDS}:train_tokenizer",
            "Train a video tokenizer, a VQ-VAE, on recorded frames.",
            "train tokenizer --data clips/*.mp4 --frames-per-second 10 --out runs/tokenizer",
            RESUMES,
        ),
        Command(
            "train",
            "latent-actions",
            f"{_COMMANDS}:train_latent_actions",
            "Train a latent action model on recorded frames, without their actions.",
            "train latent-actions --data clips/*.mp4 --frames-per-second 10 --out runs/actions",
            RESUMES,
        ),
        Command(
            "train",
            "dynamics",
            f"{_COMMANDS}:train_dynamics",
            "Train MaskGIT dynamics on the tokens of recorded frames and the actions between them.",
            "train dynamics --data clips/*.mp4 --frames-per-second 10 --tokenizer runs/tokenizer "
            "--latent-actions runs/actions --out runs/dynamics",
            RESUMES,
        ),
        Command(
            "freeze",
            "genie",
            f"{_COMMANDS}:freeze_genie",
            "Freeze a tokenizer, the codebook of latent actions and dynamics into a world directory.",
            "freeze genie --dynamics runs/dynamics --out runs/world",
        ),
        Command(
            "train",
            "heads",
            f"{_COMMANDS}:train_heads",
            "Train heads that judge reward and termination on the features of a genie world.",
            "train heads --world runs/world --data data/labelled --out runs/heads",
            RESUMES,
        ),
        Command(
            "freeze",
            "heads",
            f"{_COMMANDS}:freeze_heads_command",
            "Freeze a genie world together with heads into a new world directory, which has rewards.",
            "freeze heads --heads runs/heads --out runs/world-with-rewards",
        ),
    ),
)
