"""Reading video files: when frames are shown, what they look like, and what is wrong with others."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_files import ALONE, LOSSLESS, break_at, moving, write_video

from genie_env.data.video_reader import Video, decode, look_through


def all_frames(file: Path) -> np.ndarray:
    video = look_through(file)
    return decode(video, np.arange(len(video)), (64, 64))


def test_frames_are_the_means_of_the_area_that_each_pixel_covers(tmp_path: Path) -> None:
    frames = moving(5, 128, 192)
    decoded = all_frames(write_video(tmp_path / "a.mkv", frames, **LOSSLESS))
    means = frames.reshape(5, 64, 2, 64, 3, 3).mean(axis=(2, 4))
    assert decoded.shape == (5, 64, 64, 3) and decoded.dtype == np.uint8
    assert np.abs(decoded - means).max() <= 1


def test_frames_of_the_right_size_are_left_alone(tmp_path: Path) -> None:
    frames = moving(30)
    assert np.array_equal(all_frames(write_video(tmp_path / "a.mkv", frames, **LOSSLESS)), frames)


def test_only_wanted_frames_come_out_as_often_as_they_are_wanted(tmp_path: Path) -> None:
    frames = moving(10)
    video = look_through(write_video(tmp_path / "a.mkv", frames, **LOSSLESS))
    seen = []
    decoded = decode(video, np.array([1, 1, 4, 9]), (64, 64), lambda: seen.append(1))
    assert np.array_equal(decoded, frames[[1, 1, 4, 9]])
    assert len(seen) == 10


@pytest.mark.parametrize(
    ("name", "rate", "options"),
    [
        ("a.mp4", 25, {}),
        ("a.mp4", "30000/1001", {}),
        ("a.mkv", 60, {}),  # its clock ticks in milliseconds
        ("a.webm", 30, {"codec": "libvpx-vp9"}),
        ("a.ts", 25, {"codec": "mpeg2video"}),
        ("a.gif", 20, {"codec": "gif", "pix_fmt": "rgb8"}),
        # Its packets are numbered in the order of decoding, which is another with B frames.
        ("a.avi", 25, {"bf": "2"}),
    ],
)
def test_rates(name: str, rate: Any, options: dict[str, str], tmp_path: Path) -> None:
    frames = moving(40)
    file = write_video(tmp_path / name, frames, rate, **options)
    video = look_through(file)
    assert video.rate == pytest.approx(float(Fraction(rate)), rel=1e-9)
    assert np.abs(video.times - np.arange(40) / float(Fraction(rate))).max() < 1e-3
    # In the right order: the frame that is decoded is nearer to its own source than to others.
    decoded = all_frames(file).astype(int)
    errors = np.abs(decoded[:8, None] - frames[None, :8]).mean(axis=(2, 3, 4))
    assert errors.argmin(axis=1).tolist() == list(range(8))


def test_uneven_frames_have_no_rate_and_a_little_jitter_is_even(tmp_path: Path) -> None:
    uneven = np.cumsum([20, 80] * 10)
    video = look_through(write_video(tmp_path / "a.mkv", moving(20), milliseconds=uneven.tolist()))
    assert video.rate is None
    assert video.times.tolist() == pytest.approx(((uneven - uneven[0]) / 1000).tolist())
    jitter = np.arange(20) * 40 + np.arange(20) % 3 * 4
    video = look_through(write_video(tmp_path / "b.mkv", moving(20), milliseconds=jitter.tolist()))
    assert video.rate == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize("frames_per_second", [10, 7.5, 25, 24, 50, 1])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_the_nearest_frame_in_time_is_taken(frames_per_second: float, seed: int | None) -> None:
    """Against a search through all frames, in fractions."""
    ticks = [40 * i for i in range(60)]
    if seed is not None:
        ticks = np.cumsum(np.random.default_rng(seed).integers(1, 120, 60)).tolist()
    exact = [Fraction(tick - ticks[0], 1000) for tick in ticks]
    video = Video(Path("a.mp4"), np.array(exact, np.float64), None)
    expected, moment = [], Fraction(0)
    while moment <= exact[-1]:
        expected.append(min(range(60), key=lambda i: (abs(exact[i] - moment), i)))
        moment += 1 / Fraction(frames_per_second)
    assert video.nearest(frames_per_second).tolist() == expected


def test_a_picture_that_is_to_be_shown_turned_is_turned(tmp_path: Path) -> None:
    frames = np.zeros((3, 64, 96, 3), np.uint8)
    frames[:, :32, :48] = 255  # top left
    file = write_video(tmp_path / "a.mp4", frames)
    # As a telephone writes it: the matrix of the track turns it clockwise by a right angle.
    content = bytearray(file.read_bytes())
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    place = content.index(upright, content.index(b"tkhd"))
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    content[place : place + len(upright)] = turned
    file.write_bytes(content)
    quarters = all_frames(file)[0].reshape(2, 32, 2, 32, 3).mean(axis=(1, 3, 4))
    assert np.abs(quarters - [[0, 255], [0, 0]]).max() < 3


def test_what_an_edited_file_does_not_show_is_not_read(tmp_path: Path) -> None:
    """As after cutting the beginning off without encoding again: an edit list skips it."""
    source = write_video(tmp_path / "whole.mp4", moving(80), g="20")
    with av.open(str(source)) as old, av.open(str(tmp_path / "cut.mp4"), "w") as new:
        stream = old.streams.video[0]
        copied = new.add_stream_from_template(stream)
        for packet in old.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = packet.pts - 30 * 512, packet.dts - 30 * 512
                packet.stream = copied
                new.mux(packet)
    decoded = all_frames(tmp_path / "cut.mp4")
    assert np.array_equal(decoded, all_frames(source)[30:])


def test_sound_that_goes_on_is_no_missing_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video: Any = container.add_stream("libx264", rate=25)
        video.height = video.width = 64
        sound: Any = container.add_stream("aac", rate=48000)
        for pixels in moving(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        for block in range(100):
            silence = np.zeros((2, 1024), np.float32)
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48000, block * 1024
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    assert len(look_through(tmp_path / "a.mkv")) == 10


def empty(file: Path) -> Path:
    file.touch()
    return file


def text(file: Path) -> Path:
    file.write_text("this is not a video\n" * 50)
    return file


def one_frame(file: Path) -> Path:
    return write_video(file, moving(1))


def without_timestamps(file: Path) -> Path:
    return write_video(file.with_suffix(".h264"), moving(10))


def sound_alone(file: Path) -> Path:
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((2, 1024), np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def cut_off(file: Path) -> Path:
    write_video(file, moving(50), **ALONE)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 6 // 10])
    return file


def cut_off_matroska(file: Path) -> Path:
    return cut_off(file.with_suffix(".mkv"))


def index_cut_off(file: Path) -> Path:
    """Most programs write the index behind the frames."""
    file = write_video(file.with_suffix(".mov"), moving(50))
    file.write_bytes(file.read_bytes()[:-500])
    return file


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (empty, r"a\.mp4 is empty: download or write it again, or leave it out"),
        (text, r"a\.mp4 cannot be read as a video \(Invalid data found when processing input\)"),
        (index_cut_off, r"a\.mov cannot be read as a video \(.*\): download or write it again"),
        (one_frame, r"a\.mp4 has one frame, in which nothing moves: leave it out"),
        (without_timestamps, r"a\.h264 does not say when its frames are shown: put it into a cont"),
        (sound_alone, r"a\.mp4 has no video stream: download or write it again"),
        (cut_off, r"a\.mp4 breaks off after \d\d frames, at 1\.\d\d s of 2\.00 s: download or"),
        (cut_off_matroska, r"a\.mkv breaks off after \d\d frames, at 1\.\d\d s of 2\.00 s"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_decoded(
    make: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        look_through(make(tmp_path / "a.mp4"))


def test_a_stream_that_breaks_in_the_middle_is_named_with_its_frame(tmp_path: Path) -> None:
    file = break_at(write_video(tmp_path / "a.mp4", moving(12), **ALONE), 7)
    video = look_through(file)
    with pytest.raises(ValueError, match=r"a\.mp4 breaks at frame 7 of 12 \(.*\): download or wri"):
        decode(video, np.arange(12), (64, 64))
    assert len(decode(look_through(write_video(file, moving(12))), np.arange(12), (64, 64))) == 12
