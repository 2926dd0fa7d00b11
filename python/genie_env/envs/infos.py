"""What vector environments give beside observations, in Gymnasium's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import VecEnvStep

Give = Callable[[torch.Tensor], Any]
"""Makes what the environment returns: a tensor or an array."""


SCORES = ("surprise", "latent_distance", "termination_probability")
"""What an environment says of each row's step, where its world can and it was asked to."""


def scores_of(step: VecEnvStep) -> dict[str, torch.Tensor]:
    """Float32 [N] each, those of SCORES that the step has."""
    told = {name: getattr(step, name) for name in SCORES}
    return {name: score for name, score in told.items() if score is not None}


def as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def as_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()


def with_masks(
    scores: Mapping[str, torch.Tensor], rows: torch.Tensor, give: Give
) -> dict[str, Any]:
    """The scores with the mask of these rows (bool [N]), as Gymnasium gives infos. The first score
    takes `rows` itself, the others have copies."""
    infos: dict[str, Any] = {}
    for name, score in scores.items():
        mask = rows.clone() if infos else rows
        infos[name], infos[f"_{name}"] = give(score), give(mask)
    return infos


def zero_elsewhere(
    rows: torch.Tensor, scores: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The scores (float32 [N]) of these rows (bool [N]), 0 in the others."""
    return {name: score.where(rows, 0) for name, score in scores.items()}


def final_observations(observations: torch.Tensor, rows: torch.Tensor, give: Give) -> Any:
    """Observations [N, ...] of these rows (bool [N]) as Gymnasium gives them: one object a row, None
    where no episode ended.

    Torch knows no such arrays: there it is all observations before the rows were reset.
    """
    final = give(observations)
    if isinstance(final, torch.Tensor):
        return final
    objects = np.full(len(final), None, dtype=object)
    for row in rows.nonzero().flatten().tolist():
        objects[row] = final[row]
    return objects
