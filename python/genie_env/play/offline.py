"""A film of a dream under actions of a file, without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from genie_env.data.progress import track
from genie_env.envs.frame_rate import frames_per_second
from genie_env.media.video import Picture, enlarge, write_video
from genie_env.play.controls import Controls
from genie_env.play.dream import Dream
from genie_env.play.recording import film_scale
from genie_env.play.shared import Shared

MOST_STEPS = 1_000_000
_LARGEST_FILE = 1 << 24
_REPEATED = re.compile(r"(.*\S)\s+[x*]\s*(\d{1,9})")
_FORM = 'expected an action a line, or an action and how often, such as "left x 30"'


def read_actions(file: Path, controls: Controls) -> list[Any]:
    """The steps of a text file: an action a line, by its name, the meaning of a latent one, or its
    number(s), with " x COUNT" for several of it. Empty lines, and what follows "#", are left out.
    Raises ValueError that names the line.
    """
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise ValueError(
                f"{file} has more than {_LARGEST_FILE:,} bytes: give a file of actions"
            )
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror}): {_FORM}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text: {_FORM}") from None
    steps: list[Any] = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        repeated = _REPEATED.fullmatch(text)
        name, count = (repeated[1], int(repeated[2])) if repeated else (text, 1)
        try:
            action = controls.named(name)
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: {error}") from None
        if len(steps) + count > MOST_STEPS:
            raise ValueError(f"{file} has more than {MOST_STEPS:,} steps: give fewer")
        steps += [action] * count
    if not steps:
        raise ValueError(f"{file} has no action: {_FORM}")
    return steps


def film(shared: Shared, steps: Sequence[Any], file: Path) -> None:
    """The dream of the first seed, or picture, under these actions, as MP4. Where an episode ends
    the next one begins."""
    spec = shared.world.spec
    assert spec.frame is not None
    scale = film_scale(spec.frame.shape[0])
    dream = Dream(
        shared.world,
        shared.controls,
        None,
        temperature=shared.temperature,
        starts=shared.starts_in(shared.world),
    )
    try:
        dream.reset(shared.seed, shared.picture)
        pictures = (enlarge(picture, scale) for picture in _dreamt(dream, steps))
        write_video(file, pictures, frames_per_second(spec))
    finally:
        dream.close()


def _dreamt(dream: Dream, steps: Sequence[Any]) -> Iterator[Picture]:
    yield dream.frame
    for action in track(steps, "dreaming", transient=True):
        while not dream.take(action):  # an episode begins, which takes no action
            yield dream.frame
        yield dream.frame

