"""What one tab of `genie-env play` plays, keeps and records, without the web."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from genie_env._core import EpisodeStore
from genie_env.data.frame_rate import pace
from genie_env.envs.registry import find_world
from genie_env.play import recording, tree
from genie_env.play.dream import Dream
from genie_env.play.protocol import as_data
from genie_env.play.real import Real
from genie_env.play.session import Session
from genie_env.play.shared import Shared

from genie_env import World

AGENT = find_world("doom-take-cover") / "controller.safetensors"


@pytest.fixture(scope="module")
def world() -> World:
    return World.load(find_world("doom-take-cover"))


@pytest.fixture
def session(world: World, tmp_path: Path) -> Iterator[Session]:
    session = Session(Shared.of(world, tmp_path / "played", agent=AGENT))
    yield session
    session.close()


def test_a_recording_outlives_its_tab(session: Session, tmp_path: Path) -> None:
    session.reset(11, None)
    session.record(True)
    for _ in range(5):
        session.step()
    session.close()
    (folder,) = (tmp_path / "played").iterdir()
    store = EpisodeStore(folder / "episodes")
    assert store.num_frames == 5 and (folder / "film.mp4").is_file()
    assert pace(folder / "episodes", store)["frames_per_second"] == 35


def test_a_recording_is_aligned(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frame, action, reward and end of every step; a jump, and an episode that is too long, end one."""
    monkeypatch.setattr(recording, "LARGEST_EPISODE", 8 * 64 * 64 * 3)
    session.rows(4)
    session.reset(3, None)
    session.branch()
    session.record(True)
    frames, actions = [session._dream.frame.copy()], []
    for step in range(12):
        action = (0, 2, 1)[step % 3]
        session.keys({0: ["ArrowLeft"], 1: [], 2: ["ArrowRight"]}[action], step)
        session.step()
        frames.append(session._dream.frame.copy())
        actions.append(action)
    session.back_to(0)
    begun = session._dream.frame.copy()
    session.step()
    for refused in (
        lambda: session.temperature(0.5),
        lambda: session.option("termination", "sampled"),
    ):
        with pytest.raises(ValueError, match="a recording is of one temperature and options"):
            refused()
    told = session.record(False)
    assert told is not None
    store = EpisodeStore(told["episodes"])
    assert store.episode_starts.tolist() == [0, 7, 12, 13]
    assert store.actions.tolist() == [*actions, actions[-1]] and store.final_frames is not None
    for t in range(12):
        np.testing.assert_array_equal(store.frames[t], frames[t], str(t))
    np.testing.assert_array_equal(store.frames[12], begun)
    np.testing.assert_array_equal(store.final_frames[0], frames[7])
    np.testing.assert_array_equal(store.final_frames[1], frames[12])
    assert not store.terminations.any()
    assert np.flatnonzero(store.truncations).tolist() == [6, 11, 12]
    meta = json.loads(store.meta)
    assert meta["dreamt_in"]["options"] == {"termination": "sampled"}
    assert meta["policy"] == {"name": "played on a page", "agent": AGENT.name}


def test_a_recording_that_cannot_be_written_says_so(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "played").write_text("no directory")
    with pytest.raises(ValueError, match=r"nothing can be recorded into .* give another --record"):
        session.record(True)
    (tmp_path / "played").unlink()

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(recording, "write_video", full)
    session.record(True)
    for _ in range(300):
        session.step()
        if session.trouble:
            break
    assert "the recording has ended (No space left on device)" in session.trouble
    assert not session.state()["recording"]
    (folder,) = (tmp_path / "played").iterdir()
    assert EpisodeStore(folder / "episodes").num_frames > 0, "the episode is not lost"
    session.step()


def test_a_frame_says_which_keys_its_step_knew(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Dream.take

    def meanwhile(dream: Dream, action: Any) -> bool:
        session.keys(["ArrowRight"], 2)
        return take(dream, action)

    session.keys(["ArrowLeft"], 1)
    monkeypatch.setattr(Dream, "take", meanwhile)
    (shown,) = session.step()
    assert (shown.header["seq"], shown.header["action"]) == (1, 0)
    (shown,) = session.step()
    assert (shown.header["seq"], shown.header["action"]) == (2, 2)


def test_the_end_of_an_episode_is_a_moment_too(session: Session) -> None:
    session.option("termination", "thresholded")
    while not (ended := session.step()[0].header)["ended"]:
        pass
    session.branch()
    after = session.step()[0].header
    assert (after["step"], after["seed"]) == (0, 1), "the next episode is the next seed's"
    session.step()
    session.back_to(0)
    (there,) = session.shown()
    assert there.header["seed"] == 0, "the seed of the episode, not of the next one"
    assert there.header["ended"] == ended["ended"] and there.header["step"] == ended["step"]
    assert there.header["surprise"] == ended["surprise"] is not None
    session.rows(4)
    assert session.shown()[0].header["ended"] == ended["ended"]
    (after,) = session.step()
    assert after.header["step"] == 0 and after.header["surprise"] is None


def test_rows_that_end_first_wait(session: Session) -> None:
    session.option("termination", "sampled")
    session.rows(9)
    (before,) = session.step()
    while not (shown := session.step()[0]).header["ended"]:
        before = shown
    dream = session._dream
    assert dream._waiting
    for row, frame in dream._waiting.items():
        assert row > 0 and frame.max() <= 127
        np.testing.assert_array_equal(dream.frames[row], frame)
    (shown,) = session.step()
    assert shown.header["step"] == 0 and dream._waiting == {}
    assert before.picture.shape == (192, 192, 3)
    for row in range(1, 9):
        np.testing.assert_array_equal(dream.frames[row], dream.frame)


def test_moments_are_kept_by_a_reset_and_limited_in_bytes(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MOST_BYTES", 2 * session._world.spec.state_bytes_per_row)
    session.option("termination", "thresholded")  # which forgets those of the other world
    session.step()
    session.branch()
    session.reset(3, None)
    session.branch()
    assert [node["parent"] for node in session.tree()["nodes"]] == [None, None]
    session.back_to(0)
    assert session.tree()["at"] == 0 and session.shown()[0].header["step"] == 1
    with pytest.raises(ValueError, match="2 moments are kept already: reload the page"):
        session.branch()


def test_the_game_and_the_dream_have_a_seed_each(session: Session) -> None:
    pytest.importorskip("vizdoom")
    session.reset(5, None)
    session.mode("real")
    session.reset(9, None)
    assert session.shown()[0].header["seed"] == 9
    session.option("termination", "thresholded")  # while the dream is not shown
    session.mode("dream")
    assert session.shown()[0].header["seed"] == 5 and session.step()[0].header["step"] == 1
    session.rows(4)
    assert session.step()[0].picture.shape == (128, 128, 3)


def test_a_game_that_fails_to_begin_or_to_end(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vizdoom")

    def fails(*_: Any) -> None:
        raise KeyError("crashed")

    with monkeypatch.context() as patched:
        patched.setattr(Real, "reset", fails)
        with pytest.raises(KeyError):
            session.mode("both")
    assert session.state()["mode"] == "dream"
    session.mode("real")
    assert session.step()[0].header["step"] == 1
    session.mode("dream")
    session.record(True)
    session.step()
    close = Real.close
    monkeypatch.setattr(Real, "close", lambda real: (close(real), fails()))
    with pytest.raises(KeyError):
        session.close()
    monkeypatch.undo()
    (folder,) = (tmp_path / "played").iterdir()
    assert EpisodeStore(folder / "episodes").num_frames == 1, "the recording is not lost"
    session._real = None


def test_an_agent_sees_the_one_that_goes_on(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vizdoom")
    session.mode("both")
    session.agent(True)
    seen_ended = []
    action = session._action

    def watched(held: Any, seen: Any) -> Any:
        seen_ended.append(seen.progress.ended)
        return action(held, seen)

    monkeypatch.setattr(session, "_action", watched)
    session._dream.progress = replace(session._dream.progress, terminated=True)  # the dream first
    for _ in range(3):
        session.step()
    assert seen_ended == [False] * 3


def test_without_an_agent_and_a_game(world: World, tmp_path: Path) -> None:
    shared = replace(Shared.of(world, tmp_path), no_real_game="the game is not installed")
    session = Session(shared)
    try:
        assert session.hello()["agent"] is None and session.hello()["real"] is False
        with pytest.raises(ValueError, match="there is no agent"):
            session.agent(True)
        with pytest.raises(ValueError, match="the game is not installed"):
            session.mode("both")
        assert session.state()["mode"] == "dream"
    finally:
        session.close()


def test_an_agent_and_a_map_that_do_not_fit(tmp_path: Path) -> None:
    other = World.load(find_world("doom-genie"))
    with pytest.raises(ValueError, match="give mapping.json, which `genie-env map-actions` wrote"):
        Shared.of(other, tmp_path, action_map=tmp_path / "mapping.json")
    with pytest.raises(ValueError, match="it was trained for another kind of world"):
        Shared.of(other, tmp_path, agent=AGENT)


def test_side_by_side_they_wait_for_each_other(world: World, tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    session = Session(Shared.of(world, tmp_path))
    try:
        session.mode("both")
        seen: list[dict[str, Any]] = [{}, {}]
        for _ in range(2_000):
            seen = [shown.header for shown in session.step()]
            if all(header["ended"] for header in seen):
                break
        dream, real = seen
        assert dream["step"] != real["step"], "one of them waited"
        assert [shown.header["step"] for shown in session.step()] == [0, 0]
    finally:
        session.close()


def test_a_world_without_pictures(world: World, tmp_path: Path) -> None:
    blind = SimpleNamespace(spec=SimpleNamespace(name="numbers", frame=None))
    with pytest.raises(ValueError, match="numbers has no pictures: give a world that has"):
        Shared.of(cast(World, blind), tmp_path)


def test_latent_actions_are_named_and_options_are_the_familys(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    world = World.load(find_world("doom-genie"))
    session = Session(Shared.of(world, tmp_path, game="doom-take-cover"))  # by its own dictionary
    try:
        hello = session.hello()
        assert hello["fps"] == 8.75
        assert hello["actions"]["meanings"] == ["left", "right", "right", "left", "left", "stay"]
        assert hello["actions"]["keys"] == {
            "ArrowLeft": 0,
            "ArrowRight": 2,
            "Digit1": 1,
            "Digit3": 3,
            "Digit4": 4,
        }
        assert hello["actions"]["rest"] == 5, "which means stay"
        passes = next(option for option in hello["options"] if option["name"] == "passes")
        assert passes["type"] == "integer" and passes["minimum"] == 1
        session.option("passes", 2)
        assert session.state()["options"]["passes"] == 2
        with pytest.raises(ValueError, match="passes"):
            session.option("passes", 0)
        assert session.step()[0].header["step"] == 1
        session.rows(4)
        assert session.step()[0].picture.shape == (128, 128, 3)
        session.mode("both")
        dream, real = session.step()
        assert dream.header["step"] == real.header["step"] == 1
    finally:
        session.close()


def test_recorded_frames_are_starts(world: World, tmp_path: Path) -> None:
    session = Session(Shared.of(world, tmp_path))
    try:
        session.record(True)
        for _ in range(40):
            session.step()
        recorded = session.record(False)
    finally:
        session.close()
    assert recorded is not None
    session = Session(Shared.of(world, tmp_path, starts=[Path(recorded["episodes"])]))
    try:
        pictures = session.starts()["pictures"]
        session.reset(None, 5)
        assert as_data(session.shown()[0].picture) == pictures[5]
        session.option("termination", "thresholded")
        assert session.step()[0].header["step"] == 1
    finally:
        session.close()
    with pytest.raises(ValueError, match="no directory of recorded episodes"):
        Session(Shared.of(world, tmp_path, starts=[tmp_path / "none"]))
