"""`genie-env dream`: pictures of any kind become prompts, and every action a clip."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from video_files import full_disk

import genie_env
from genie_env.cli.dream import dream
from genie_env.families.genie.random_world import GenieSizes, random_genie_world
from genie_env.media.action_clips import dream_under_every_action
from genie_env.media.read_picture import read_picture

SMALL = GenieSizes(T=3, S=64, d=16, blocks=1, heads=2, codes=32, K=2)


def read_64(file: Path) -> NDArray[np.uint8]:
    return read_picture(file, 64, 64)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    ramp = np.arange(64, dtype=np.uint8) * 4
    return Image.fromarray(
        np.stack(np.broadcast_arrays(ramp, ramp[:, None], 90), axis=2).astype("u1")
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1", "I;16"])
def test_pictures_of_any_mode_are_read(picture: Image.Image, mode: str, tmp_path: Path) -> None:
    converted = picture.convert("L").convert("I").convert("I;16") if mode == "I;16" else None
    converted = converted or picture.convert(mode)
    file = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    converted.save(file)
    read = read_64(file)
    assert (read.shape, read.dtype) == ((64, 64, 3), np.uint8)
    if mode in ("RGB", "RGBA"):
        np.testing.assert_array_equal(read, np.asarray(picture))


def test_every_shade_of_grey_is_kept(tmp_path: Path) -> None:
    shades = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    expected = np.repeat((shades >> 8).astype(np.uint8)[..., None], 3, axis=2)
    for dtype, name in (("<u2", "grey.png"), ("<u2", "grey.tif"), (">u2", "big-endian.tif")):
        Image.fromarray(shades.astype(dtype)).save(tmp_path / name)
        np.testing.assert_array_equal(read_64(tmp_path / name), expected)
    half_seen = Image.fromarray(expected[..., 0]).convert("LA")
    half_seen.putalpha(128)
    half_seen.save(tmp_path / "half.png")
    assert np.abs(read_64(tmp_path / "half.png") - expected / 255 * 128).max() <= 1
    for mode in ("I", "F"):
        Image.fromarray(expected[..., 0]).convert(mode).save(tmp_path / f"{mode}.tif")
        with pytest.raises(ValueError, match=rf"{mode}\.tif is no picture .* which of its numbers"):
            read_64(tmp_path / f"{mode}.tif")


def test_pictures_of_any_size_become_the_worlds(picture: Image.Image, tmp_path: Path) -> None:
    for size in ((1, 1), (1, 900), (31, 17), (1920, 1080)):
        picture.resize(size).save(tmp_path / "sized.png")
        assert read_picture(tmp_path / "sized.png", 24, 16).shape == (24, 16, 3)
    wide = picture.resize((16 * 5, 24 * 3), Image.Resampling.NEAREST)
    wide.save(tmp_path / "wide.png")
    means = np.asarray(wide).reshape(24, 3, 16, 5, 3).mean(axis=(1, 3))
    assert np.abs(read_picture(tmp_path / "wide.png", 24, 16) - means).max() <= 1


def test_a_picture_is_upright_opaque_and_whole(picture: Image.Image, tmp_path: Path) -> None:
    wide = picture.resize((640, 64), Image.Resampling.NEAREST)
    wide.save(tmp_path / "wide.png")
    np.testing.assert_array_equal(read_64(tmp_path / "wide.png"), np.asarray(picture))

    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    picture.save(tmp_path / "turned.png", exif=turned)
    expected = np.asarray(picture)[::-1, ::-1]
    np.testing.assert_array_equal(read_64(tmp_path / "turned.png"), expected)

    glass = picture.convert("RGBA")
    glass.putalpha(0)
    glass.save(tmp_path / "glass.png")
    assert not read_64(tmp_path / "glass.png").any()

    moving = [picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    moving[0].save(tmp_path / "moving.webp", save_all=True, append_images=moving[1:], lossless=True)
    np.testing.assert_array_equal(read_64(tmp_path / "moving.webp"), np.asarray(picture))
    greys = [each.convert("L") for each in moving]
    greys[0].save(tmp_path / "moving.gif", save_all=True, append_images=greys[1:])
    first = np.repeat(np.asarray(greys[0])[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_64(tmp_path / "moving.gif"), first)


def test_what_is_no_picture_says_so(
    picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"none.png is not there: give a picture"):
        read_64(tmp_path / "none.png")
    with pytest.raises(ValueError, match=r" is a directory: give a picture"):
        read_64(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text.png is no picture that can be read"):
        read_64(tmp_path / "text.png")
    picture.save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut.png is no picture that can be read"):
        read_64(tmp_path / "cut.png")
    picture.save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"large.png has more than 1,000 pixels: make it smaller"):
        read_64(tmp_path / "large.png")


def frames_of(file: Path) -> int:
    with av.open(str(file)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_every_action_gets_a_clip(picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "prompt.png")
    dream("doom-take-cover", tmp_path / "clips", tmp_path / "prompt.png", frames=5)
    clips = sorted((tmp_path / "clips").glob("*.mp4"))
    assert [clip.name for clip in clips] == [
        "doom-take-cover-0-left.mp4",
        "doom-take-cover-1-stay.mp4",
        "doom-take-cover-2-right.mp4",
    ]
    assert [frames_of(clip) for clip in clips] == [6, 6, 6]
    with Image.open(tmp_path / "clips" / "doom-take-cover.png") as overview:
        assert overview.size == (6 * 128, 3 * 128)


def test_a_full_disk_leaves_the_whole_clips_alone(tmp_path: Path) -> None:
    dream("doom-take-cover", tmp_path / "whole", frames=5)
    first, second, *_ = sorted((tmp_path / "whole").glob("*.mp4"), key=lambda file: file.name)
    sizes = [file.stat().st_size for file in (first, second)]
    words = rf"{(first if sizes[0] >= sizes[1] else second).name} could not be written .*make room"
    with full_disk(max(sizes) - 1), pytest.raises(OSError, match=words):
        dream("doom-take-cover", tmp_path / "clips", frames=5)
    left = [file.name for file in (tmp_path / "clips").glob("*")]
    assert left == ([] if sizes[0] >= sizes[1] else [first.name])


def test_a_genie_world_dreams_on_from_a_picture(picture: Image.Image, tmp_path: Path) -> None:
    world = random_genie_world(tmp_path / "world", SMALL)
    picture.save(tmp_path / "prompt.png")
    dream(str(world), tmp_path / "clips", tmp_path / "prompt.png", frames=3)
    env = genie_env.make_vec(world)
    assert len(list((tmp_path / "clips").glob("*.mp4"))) == env.single_action_space.n


def test_a_picture_is_a_prompt_of_a_world_of_any_size(picture: Image.Image, tmp_path: Path) -> None:
    sizes = GenieSizes(T=3, S=6, d=16, blocks=1, heads=2, codes=32, K=2)
    world = random_genie_world(tmp_path / "world", sizes)  # frames of 16 x 24
    picture.save(tmp_path / "prompt.png")
    dream(str(world), tmp_path / "clips", tmp_path / "prompt.png", frames=2)
    (overview_file,) = (tmp_path / "clips").glob("*.png")
    with Image.open(overview_file) as overview:
        assert overview.size[0] % 24 == 0 and overview.size[1] % 16 == 0


def test_only_the_action_makes_the_difference(tmp_path: Path) -> None:
    world = random_genie_world(tmp_path / "world", SMALL)
    env = genie_env.make_vec(world, 3)
    one = dream_under_every_action(env, None, 2, seed=4)
    other = dream_under_every_action(env, None, 2, seed=4)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one[0, 0], one[2, 0])  # one start
