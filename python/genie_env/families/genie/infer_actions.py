"""The latent actions of a frozen world, inferred from frames by the model in its directory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from genie_env.envs.latent_actions import ActionInference
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.latent_actions import (
    LATENT_ACTIONS,
    LATENT_ACTIONS_FOLDER,
    load_latent_actions,
)
from genie_env.training.runs import read_settings


def infer_actions(directory: Path) -> ActionInference:
    """The model in a world directory, in the precision that it was trained in. Raises ValueError
    where it has none."""
    run = directory / LATENT_ACTIONS_FOLDER
    if not run.is_dir():
        raise ValueError(
            f"the actions of this world are latent, no recording holds them, and {directory} has no "
            f"{LATENT_ACTIONS_FOLDER}/ that infers them: give burn_in 0, which follows no actions, or the "
            "world as `freeze genie` wrote it"
        )
    model = load_latent_actions(run)
    bf16 = read_settings(run, LATENT_ACTIONS)["dtype"] == "bfloat16"
    name = f"actions-{'bfloat16' if bf16 else 'float32'}/{weights_fingerprint(run)}"
    return ActionInference(model.receptive_field, name, partial(model.encode, bf16=bf16))
