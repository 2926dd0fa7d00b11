"""The latent actions of recorded frames, as a world's own model infers them: computed once, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.data.datasets import pictures_of
from genie_env.data.files import remove_left_behind, user_cache
from genie_env.data.rows_once import FillRows, encode_episode, frames_fingerprint, rows_once
from genie_env.envs.latent_actions import ActionInference


def inferred_actions(
    inference: ActionInference, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> list[NDArray[np.uint8]]:
    """The latent action from every frame to the next, numbered from 0, uint8 [frames] a store; 0 at an
    episode's last frame. Recorded actions are not read."""
    cache = user_cache() / "encoded" / inference.name
    remove_left_behind(cache)
    return [
        rows_once(
            cache / f"{frames_fingerprint(store)}.npy",
            (store.num_frames,),
            np.uint8,
            fill_actions(
                inference.encode,
                inference.reach,
                store.episode_starts,
                partial(pictures_of, store, final=False),
            ),
            f"inferring the latent actions {directory}",
        )
        for directory, store in zip(directories, stores, strict=True)
    ]


def fill_actions(
    encode: Callable[[torch.Tensor], torch.Tensor],
    reach: int,
    starts: NDArray[np.int64],
    pictures: Callable[[int], NDArray[np.uint8]],
) -> FillRows:
    """Fills uint8 [pictures] with the code of the transition from each picture to the next; it leaves
    an episode's last. starts: int64 [E + 1], where episodes begin; pictures: an episode's, [T, H, W, 3]."""

    def fill(codes: NDArray[Any], done: int) -> Iterator[int]:
        for episode, first in enumerate(starts[:-1].tolist()):
            last = int(starts[episode + 1])
            if first >= done:
                told = codes[first : last - 1]
                encode_episode(encode, pictures(episode), told, reach=reach, ahead=1)
                yield last

    return fill
