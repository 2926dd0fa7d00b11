"""`genie-env dream`: dreams from a picture on, a clip for every action."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track

from genie_env._core import World
from genie_env.cli.options import (
    DeviceOption,
    FamilyOption,
    SeedOption,
    TemperatureOption,
    WorldOption,
    family_options,
)
from genie_env.data.files import read_json
from genie_env.data.frame_rate import world_frames_per_second
from genie_env.envs.registry import find_world
from genie_env.envs.vector_env import DreamVectorEnv
from genie_env.games.real_env import resize
from genie_env.media.pictures import save_rows
from genie_env.media.video import VideoWriter, enlarge

SCALE = 8
SHOWN = 8
"""Frames of each clip that the overview shows."""


def read_picture(file: Path, height: int, width: int) -> NDArray[np.uint8]:
    """A picture of any size and format, upright, as a world takes frames: uint8 [height, width, 3].

    The whole picture is used: wide ones are squeezed; transparent parts are black; of an animation
    the first frame counts. Raises ValueError naming the file where it is no picture.
    """
    if not file.is_file():
        what = "a directory" if file.is_dir() else "not there"
        raise ValueError(f"{file} is {what}: give a picture, such as a PNG or JPEG file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                upright = _in_8_bits(ImageOps.exif_transpose(opened)).convert("RGBA")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{file} has more than {Image.MAX_IMAGE_PIXELS:,} pixels: make it smaller; this "
            f"world's frames are {width} x {height}"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's formats raise
        raise ValueError(
            f"{file} is no picture that can be read ({error}): give a PNG or JPEG file"
        ) from error
    black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
    return resize(np.asarray(Image.alpha_composite(black, upright).convert("RGB")), height, width)


def _in_8_bits(picture: Image.Image) -> Image.Image:
    """Pillow would take every grey of 16 bits that is above 255 for white."""
    if picture.mode.startswith("I;16"):
        shades = np.asarray(picture).astype(np.uint16) >> 8
        return Image.fromarray(shades.astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError("it does not say which of its numbers is white; 8 or 16 bits a channel do")
    return picture


def dream_under_every_action(
    env: DreamVectorEnv, picture: NDArray[np.uint8] | None, frames: int, seed: int
) -> NDArray[np.uint8]:
    """Row i of `env`, one an action, holds action i: uint8 [actions, 1 + frames, H, W, 3].

    All rows have one seed, so they differ by their action alone. `picture`, uint8 [H, W, 3], is
    frame 0 of all of them; None: the start that the world draws.
    """
    rows = env.num_envs
    options = {} if picture is None else {"frames": np.repeat(picture[None], rows, axis=0)}
    env.reset(seed=[seed] * rows, options=options)
    seen = [env.frames()]
    for _ in track(range(frames), "dreaming", transient=True):
        env.step(np.arange(rows))
        seen.append(env.frames())
    return np.stack(seen, axis=1)


def dream(
    world: WorldOption,
    out: Annotated[Path, typer.Option(help="directory for the clips, and for clips.png")],
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            "--prompt",
            help="picture to begin from, of any size and format; a start of the world's own unless "
            "given",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(help="number of frames to dream")] = 64,
    temperature: TemperatureOption = None,
    option: FamilyOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
) -> None:
    """Dream on from a picture: a clip for every action, held from beginning to end."""
    if frames < 1:
        raise ValueError(f"--frames is {frames}, expected 1 or more")
    directory = find_world(world)
    loaded = World.load(directory, device=device, options=family_options(option))
    if loaded.spec.frame is None:
        raise ValueError(f"{loaded.spec.name} has no pictures: give a world that has")
    height, width, _ = loaded.spec.frame.shape
    begin = None if picture is None else read_picture(picture, height, width)
    actions = loaded.spec.actions
    env = DreamVectorEnv(loaded, len(actions), temperature=temperature, max_episode_steps=0)
    dreamt = dream_under_every_action(env, begin, frames, seed)
    fps = max(1, round(world_frames_per_second(read_json(directory / "config.json"))))
    files = []
    for number, (meaning, clip) in enumerate(zip(actions, dreamt, strict=True)):
        name = f"{number}" if meaning == str(number) else f"{number}-{_in_a_name(meaning)}"
        files.append(out / f"{name}.mp4")
        with VideoWriter(files[-1], fps=fps) as video:
            for frame in clip:
                video.write(enlarge(frame, SCALE))
    shown = np.linspace(0, frames, min(SHOWN, 1 + frames)).round().astype(int)
    save_rows(out / "clips.png", [torch.from_numpy(clip[shown]) for clip in dreamt])
    Console().print(
        f"wrote {files[0]} to {files[-1].name} and {out / 'clips.png'}: a row an action, frames "
        f"{', '.join(map(str, shown))}",
        soft_wrap=True,
    )


def _in_a_name(meaning: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", meaning).strip("-").lower()
