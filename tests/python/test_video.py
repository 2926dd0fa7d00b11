"""Videos: read back with PyAV, colours of single pixels included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from video_files import full_disk

from genie_env.media.pictures import save_picture
from genie_env.media.video import Picture, enlarge, side_by_side, write_video


def read(path: Path) -> list[Picture]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_single_pixels_keep_their_colours(tmp_path: Path) -> None:
    """The fireball test: lone red and yellow pixels on grey, which 4:2:0 at 64 x 64 would smear."""
    frames = np.full((5, 64, 64, 3), 90, np.uint8)
    for t in range(5):
        frames[t, 20, 10 + t] = (200, 30, 20)
        frames[t, 41, 30 - t] = (230, 200, 40)
    path = tmp_path / "videos" / "fireballs.mp4"
    write_video(path, (enlarge(frame, 8) for frame in frames), fps=35)
    decoded = np.stack(read(path))
    assert decoded.shape == (5, 512, 512, 3)
    block_means = decoded.reshape(5, 64, 8, 64, 8, 3).mean(axis=(2, 4))
    assert np.abs(block_means - frames).max() < 16
    assert [file.name for file in path.parent.iterdir()] == ["fireballs.mp4"]


@pytest.mark.parametrize("fps", [35, 8.75, 30000 / 1001])
def test_common_players_open_it(fps: float, tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [np.zeros((64, 64, 3), np.uint8)], fps)
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate or 0) == fps


def test_panels_side_by_side() -> None:
    left = np.full((64, 64, 3), 10, np.uint8)
    right = np.full((64, 64, 3), 200, np.uint8)
    picture = side_by_side([left, right], ["reality", "dream"], scale=4)
    assert picture.shape == (256 + 40, 256 + 4 + 256, 3)
    assert (picture[40:, :256] == 10).all() and (picture[40:, 260:] == 200).all()
    assert (picture[40:, 256:260] == 0).all()
    for band in (picture[:40, :256], picture[:40, 260:]):
        assert band.max() > 200 and band.mean() < 60, "white letters on black"


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((64, 64), np.uint8), r"shape \(64, 64\) and dtype uint8; .* uint8 \[H, W, 3\]"),
        (np.zeros((64, 64, 3), np.float32), r"dtype float32; a video takes uint8"),
        (np.zeros((63, 64, 3), np.uint8), r"63 x 64; a video takes even heights and widths"),
        (np.zeros((32, 64, 3), np.uint8), r"32 x 64, the first one of this video was 64 x 64"),
    ],
)
def test_wrong_pictures(picture: Picture, words: str, tmp_path: Path) -> None:
    before = [np.zeros((64, 64, 3), np.uint8)] if "first one" in words else []
    with pytest.raises(ValueError, match=words):
        write_video(tmp_path / "v.mp4", [*before, picture], fps=35)
    assert list(tmp_path.iterdir()) == [], "no half a video"


def test_no_pictures_no_video(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [], fps=35)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [0, 0.5, 1])
def test_a_full_disk_is_one_error_and_leaves_nothing(part: float, tmp_path: Path) -> None:
    """From the first byte to the last."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8)
    writers: dict[str, Callable[[Path], None]] = {
        "v.mp4": lambda file: write_video(file, noise, fps=35),
        "p.png": lambda file: save_picture(file, Image.fromarray(noise.reshape(-1, 64, 3))),
    }
    for name, write in writers.items():
        write(tmp_path / name)
        size = (tmp_path / name).stat().st_size
        (tmp_path / name).unlink()
        words = rf"{name} could not be written \(File too large\): make room"
        with full_disk(int(part * (size - 1))), pytest.raises(OSError, match=words):
            write(tmp_path / name)
        assert list(tmp_path.iterdir()) == []


def test_a_picture_has_the_format_of_its_name(tmp_path: Path) -> None:
    black = Image.new("RGB", (4, 4))
    save_picture(tmp_path / "p.jpg", black)
    with Image.open(tmp_path / "p.jpg") as read_back:
        assert read_back.format == "JPEG"
    for name in ("p.mp4", "p", "p.docx"):
        with pytest.raises(
            ValueError, match=rf"{name} does not end as the name of a picture does: g"
        ):
            save_picture(tmp_path / name, black)
    assert [file.name for file in tmp_path.iterdir()] == ["p.jpg"]
