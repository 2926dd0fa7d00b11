"""Reading video files: when frames are shown, what they look like, and what is wrong with others."""

from __future__ import annotations

import os
import socket
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, features
from video_files import ALONE, LOSSLESS, break_at, moving, shown_by, write_video

from genie_env.data.video_reader import Video, decode, look_through
from genie_env.media import video as media_video
from genie_env.media.read_picture import read_picture


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


def filtered(file: Path, filters: str) -> list[np.ndarray]:
    """The stored frames, through filters of FFmpeg: "transpose=clock,vflip"."""
    frames = []
    with av.open(str(file)) as container:
        graph = av.filter.Graph()
        chain = [graph.add_buffer(template=container.streams.video[0])]
        chain += [graph.add(*each.split("=")) for each in filters.split(",") if each]
        graph.link_nodes(*chain, graph.add("buffersink")).configure()
        for frame in container.decode(video=0):
            graph.push(frame)
            pulled: Any = graph.pull()
            frames.append(pulled.to_ndarray(format="rgb24"))
    return frames


@pytest.mark.parametrize(
    ("matrix", "filters"),
    [  # as the `ffmpeg` program chooses filters by the matrix
        ((1, 0, 0, 1), ""),
        ((-1, 0, 0, 1), "hflip"),
        ((1, 0, 0, -1), "vflip"),
        ((-1, 0, 0, -1), "hflip,vflip"),
        ((0, 1, -1, 0), "transpose=clock"),
        ((0, -1, 1, 0), "transpose=cclock"),
        ((0, 1, 1, 0), "transpose=cclock_flip"),
        ((0, -1, -1, 0), "transpose=clock_flip"),
        ((0, 0, 0, 0), ""),  # some programs write none that means anything
        ((2, 0, 0, -3), "vflip"),
    ],
)
def test_frames_are_turned_and_mirrored_as_they_are_to_be_shown(
    matrix: tuple[int, int, int, int], filters: str, tmp_path: Path
) -> None:
    file = shown_by(matrix, write_video(tmp_path / "a.mp4", moving(3, 64, 96)))
    expected = np.stack(filtered(file, filters))
    video = look_through(file)
    size = (96, 64) if "transpose" in filters else (64, 96)
    assert np.array_equal(decode(video, np.arange(3), size), expected)
    # Until all were read so, a cache may hold these otherwise.
    mirrored = filters.count("flip") == 1
    assert video.reading == ({"orientation": "mirrored"} if mirrored else {})


def test_frames_that_are_turned_otherwise_are_refused(tmp_path: Path) -> None:
    half = 0.5**0.5
    file = shown_by((half, half, -half, half), write_video(tmp_path / "a.mp4", moving(3)))
    words = (
        r"shown\.mp4 is to be shown turned by 45 degrees, .* as in `ffmpeg -i shown\.mp4 upright"
    )
    with pytest.raises(ValueError, match=words):
        look_through(file)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_a_lossy_animated_picture_is_the_same_as_a_video_and_as_a_prompt(tmp_path: Path) -> None:
    """Whose colours two decoders would make up differently."""
    first, *others = map(Image.fromarray, moving(3))
    first.save(tmp_path / "a.avif", save_all=True, append_images=others)
    assert np.array_equal(
        all_frames(tmp_path / "a.avif")[0], read_picture(tmp_path / "a.avif", 64, 64)
    )


@pytest.mark.parametrize("name", ["a.gif", "a.png"])
@pytest.mark.parametrize("orientation", [1, 2, 5, 8])
def test_an_animated_picture_is_the_same_as_a_video_and_as_a_prompt(
    name: str, orientation: int, tmp_path: Path
) -> None:
    pixels = np.full((3, 64, 64, 4), 255, np.uint8)
    pixels[..., :3] = moving(3) // 64 * 64  # few colours, as a GIF holds 256
    pixels[:, 10:20, :30, 3] = 0  # transparent
    if name == "a.png":
        pixels[:, 30:40, :30, 3] = 99
    first, *others = map(Image.fromarray, pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"disposal": 2} if name == "a.gif" else {"exif": exif}
    first.save(tmp_path / name, save_all=True, append_images=others, **options)
    assert np.array_equal(all_frames(tmp_path / name)[0], read_picture(tmp_path / name, 64, 64))
    assert look_through(tmp_path / name).reading["transparent"] == "black"


# Joined transport streams, as `cat a.ts b.ts` makes them.


def joined(file: Path, *parts: Path) -> Path:
    file.write_bytes(b"".join(part.read_bytes() for part in parts))
    return file


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("ts", {}),  # with frames that depend on later ones
        ("ts", ALONE),
        ("ts", {"codec": "mpeg2video"}),
        ("mpg", {"codec": "mpeg2video"}),
    ],
)
def test_joined_streams_are_read_to_their_end(
    suffix: str, options: dict[str, str], tmp_path: Path
) -> None:
    one = write_video(tmp_path / f"one.{suffix}", moving(30), **options)
    other = write_video(tmp_path / f"other.{suffix}", moving(20, seed=1), **options)
    file = joined(tmp_path / f"both.{suffix}", one, other, one)
    video = look_through(file)
    assert video.rate == pytest.approx(25)
    assert np.abs(np.diff(video.times) - 1 / 25).max() < 1e-3
    expected = [*all_frames(one), *all_frames(other), *all_frames(one)]
    assert np.array_equal(all_frames(file), expected)


@pytest.mark.parametrize(("later", "gap"), [(5, 3.84), (1000, 0.04)])
def test_a_clock_that_jumps_ahead_is_a_pause_or_another_clock(
    later: int, gap: float, tmp_path: Path
) -> None:
    one, other = (write_video(tmp_path / f"{seed}.ts", moving(30, seed=seed)) for seed in (0, 1))
    moved = tmp_path / "moved.ts"
    with av.open(str(other)) as old, av.open(str(moved), "w") as new:
        copied = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = packet.pts + 90000 * later, packet.dts + 90000 * later
                packet.stream = copied
                new.mux(packet)
    file = joined(tmp_path / "both.ts", one, moved)
    assert np.diff(look_through(file).times).max() == pytest.approx(gap, abs=1e-3)
    assert np.array_equal(all_frames(file), [*all_frames(one), *all_frames(other)])


def test_a_hole_in_a_stream_is_no_seam(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.ts", moving(30), **ALONE)
    packets = np.frombuffer(file.read_bytes(), np.uint8).reshape(-1, 188)
    file.write_bytes(
        np.delete(packets, [len(packets) // 2, len(packets) // 2 + 1], axis=0).tobytes()
    )
    with pytest.raises(
        ValueError, match=r"a\.ts breaks at frame \d+ of 30 \(a packet is cut off or d"
    ):
        all_frames(file)


# Names are paths.

NAMES = ["12:30.mp4", "http:a.mp4", "file:a.mp4", "pipe:0.mp4", "a%03d.mp4", "-.mp4", "a\nb.mp4"]


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"\xff\xfe.mp4")])
def test_any_name_is_a_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = moving(4)
    monkeypatch.chdir(tmp_path)
    written = Path(name)
    media_video.write_video(written, frames, 25)
    assert os.listdir() == [name]
    assert len(all_frames(written)) == 4
    written.rename("plain.mp4")
    assert len(all_frames(Path("plain.mp4"))) == 4


def test_a_name_is_no_pattern_for_other_files(tmp_path: Path) -> None:
    for name in ("a%d.png", "a1.png", "a2.png"):
        Image.fromarray(moving(1)[0]).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"a%d\.png has one frame, in which nothing moves"):
        look_through(tmp_path / "a%d.png")


def test_what_names_an_address_opens_no_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        (tmp_path / "a.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(ValueError, match=r"a\.m3u8 cannot be read as a video"):
            look_through(tmp_path / "a.m3u8")
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()


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
