"""Video files as training data: decoded once, one pace, and nothing but frames."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video_files import ALONE, LOSSLESS, break_at, moving, shown_by, write_video

from genie_env._core import EpisodeStore, EpisodeWriter
from genie_env.cli.app import APP
from genie_env.cli.fidelity import fidelity
from genie_env.cli.inspect import inspect
from genie_env.data import videos
from genie_env.data.datasets import held_out, open_stores
from genie_env.data.videos import as_directories
from genie_env.families.genie.commands import (
    freeze_genie,
    train_dynamics,
    train_latent_actions,
    train_tokenizer,
)
from genie_env.families.vision_memory.commands import train_memory, train_vision

CLIPS = 20


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 lossless clips of 6 to 9 frames, 25 frames per second."""
    directory = tmp_path_factory.mktemp("clips")
    for clip in range(CLIPS):
        frames = moving(6 + clip % 4, seed=clip)
        write_video(directory / f"{clip:02}.mp4", frames, **LOSSLESS, **ALONE)
    return directory


@pytest.fixture
def clips(shot: Path, tmp_path: Path) -> list[Path]:
    shutil.copytree(shot, tmp_path / "clips")
    return sorted((tmp_path / "clips").iterdir())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "genie_env" / "videos"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded, as they are."""
    names: list[str] = []
    decode = videos.decode

    def counting(video: Any, *arguments: Any) -> Any:
        names.append(video.file.name)
        return decode(video, *arguments)

    monkeypatch.setattr(videos, "decode", counting)
    return names


def episodes(directory: Path) -> list[np.ndarray]:
    store = EpisodeStore(directory)
    return np.split(store.frames, store.episode_starts[1:-1])


def shown(clips: Sequence[Path]) -> list[np.ndarray]:
    return [moving(6 + int(c.stem) % 4, seed=int(c.stem)) for c in clips]


def same(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def test_each_file_is_an_episode_of_frames_alone(clips: list[Path], cache: Path) -> None:
    (directory,) = as_directories(clips)
    assert directory.parent == cache
    assert same(episodes(directory), shown(clips))
    store = EpisodeStore(directory)
    assert np.flatnonzero(held_out(store)).tolist() == [19]
    ends = store.episode_starts[1:] - 1
    assert np.flatnonzero(store.truncations).tolist() == ends.tolist()
    assert not (store.terminations.any() or store.actions.any() or store.rewards.any())
    meta = json.loads(store.meta)
    assert meta["actions"] is None and meta["frames_per_second"] == 25
    assert [video["file"] for video in meta["videos"]] == [clip.name for clip in clips]


def test_they_are_decoded_once(clips: list[Path], decoded: list[str]) -> None:
    first = as_directories(clips)
    assert len(decoded) == CLIPS
    assert as_directories(clips) == first
    assert len(decoded) == CLIPS
    # Named from somewhere else, they are still the same files.
    assert as_directories([Path(os.path.relpath(clip)) for clip in clips]) == first
    # In another order other ones are held out, but nothing is decoded for it.
    assert same(episodes(as_directories(clips[::-1])[0]), shown(clips[::-1]))
    assert len(decoded) == CLIPS


def test_a_changed_or_a_new_file_alone_is_decoded(clips: list[Path], decoded: list[str]) -> None:
    (first,) = as_directories(clips)
    write_video(clips[3], moving(9, seed=99), **LOSSLESS)
    new = write_video(clips[0].with_name("99.mp4"), moving(7, seed=98), **LOSSLESS)
    decoded.clear()
    (second,) = as_directories([*clips, new])
    assert decoded == ["03.mp4", "99.mp4"]
    expected = shown(clips)
    expected[3] = moving(9, seed=99)
    assert same(episodes(second), [*expected, moving(7, seed=98)])
    assert EpisodeStore(first).num_episodes == CLIPS


def test_nothing_is_written_beside_the_clips(clips: list[Path]) -> None:
    folder = clips[0].parent
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    folder.chmod(0o555)
    try:
        as_directories(clips)
    finally:
        folder.chmod(0o755)
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_a_kill_loses_the_file_in_flight_at_most(
    clips: list[Path], decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = videos.decode

    def killed(video: Any, *arguments: Any) -> Any:
        if video.file == clips[5]:
            raise KeyboardInterrupt
        return counting(video, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(videos, "decode", killed)
        with pytest.raises(KeyboardInterrupt):
            as_directories(clips)
    (directory,) = as_directories(clips)
    assert decoded == [clip.name for clip in clips]
    assert same(episodes(directory), shown(clips))


def test_a_file_that_breaks_costs_nothing_of_the_others(
    clips: list[Path], decoded: list[str]
) -> None:
    break_at(clips[7], 3)
    more = [write_video(clips[0].with_name("20.mp4"), moving(6, seed=20), **LOSSLESS)]
    with pytest.raises(ValueError, match=r"07\.mp4 breaks at frame 3 of 9 \(.*\): .* are kept"):
        as_directories(clips + more)
    kept = clips[:7] + clips[8:] + more
    (directory,) = as_directories(kept)
    assert decoded == [clip.name for clip in clips + more]
    assert same(episodes(directory), shown(kept))


def test_a_file_that_cannot_be_read_is_told_before_any_is_decoded(
    clips: list[Path], decoded: list[str], cache: Path
) -> None:
    as_directories(clips)
    decoded.clear()
    clips[7].write_bytes(clips[7].read_bytes()[:30])
    with pytest.raises(ValueError, match=r"07\.mp4 cannot be read as a video \(.*\): download"):
        as_directories(clips)
    assert decoded == []
    # The others are still there.
    write_video(clips[7], shown(clips)[7], **LOSSLESS)
    as_directories(clips)
    assert decoded == ["07.mp4"]


def test_whatever_else_is_wrong_in_the_middle_is_told_before_any_is_decoded(
    clips: list[Path], tmp_path: Path, decoded: list[str], cache: Path
) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    one = write_video(tmp_path / "one.mp4", moving(1, seed=0), **LOSSLESS)
    (tmp_path / "empty").mkdir()
    cut = recording(tmp_path / "cut")
    (cut / "frames.npy").write_bytes((cut / "frames.npy").read_bytes()[:5000])
    for wrong, words in (
        (tmp_path / "notes.mp4", r"notes\.mp4 cannot be read as a video \(.*\): download or write"),
        (one, r"one\.mp4 has one frame, in which nothing moves: leave it out"),
        (tmp_path / "none.mp4", r"none\.mp4 does not exist: give a video file, a folder of"),
        (tmp_path / "empty", r"empty is not a directory of episodes: it has no episode_starts"),
        (
            cut,
            r"frames\.npy has 0 rows, but episode_starts\.npy promises 6 for episode 0: bring the",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            as_directories([*clips[:10], wrong, *clips[10:]])
        assert decoded == [] and not cache.exists(), wrong


def test_recordings_of_other_sizes_are_named(
    clips: list[Path], decoded: list[str], tmp_path: Path
) -> None:
    large, small = recording(tmp_path / "large"), tmp_path / "small"
    with EpisodeWriter(small, 16, 32, '{"format_version": 1}'):
        pass
    words = r"different sizes: .*/large of 64 x 64, .*/small of 16 x 32; give those of one size"
    with pytest.raises(ValueError, match=words):
        open_stores([large, small])
    with pytest.raises(ValueError, match=words):
        as_directories([large, small, *clips])
    assert decoded == []


def test_videos_get_the_size_of_the_recordings_beside_them(
    clips: list[Path], tmp_path: Path
) -> None:
    small = tmp_path / "small"
    with EpisodeWriter(small, 16, 32, '{"format_version": 1}'):
        pass
    *_, directory = as_directories([small, *clips])
    store = EpisodeStore(directory)
    assert store.frames.shape[1:] == (16, 32, 3)
    means = shown(clips)[0].reshape(-1, 16, 4, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(episodes(directory)[0] - means).max() <= 1
    # Decoded at another size, they are not taken for these.
    assert as_directories(clips)[0] != directory


def test_videos_of_other_sizes_and_shapes_are_resized(clips: list[Path]) -> None:
    wide = moving(6, 64, 192, seed=50)
    write_video(clips[4], wide, **LOSSLESS)
    (directory,) = as_directories(clips)
    means = wide.reshape(6, 64, 64, 3, 3).mean(axis=3)
    assert np.abs(episodes(directory)[4] - means).max() <= 1


def test_videos_are_brought_to_one_rate(clips: list[Path]) -> None:
    faster = moving(30, seed=50)
    write_video(clips[4], faster, 50, **LOSSLESS)
    with pytest.raises(
        ValueError,
        match=r"different frame rates: .*00\.mp4 has 25 frames per second, .*04\.mp4 50; give "
        "--frames-per-second, which takes the nearest frame in time",
    ):
        as_directories(clips)
    (directory,) = as_directories(clips, 12.5)
    expected = [frames[::2] for frames in shown(clips)]
    expected[4] = faster[::4]
    assert same(episodes(directory), expected)
    assert json.loads(EpisodeStore(directory).meta)["frames_per_second"] == 12.5
    # What was decoded at one rate is not taken for another.
    (other,) = as_directories(clips, 25)
    expected = shown(clips)
    expected[4] = faster[::2]
    assert same(episodes(other), expected)


def test_a_variable_rate_needs_a_rate(clips: list[Path]) -> None:
    frames = moving(20, seed=50)
    times = np.cumsum([20, 80] * 10)
    write_video(clips[4], frames, milliseconds=times.tolist(), **LOSSLESS)
    with pytest.raises(
        ValueError,
        match=r"04\.mp4 has a variable frame rate: its frames are 20 to 80 ms apart; give --frames-",
    ):
        as_directories(clips)
    (directory,) = as_directories(clips, 10)
    # Every 100 ms: the first of every two frames.
    assert same(episodes(directory)[4:5], [frames[::2]])


def test_what_cannot_be_meant_is_refused(clips: list[Path], tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ValueError, match="--frames-per-second is 0; it must be above 0"):
        as_directories(clips, 0)
    with pytest.raises(ValueError, match="--frames-per-second 10 is for video files, and the data"):
        as_directories([tmp_path], 10)
    with pytest.raises(
        ValueError, match=r"00\.mp4 is given twice, and would be trained on and held"
    ):
        as_directories([*clips, clips[0].parent / ".." / "clips" / "00.mp4"])
    with pytest.raises(
        ValueError, match="too few video files: there are 19, each is an episode, a"
    ):
        as_directories(clips[:19])
    with pytest.raises(
        ValueError, match=r"00\.mp4 is 0\.20 s long, which is one frame at --frames-per-second 2: g"
    ):
        as_directories(clips, 2)
    assert not cache.exists()


def test_a_damaged_cache_says_what_to_remove(clips: list[Path]) -> None:
    (directory,) = as_directories(clips)
    (directory / "actions.npy").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=rf"actions\.npy.*; remove {re.escape(str(directory))}, a"):
        as_directories(clips)
    shutil.rmtree(directory)
    assert as_directories(clips) == [directory]


RUN: dict[str, Any] = {"steps": 1, "batch": 2, "bf16": False, "width": 8, "heads": 2, "window": 3}
BLOCKS: dict[str, Any] = {"encoder_blocks": 1, "decoder_blocks": 1, "clip": 4}


def recording(directory: Path) -> Path:
    """Of a game, whose frames are those of some clips."""
    meta = {"format_version": 1, "game": "CartPole-v1", "frame_skip": 2, "actions": ["0", "1"]}
    with EpisodeWriter(directory, 64, 64, json.dumps(meta)) as writer:
        for seed in range(CLIPS):
            ends = np.arange(6) == 5
            actions = np.zeros(6, np.int64)
            writer.append(
                moving(6, seed=seed), actions, actions.astype(np.float32), ends, ends & False
            )
    return directory


def test_all_three_networks_of_genie_learn_from_them(
    clips: list[Path], tmp_path: Path, decoded: list[str]
) -> None:
    data = [clips[0], recording(tmp_path / "recorded"), *clips[1:]]
    runs = tmp_path / "runs"
    train_tokenizer(data, runs / "tokenizer", codes=20, **RUN, **BLOCKS)
    train_latent_actions(data, runs / "actions", **RUN, **BLOCKS)
    codes = {"tokenizer": runs / "tokenizer", "latent_actions": runs / "actions"}
    train_dynamics(data, out=runs / "dynamics", blocks=1, clip=4, **codes, **RUN)
    assert len(decoded) == CLIPS
    for name in ("tokenizer", "actions", "dynamics"):
        settings = json.loads((runs / name / "settings.json").read_text())
        assert settings["data"] == [str(path) for path in data]
        assert len(settings["recordings"]) == 2
    # Another rate is another run.
    with pytest.raises(ValueError, match="frames_per_second was None and is now 12.5"):
        train_tokenizer(data, runs / "tokenizer", codes=20, **RUN, **BLOCKS, frames_per_second=12.5)
    # The same content at another time is the same run, decoded once more at most.
    for clip in clips:
        os.utime(clip, (1, 1))
    train_tokenizer(data, runs / "tokenizer", codes=20, **RUN, **BLOCKS)


def test_a_shell_makes_several_values_of_a_pattern(clips: list[Path]) -> None:
    command: Any = APP.commands["train"]
    for name in ("tokenizer", "latent-actions"):
        context = command.commands[name].make_context(
            name, ["--data", *map(str, clips), "--out", "o", "--frames-per-second", "10"]
        )
        assert context.params["data"] == clips
        assert context.params["frames_per_second"] == 10


def test_whatever_needs_actions_refuses_them(clips: list[Path], tmp_path: Path) -> None:
    (directory,) = as_directories(clips)
    with pytest.raises(
        ValueError, match=r" has no actions, as it was decoded from video files: `t"
    ):
        train_memory([directory], tmp_path / "vision", tmp_path / "memory")
    words = r"00\.mp4 is a file, and a directory of recorded episodes is expected; a video has no a"
    with pytest.raises(ValueError, match=words):
        train_memory(clips, tmp_path / "vision", tmp_path / "memory")
    with pytest.raises(ValueError, match=words):
        train_vision(clips, tmp_path / "vision")
    assert not (tmp_path / "memory").exists() and not (tmp_path / "vision").exists()


def test_videos_and_recordings_of_another_pace_are_not_mixed(
    clips: list[Path], tmp_path: Path
) -> None:
    directory = recording(tmp_path / "doom")
    meta = {"game": "doom-take-cover", "frame_skip": 4, "actions": ["left", "stay", "right"]}
    (directory / "meta.json").write_text(json.dumps({"format_version": 1, **meta}))
    with pytest.raises(
        ValueError,
        match="frames_per_second is 8.75 in .*/doom but 25 in .*, and .* bring video files",
    ):
        open_stores(as_directories([directory, *clips]))
    assert len(open_stores(as_directories([directory, *clips], 8.75))) == 2


def test_inspect_tells_only_what_a_video_tells(
    clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory,) = as_directories(clips)
    inspect(directory, tmp_path / "sheet.png")
    text = capsys.readouterr().out
    assert "20 episodes, 150 frames" in text and "frames_per_second 25" in text
    assert "frames only: no actions, no scores, no reasons to end" in text
    assert "steps by action" not in text and "score: " not in text


# The cache is keyed by content.


def test_another_content_of_the_same_name_size_and_time_is_another_video(
    clips: list[Path], decoded: list[str]
) -> None:
    """Two clips in turn under one name, filled up to one size."""
    contents = [clips[3].read_bytes(), clips[7].read_bytes()]
    size = max(map(len, contents)) + 8
    for content, frames in zip(contents, shown([clips[3], clips[7]]), strict=True):
        filling = size - len(content)  # a box that every reader skips
        clips[3].write_bytes(content + struct.pack(">I4s", filling, b"free").ljust(filling, b"\0"))
        os.utime(clips[3], (1, 1))
        (directory,) = as_directories(clips)
        assert same(episodes(directory)[3:4], [frames])
    assert decoded.count("03.mp4") == 2 and len(decoded) == CLIPS + 1


def test_the_same_content_elsewhere_is_the_same_video(
    clips: list[Path], decoded: list[str], tmp_path: Path
) -> None:
    first = as_directories(clips)
    moved = [clip.rename(tmp_path / clip.name) for clip in clips]
    os.utime(moved[0], (1, 1))
    assert as_directories(moved) == first
    assert len(decoded) == CLIPS


def test_what_an_older_version_read_mirrored_is_read_again(
    clips: list[Path], decoded: list[str], cache: Path
) -> None:
    mirrored = shown_by((-1, 0, 0, 1), write_video(clips[0], moving(6), **LOSSLESS))
    mirrored.replace(clips[0])
    (directory,) = as_directories(clips)
    assert same(episodes(directory)[:1], [moving(6)[:, :, ::-1]])
    # As the older version kept them: under another name, without a word about the mirror.
    meta = json.loads((directory / "meta.json").read_text())
    assert meta["videos"][0].pop("orientation") == "mirrored"
    assert [sorted(video) for video in meta["videos"]] == [["file", "sha256"]] * CLIPS
    (directory / "meta.json").write_text(json.dumps(meta))
    directory.rename(cache / "00-of-an-older-version")
    decoded.clear()
    (directory,) = as_directories(clips)
    assert decoded == ["00.mp4"]
    assert same(episodes(directory)[:1], [moving(6)[:, :, ::-1]])


def test_clips_may_have_any_name(clips: list[Path]) -> None:
    """The names of moments, of protocols, and of bytes that are no UTF-8."""
    names = ["12:30.mp4", "http:a.mp4", os.fsdecode(b"\xff.mp4")]
    for clip, name in zip(list(clips), names, strict=False):
        clips[clips.index(clip)] = clip.rename(clip.with_name(name))
    (directory,) = as_directories(clips)
    store = EpisodeStore(directory)
    assert store.num_episodes == CLIPS
    videos = json.loads(store.meta)["videos"]
    assert [video["file"] for video in videos[:3]] == ["12:30.mp4", "http:a.mp4", r"\xff.mp4"]


# Folders, and files that are bad.


def test_a_folder_stands_for_the_videos_in_it(
    clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = clips[0].parent
    by_name = as_directories(clips)
    (folder / "notes.txt").write_text("where they were shot")
    (folder / "more").mkdir()
    write_video(folder / "more" / "a.mp4", moving(6), **LOSSLESS)
    clips[19].rename(folder / "19.MKV")  # FFmpeg looks at the content
    capsys.readouterr()
    assert as_directories([folder]) == by_name
    out = capsys.readouterr().out
    assert f"{folder}: 20 video files; its other files (1) are left out\n" in out
    with pytest.raises(ValueError, match=r"00\.mp4 is given twice, and would be trained on"):
        as_directories([folder, clips[0]])


def test_a_folder_without_videos_is_none(clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("")
    with pytest.raises(ValueError, match="notes is not a directory of episodes"):
        open_stores(as_directories([tmp_path / "notes"]))


def spoil(clips: list[Path]) -> None:
    """Three of them cannot be read at all."""
    clips[3].write_bytes(b"")
    clips[8].write_text("no video")
    write_video(clips[11], moving(1), **LOSSLESS)


def more(clips: list[Path], count: int) -> list[Path]:
    return [
        write_video(clips[0].with_name(f"{i}.mp4"), moving(6 + i % 4, seed=i), **LOSSLESS)
        for i in range(CLIPS, CLIPS + count)
    ]


def test_all_bad_files_are_named_at_once_and_nothing_is_written(
    clips: list[Path], cache: Path, decoded: list[str]
) -> None:
    clips += more(clips, 3)
    spoil(clips)
    with pytest.raises(ValueError) as refused:
        as_directories(clips)
    first, *lines = str(refused.value).splitlines()
    assert first == "3 of 23 video files are bad; --skip-bad leaves bad files out:"
    for line, words in zip(
        lines,
        (
            r"  .*/03\.mp4 is empty: download or write it again, or leave it out",
            r"  .*/08\.mp4 cannot be read as a video \(.*\): download or write it again, or leave it o",
            r"  .*/11\.mp4 has one frame, in which nothing moves: leave it out",
        ),
        strict=True,
    ):
        assert re.match(words, line), line
    assert decoded == [] and not cache.exists()


def test_bad_files_are_left_out_with_a_report(
    clips: list[Path], capsys: pytest.CaptureFixture[str], decoded: list[str]
) -> None:
    clips += more(clips, 5)
    spoil(clips)
    break_at(clips[7], 3)
    break_at(clips[15], 3)
    good = [clip for i, clip in enumerate(clips) if i not in (3, 7, 8, 11, 15)]
    (directory,) = as_directories(clips, skip_bad=True)
    assert same(episodes(directory), shown(good))
    out = capsys.readouterr().out
    report = out[out.index("left out: 5 of 25 video files are bad:\n") :]
    assert re.findall(r"/(\d\d)\.mp4 ", report) == ["03", "08", "11", "07", "15"]
    assert [video["file"] for video in json.loads(EpisodeStore(directory).meta)["videos"]] == [
        clip.name for clip in good
    ]
    # Again, only those that broke are decoded; and the good ones alone are the same.
    decoded.clear()
    assert as_directories(clips, skip_bad=True) == [directory]
    assert decoded == ["07.mp4", "15.mp4"]
    assert "left out: 5 of 25 video files are bad:" in capsys.readouterr().out
    assert as_directories(good) == [directory]
    assert [each for each in directory.parent.iterdir() if each.is_dir()] == [directory]


def test_all_files_that_break_are_named_at_once_and_the_others_kept(
    clips: list[Path], decoded: list[str]
) -> None:
    clips += more(clips, 2)
    for broken in (clips[7], clips[15]):
        break_at(broken, 3)
    with pytest.raises(ValueError) as refused:
        as_directories(clips)
    first, *lines = str(refused.value).splitlines()
    assert first == (
        "2 of 22 video files are bad; --skip-bad leaves bad files out, and the others are kept as "
        "they were decoded:"
    )
    assert ["07.mp4 breaks at frame" in lines[0], "15.mp4 breaks at frame" in lines[1]] == [
        True
    ] * 2
    assert decoded == [clip.name for clip in clips]
    decoded.clear()
    # One was downloaded again.
    write_video(clips[7], shown(clips)[7], **LOSSLESS)
    (directory,) = as_directories(clips, skip_bad=True)
    assert decoded == ["15.mp4", "07.mp4"]
    assert same(episodes(directory), shown(clips[:15] + clips[16:]))


def test_too_few_are_left_is_said_before_any_is_decoded(clips: list[Path], cache: Path) -> None:
    spoil(clips)
    with pytest.raises(ValueError, match="too few video files: there are 17, .*3 of 20 video f"):
        as_directories(clips, skip_bad=True)
    assert not cache.exists()
    with pytest.raises(ValueError, match="--skip-bad is for video files, and the data is director"):
        as_directories([cache.parent], skip_bad=True)


def test_a_run_keeps_leaving_them_out(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips += more(clips, 1)
    break_at(clips[7], 3)
    world = small_world([clips[0].parent], tmp_path, skip_bad=True)
    settings = json.loads((tmp_path / "runs" / "tokenizer" / "settings.json").read_text())
    assert settings["skip_bad"] is True
    assert (world / "config.json").exists()
    monkeypatch.chdir(tmp_path)
    command: Any = APP.commands["train"]
    line = ["--data", str(clips[0].parent), "--out", "o", "--skip-bad"]
    context = command.commands["tokenizer"].make_context("tokenizer", line)
    assert context.params["skip_bad"] is True


def small_world(data: list[Path], folder: Path, **options: Any) -> Path:
    """Of genie's networks, each after one step."""
    runs = folder / "runs"
    train_tokenizer(data, runs / "tokenizer", codes=20, **RUN, **BLOCKS, **options)
    train_latent_actions(data, runs / "actions", **RUN, **BLOCKS, **options)
    codes = {"tokenizer": runs / "tokenizer", "latent_actions": runs / "actions"}
    train_dynamics(data, out=runs / "dynamics", blocks=1, clip=4, **codes, **RUN, **options)
    freeze_genie(runs / "dynamics", folder / "world")
    return folder / "world"


# What a world that learned from videos predicts of others.


def test_fidelity_on_held_out_videos(clips: list[Path], tmp_path: Path) -> None:
    world = str(small_world(clips, tmp_path))
    few: dict[str, Any] = {"starts": 4, "burn_in": 2, "horizon": 3}
    measured = []
    for number, data in enumerate(([clips[0].parent], clips, as_directories(clips))):
        file = tmp_path / f"{number}.json"
        fidelity(world, data, json_file=file, out=tmp_path / f"{number}", **few)
        found = json.loads(file.read_text())
        assert (found["starts"], found["episodes"]) == (4, 1)
        assert (tmp_path / f"{number}" / "fidelity.mp4").exists()
        measured.append(found["psnr"])
    assert measured[0] == measured[1] == measured[2]
    with pytest.raises(
        ValueError, match=r"the world was trained on 00\.mp4, which says nothing of what"
    ):
        fidelity(world, clips[::-1], **few)
    # Videos of another rate are brought to the world's.
    faster = tmp_path / "faster"
    faster.mkdir()
    for seed in range(CLIPS):
        write_video(faster / f"{seed:02}.mp4", moving(30, seed=seed), 50, **LOSSLESS)
    words = (
        "the videos have 50 frames per second, but the world world 25: give --frames-per-second 25"
    )
    with pytest.raises(ValueError, match=words):
        fidelity(world, [faster], **few)
    fidelity(world, [faster], frames_per_second=25, **few)


def test_fidelity_of_a_world_of_real_actions_needs_those(
    clips: list[Path], tmp_path: Path, random_world: Path
) -> None:
    with pytest.raises(
        ValueError, match=r" has no actions, as it was decoded from video files: `t"
    ):
        fidelity(str(random_world), clips, starts=4, burn_in=2, horizon=3)
