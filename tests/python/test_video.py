"""Videos: read back with PyAV, colours of single pixels included."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from genie_env.media.video import Picture, VideoWriter, enlarge, side_by_side


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
    with VideoWriter(path, fps=35) as video:
        for frame in frames:
            video.write(enlarge(frame, 8))
    decoded = np.stack(read(path))
    assert decoded.shape == (5, 512, 512, 3)
    block_means = decoded.reshape(5, 64, 8, 64, 8, 3).mean(axis=(2, 4))
    assert np.abs(block_means - frames).max() < 16
    assert [file.name for file in path.parent.iterdir()] == ["fireballs.mp4"]


def test_common_players_open_it(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", fps=35) as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 35


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
    with pytest.raises(ValueError, match=words):
        with VideoWriter(tmp_path / "v.mp4", fps=35) as video:
            if "first one" in words:
                video.write(np.zeros((64, 64, 3), np.uint8))
            video.write(picture)
    assert list(tmp_path.iterdir()) == [], "no half a video"


def test_no_pictures_no_video(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", fps=35):
        pass
    assert list(tmp_path.iterdir()) == []
