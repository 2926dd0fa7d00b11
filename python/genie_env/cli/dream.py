"""`genie-env dream`: dreams from a picture on, a clip for every action."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genie_env._core import World
from genie_env.cli.options import (
    DeviceOption,
    FamilyOption,
    PictureOption,
    SeedOption,
    TemperatureOption,
    WorldOption,
    family_options,
)
from genie_env.data.progress import busy
from genie_env.data.run_directory import only_writer
from genie_env.envs.actions import actions_of_world
from genie_env.envs.frame_rate import frames_per_second
from genie_env.envs.registry import find_world
from genie_env.envs.vector_env import DreamVectorEnv
from genie_env.media.action_clips import (
    draw_clips,
    dream_under_every_action,
    in_a_name,
    write_clips,
)
from genie_env.media.read_picture import read_picture


def dream(
    world: WorldOption,
    out: Annotated[
        Path,
        typer.Option(
            help="directory for the clips, and a picture of them", file_okay=False, writable=True
        ),
    ],
    picture: PictureOption = None,
    frames: Annotated[int, typer.Option(help="number of frames to dream", min=1, max=100_000)] = 64,
    temperature: TemperatureOption = None,
    option: FamilyOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
) -> None:
    """Dream on from a picture: a clip for every action, held from beginning to end.

    Of continuous actions, the clips show the middle, and every number at its least and its most.
    """
    loaded = World.load(find_world(world), device=device, options=family_options(option))
    if loaded.spec.frame is None:
        raise ValueError(f"{loaded.spec.name} has no pictures: give a world that has")
    height, width, _ = loaded.spec.frame.shape
    begin = None if picture is None else read_picture(picture, height, width)
    actions = actions_of_world(loaded.spec.actions)
    shown = actions.examples()
    env = DreamVectorEnv(loaded, len(shown), temperature=temperature, max_episode_steps=0)
    fps = frames_per_second(loaded.spec)
    picture_file = out / f"{in_a_name(loaded.spec.name)}.png"
    with only_writer(out):
        clips = dream_under_every_action(env, begin, frames, seed)
        with busy("writing clips"):
            files = write_clips(out, loaded.spec.name, [*map(actions.name, shown)], clips, fps)
            drawn = draw_clips(picture_file, clips)
    Console().print(
        f"wrote {files[0]} to {files[-1].name} and {picture_file}: a row per action, frames "
        f"{', '.join(map(str, drawn))}",
        soft_wrap=True,
    )
