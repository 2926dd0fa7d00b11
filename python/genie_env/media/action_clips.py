"""A dream under every action: one clip each, and a picture of all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env.data.progress import track
from genie_env.envs.actions import actions_of_world
from genie_env.envs.vector_env import DreamVectorEnv
from genie_env.media.pictures import save_rows
from genie_env.media.video import enlarge, write_video

SCALE = 8
SHOWN = 8
"""Frames of each clip in the picture."""


def dream_under_every_action(
    env: DreamVectorEnv, picture: NDArray[np.uint8] | None, frames: int, seed: int
) -> NDArray[np.uint8]:
    """Row i of `env` holds action i of its examples: uint8 [actions, 1 + frames, H, W, 3].

    All rows have one seed, so they differ by their action alone. `picture`, uint8 [H, W, 3], is
    frame 0 of all of them; None: the start that the world draws.
    """
    rows = env.num_envs
    held = actions_of_world(env.world.spec.actions).examples()[:rows]
    options = {} if picture is None else {"frames": np.repeat(picture[None], rows, axis=0)}
    env.reset(seed=[seed] * rows, options=options)
    seen = [env.frames()]
    for _ in track(range(frames), "dreaming", transient=True):
        env.step(held)
        seen.append(env.frames())
    return np.stack(seen, axis=1)


def write_clips(
    directory: Path, world: str, meanings: Sequence[str], clips: NDArray[np.uint8], fps: float
) -> list[Path]:
    """Writes a video of every action's clip, uint8 [actions, T, H, W, 3]; returns their files.

    Their names begin with the world's, so that clips of several worlds share a directory.
    """
    files = []
    for number, (meaning, clip) in enumerate(zip(meanings, clips, strict=True)):
        name = f"{number}" if meaning == str(number) else f"{number}-{in_a_name(meaning)}"
        files.append(directory / f"{in_a_name(world)}-{name}.mp4")
        write_video(files[-1], (enlarge(frame, SCALE) for frame in clip), fps)
    return files


def draw_clips(file: Path, clips: NDArray[np.uint8]) -> list[int]:
    """Writes a picture of evenly spaced frames, a row per action; returns the frames' numbers."""
    length = clips.shape[1]
    shown = np.linspace(0, length - 1, min(SHOWN, length)).round().astype(int)
    save_rows(file, [torch.from_numpy(clip[shown]) for clip in clips])
    return [int(frame) for frame in shown]


def in_a_name(words: str) -> str:
    """Words as they are written in a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-").lower()
