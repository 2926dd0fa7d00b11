"""Recording, from worker processes to files: order, resuming, and everything that goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_games  # noqa: F401  (registers them)

from genie_env._core import EpisodeStore
from genie_env.cli.record import record
from genie_env.data.episode import Episode
from genie_env.data.frame_rate import pace
from genie_env.data.players import BlindPlayer, EpisodeSeeds
from genie_env.data.recording import record_episodes
from genie_env.data.recording_metadata import recorded_game, recorded_score
from genie_env.data.workers import play_episodes
from genie_env.envs.actions import DiscreteActions
from genie_env.games.base import Score
from genie_env.games.doom import DoomTakeCover
from genie_env.games.registry import find_game, game_as_recorded

DOOM = "doom-take-cover"
TESTS = Path(__file__).parent


def toy(seed: int = 0, policies: tuple[str, ...] = ("held",), **game: Any) -> BlindPlayer:
    return BlindPlayer(find_game("toy_games:Counter-v0", **game), seed, policies)


def files_of(directory: Path) -> dict[str, bytes]:
    files = [file for file in directory.iterdir() if file.suffix in (".npy", ".json")]
    return {file.name: file.read_bytes() for file in files}


def episodes_of(store: EpisodeStore) -> Iterator[dict[str, np.ndarray]]:
    names = ("frames", "actions", "rewards", "terminations", "truncations")
    for first, end in pairwise(store.episode_starts):
        yield {name: getattr(store, name)[first:end] for name in names}


# What is recorded.


@pytest.mark.parametrize("frame_skip", [1, 4])
def test_holds_what_a_game_played_here_shows(tmp_path: Path, frame_skip: int) -> None:
    """Index t: frame t, the action chosen on seeing it, the reward and the flags that followed."""
    player = BlindPlayer(find_game(DOOM, frame_skip=frame_skip), 4, ("held", "left"))
    record_episodes(player, tmp_path, 3, workers=2)
    game = DoomTakeCover(frame_skip)
    for index, episode in enumerate(episodes_of(EpisodeStore(tmp_path))):
        seeds = EpisodeSeeds.of(4, index)
        actions = player.game.blind_actions(player.policy_of(index), seeds.policy, 2100)
        frame, _ = game.reset(seed=seeds.game)
        for t in range(len(episode["actions"])):
            assert np.array_equal(episode["frames"][t], frame)
            assert episode["actions"][t] == actions[t]
            frame, reward, terminated, truncated, _ = game.step(actions[t])
            assert episode["rewards"][t] == reward
            assert episode["terminations"][t] == terminated
            assert episode["truncations"][t] == truncated
        assert terminated
    game.close()


def test_meta_says_how_it_was_recorded(tmp_path: Path) -> None:
    record_episodes(BlindPlayer(find_game(DOOM, frame_skip=2), 7, ("left",)), tmp_path, 1, workers=1)
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["game"] == DOOM and meta["seed"] == 7 and meta["frame_skip"] == 2
    assert meta["policies"] == ["left"] and "final_frames" not in meta["episode_columns"]
    actions = {"type": "discrete", "meanings": ["left", "stay", "right"], "start": 0}
    assert meta["actions"] == actions and meta["format_version"] == 2 and meta["max_steps"] == 2100
    assert meta["settings"]["skill"] == 4 and meta["settings"]["vizdoom"].startswith("1.")
    assert meta["score"] == {"name": "survival", "unit": "tics", "higher_is_better": True}
    assert meta["frame"] == {"height": 64, "width": 64} and meta["frames_per_second"] == 17.5
    assert set(meta["versions"]) >= {"genie_env", "gymnasium", "numpy"}
    rewards = EpisodeStore(tmp_path).rewards
    assert set(rewards[:-1]) == {2.0}  # two tics a frame, of one point each


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 20])
def test_policies_share_the_episodes_evenly_and_meet_the_held_out_ones(count: int) -> None:
    policies = tuple(f"sweep:{k + 1}" for k in range(count))
    players = [toy(seed, policies) for seed in (0, 1)]
    orders = [[player.policy_of(index) for index in range(200 * count)] for player in players]
    for order in orders:
        rounds = [order[first : first + count] for first in range(0, len(order), count)]
        assert all(sorted(policies) == sorted(turn) for turn in rounds)
        # The part that training holds out.
        assert set(order[19::20]) == set(policies)
    assert (orders[0] == orders[1]) == (count == 1)
    assert toy(0, policies).policy_of(3) == orders[0][3]


def test_only_several_policies_have_an_order_to_tell() -> None:
    assert toy().describe() == {"policies": ["held"]}
    told = toy(policies=("held", "random")).describe()
    assert told["policies"] == ["held", "random"]
    assert told["policy_order"].startswith("round by round, each permuted by ")


def test_any_gymnasium_environment_is_recorded(tmp_path: Path) -> None:
    record_episodes(toy(frame_skip=3), tmp_path, 5, workers=1)
    for episode in episodes_of(EpisodeStore(tmp_path)):
        steps = len(episode["actions"])
        # Frame t shows the number of steps before it.
        assert episode["frames"][:, 0, 0, 0].tolist() == [3 * t for t in range(steps)]
        assert np.array_equal(episode["rewards"][:-1], 3.0 * episode["actions"][:-1])
        assert episode["terminations"].sum() == 1


def test_rendered_frames_are_resized(tmp_path: Path) -> None:
    player = BlindPlayer(find_game("toy_games:Rendered-v0"), 0, ("random",))
    record_episodes(player, tmp_path, 1, workers=1)
    frames = EpisodeStore(tmp_path).frames
    assert frames.shape[1:] == (64, 64, 3)
    assert [frame.max() for frame in frames] == list(range(len(frames)))


# Order and resuming: the same bytes, however it came about.


def test_the_files_do_not_depend_on_the_workers_or_on_breaks(tmp_path: Path) -> None:
    player = BlindPlayer(find_game(DOOM), 1, ("still", "right"))
    record_episodes(player, tmp_path / "one", 4, workers=1)
    record_episodes(player, tmp_path / "three", 1, workers=3)
    told = []
    record_episodes(player, tmp_path / "three", 4, 3, on_start=told.append)
    assert told == [1]
    assert files_of(tmp_path / "one") == files_of(tmp_path / "three")


def test_episodes_arrive_in_order() -> None:
    order = [episode.index for episode in play_episodes(toy(), range(3, 60), workers=3)]
    assert order == list(range(3, 60))


def test_other_arguments_are_refused_and_change_nothing(tmp_path: Path) -> None:
    record_episodes(toy(seed=1), tmp_path, 2, workers=1)
    before = files_of(tmp_path)
    for other, difference in [
        (toy(seed=2), "seed was 1 and is now 2"),
        (toy(seed=1, frame_skip=4), "frame_skip was 1 and is now 4"),
        (toy(seed=1, policies=("random",)), r"policies was \['held'\] and is now \['random'\]"),
        (toy(seed=1, env_args={"size": 64}), r"settings was \{\} and is now \{'size': 64\}"),
    ]:
        with pytest.raises(ValueError, match=f"recorded otherwise .{difference}.; give the same"):
            record_episodes(other, tmp_path, 4, workers=1)
    assert files_of(tmp_path) == before


# A recording in a process of its own, to be interrupted.


@contextlib.contextmanager
def recording(
    directory: Path, *options: str, limit: int | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and a mark that its environment and those of all its children carry."""
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "genie_env.cli.app", "record", *options, "--out", str(directory)]

    def prepare() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = subprocess.Popen(
        command,
        env={**os.environ, "GENIE_ENV_TEST": mark, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )
    try:
        yield process, mark
    finally:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(mark: str) -> list[str]:
    """The command lines of all processes that carry the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found


def recorded(directory: Path) -> int:
    try:
        return EpisodeStore(directory).num_episodes
    except ValueError:
        return 0


DOOM_OPTIONS = (DOOM, "--episodes", "40", "--workers", "2", "--seed", "3", "--policy", "still")


def test_after_sigkill_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    player = BlindPlayer(find_game(DOOM), 3, ("still",))
    with recording(tmp_path / "killed", *DOOM_OPTIONS) as (process, mark):
        wait_until(lambda: recorded(tmp_path / "killed") >= 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        # The workers notice, and take their games along.
        wait_until(lambda: not alive(mark))
    episodes = recorded(tmp_path / "killed") + 1
    assert episodes <= 40
    record_episodes(player, tmp_path / "killed", episodes, workers=1)
    record_episodes(player, tmp_path / "whole", episodes, workers=2)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_ctrl_c_stops_and_keeps_what_there_is(tmp_path: Path) -> None:
    with recording(tmp_path, *DOOM_OPTIONS) as (process, mark):
        wait_until(lambda: recorded(tmp_path) >= 2)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 130
        assert not alive(mark)
    assert "stopped; the same command goes on from here" in output
    assert errors == ""
    assert 2 <= recorded(tmp_path) < 40


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    options = ("toy_games:Counter-v0", "--episodes", "500")
    with recording(tmp_path, *options, limit=1_500_000) as (process, mark):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 1
        assert not alive(mark)
    assert errors.startswith("genie-env: ") and errors.count("\n") == 1
    assert "frames.npy" in errors
    episodes = recorded(tmp_path)
    assert episodes > 1
    record_episodes(toy(), tmp_path, episodes + 1, workers=1)
    record_episodes(toy(), tmp_path / "whole", episodes + 1, workers=1)
    assert files_of(tmp_path / "whole").items() <= files_of(tmp_path).items()


# What goes wrong in a game.


def play(player: BlindPlayer, episodes: int = 4) -> list[Episode]:
    return list(play_episodes(player, range(episodes), workers=2))


def test_a_games_exception_arrives_as_raised() -> None:
    with pytest.raises(LookupError) as caught:
        play(toy(env_args={"trouble": "raise"}))
    assert str(caught.value) == "the level has no floor"
    (note,) = caught.value.__notes__
    assert "in a worker process, while playing episode " in note
    assert "toy_games.py" in note  # where, in the game's own file


@pytest.mark.parametrize("kind", [EOFError, BrokenPipeError, ConnectionResetError])
def test_a_games_exception_is_not_taken_for_the_end_of_its_worker(kind: type[Exception]) -> None:
    with pytest.raises(kind, match="the game's own server is gone") as caught:
        play(toy(env_args={"trouble": kind.__name__}))
    assert "while playing episode " in caught.value.__notes__[0]


def test_a_games_helper_processes_end_when_they_are_told_to() -> None:
    """Signals that are for the command alone do not end a worker, but what its games have started."""
    assert len(play(toy(env_args={"trouble": "helpers"}))) == 4


def test_a_worker_that_dies_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"ended \(exit code -9\) while it had episodes \[\d"):
        play(toy(env_args={"trouble": "die"}))


def test_an_iterator_that_is_closed_early_leaves_no_worker() -> None:
    with contextlib.closing(play_episodes(toy(), range(1000), workers=2)) as episodes:
        next(iter(episodes))
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{child}/cmdline").read_text() for child in children]
    assert not [command for command in commands if "spawn_main" in command]


def test_blind_workers_do_without_torch() -> None:
    assert len(play(toy(env_args={"trouble": "torch"}))) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"game": "NoSuchGame-v0"}, "unknown game 'NoSuchGame-v0' .*; expected 'doom-take-cover'"),
        ({"game": "toy_games:Unseen-v0"}, "Unseen-v0 has no frames: its observations are Box"),
        ({"game": DOOM, "policy": ["hold"]}, "unknown policy 'hold'; expected one of random"),
        ({"game": "toy_games:Counter-v0", "policy": ["left"]}, "unknown policy 'left'; expected one of random, held, long-held, the blind"),
        ({"game": DOOM, "env_args": "{"}, "--env-args '{' is not JSON"),
        ({"game": DOOM, "env_args": "[3]"}, r"--env-args '\[3\]' is not a JSON object"),
        ({"game": DOOM, "env_args": '{"a": 1}'}, "takes the environment arguments .*; given {'a': 1}"),
        ({"game": DOOM, "explore": 0.5}, "--world and --explore belong to an agent"),
        ({"game": DOOM, "agent": Path("a")}, "give --world, and no --policy"),
        ({"game": DOOM, "frame_skip": 0}, "frame skip is 0; expected 1 or more"),
        ({"game": DOOM, "workers": 0}, "workers is 0; expected 1 or more"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        record(out=tmp_path / "out", **arguments)


def test_without_vizdoom_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(ImportError, match=r"pip install 'genie_env\[doom\]'"):
        record(DOOM, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_meta_is_named(tmp_path: Path) -> None:
    record_episodes(toy(), tmp_path, 1, workers=1)
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(ValueError, match=r"meta.json is not valid JSON at byte 2"):
        record_episodes(toy(), tmp_path, 2, workers=1)


# What an older version recorded, which said less of its game.


def forget(file: Path, *keys: str) -> None:
    meta = json.loads(file.read_text())
    file.write_text(json.dumps({key: meta[key] for key in meta if key not in keys}))


def as_format_1(file: Path) -> None:
    meta = json.loads(file.read_text())
    later = ("columns", "episode_columns", "env_args", "max_steps")
    first = {"format_version": 1, "actions": meta["actions"]["meanings"]}
    kept = {key: meta[key] for key in meta if key not in later}
    file.write_text(json.dumps({**kept, **first}))


LATER = ("score", "frame", "frames_per_second")


def test_a_recording_of_format_1_is_read_and_goes_on_elsewhere(tmp_path: Path) -> None:
    player = BlindPlayer(find_game(DOOM), 1, ("left",))
    record_episodes(player, tmp_path / "new", 1, workers=1)
    record_episodes(player, tmp_path / "old", 1, workers=1)
    as_format_1(tmp_path / "old" / "meta.json")
    before = files_of(tmp_path / "old")
    with pytest.raises(ValueError, match="old holds episodes of format 1, .* give another --out"):
        record_episodes(player, tmp_path / "old", 2, workers=1)
    assert files_of(tmp_path / "old") == before
    directories = [tmp_path / "old", tmp_path / "new"]
    stores = [EpisodeStore(directory) for directory in directories]
    recorded = recorded_game(directories, stores)
    assert recorded.actions == DiscreteActions(("left", "stay", "right"))
    assert game_as_recorded(json.loads(stores[0].meta)) == player.game


def test_an_older_recording_says_its_rate_and_its_score_by_the_games_name(tmp_path: Path) -> None:
    record_episodes(BlindPlayer(find_game(DOOM, frame_skip=4), 1, ("left",)), tmp_path, 1, 1)
    rates, scores = [], []
    for keys in ((), LATER):
        forget(tmp_path / "meta.json", *keys)
        rates.append(pace(tmp_path, EpisodeStore(tmp_path)))
        scores.append(recorded_score(tmp_path, EpisodeStore(tmp_path)))
    assert rates == [{"frame_skip": 4, "frames_per_second": 8.75}] * 2
    assert scores == [Score("survival", "tics")] * 2
    (tmp_path / "meta.json").write_text('{"format_version": 1, "game": "toy_games:Counter-v0"}')
    assert recorded_score(tmp_path, EpisodeStore(tmp_path)) == Score()
    (tmp_path / "meta.json").write_text('{"format_version": 1, "score": 5}')
    with pytest.raises(ValueError, match=r"meta.json: .score. is 5; expected its .name. and .unit. a"):
        recorded_score(tmp_path, EpisodeStore(tmp_path))
