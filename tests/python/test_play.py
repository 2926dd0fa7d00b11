"""The server of `genie-env play`: what it tells a page, what it obeys and what it refuses."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
from genie_env._core import EpisodeStore
from genie_env.cli.app import APP
from genie_env.cli.play import open_page
from genie_env.data.frame_rate import pace
from genie_env.data.video_reader import decode, look_through
from genie_env.envs.actions import BoxActions, DiscreteActions
from genie_env.envs.registry import find_world
from genie_env.games.action_map import Meaning
from genie_env.play import recording, server, tab, tree
from genie_env.play.controls import BoxControls, DiscreteControls, controls_of
from genie_env.play.dream import Dream
from genie_env.play.offline import read_actions
from genie_env.play.protocol import LARGEST_PICTURE, as_data, parse
from genie_env.play.real import Real
from genie_env.play.server import application, server_of
from genie_env.play.session import Session
from genie_env.play.shared import Shared
from PIL import Image
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from websockets import Origin
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from genie_env import World

HOST = "127.0.0.1:8000"
AGENT = find_world("doom-take-cover") / "controller.safetensors"
HEADERS = {"host": HOST, "origin": f"http://{HOST}"}


@pytest.fixture(scope="module")
def world() -> World:
    return World.load(find_world("doom-take-cover"))


@pytest.fixture
def client(world: World, tmp_path: Path) -> TestClient:
    shared = Shared.of(world, tmp_path / "played", agent=AGENT)
    return TestClient(application(shared), base_url=f"http://{HOST}")


class Page:
    """A page that draws every frame at once."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.header: dict[str, Any] = {}
        self.picture = np.zeros(0, np.uint8)

    def send(self, kind: str, **fields: Any) -> None:
        self._socket.send_text(json.dumps({"type": kind, **fields}))

    def receive(self) -> dict[str, Any]:
        """The next message; a frame has the type "frame"."""
        received = self._socket.receive()
        if received["type"] == "websocket.close":
            raise WebSocketDisconnect(received["code"], received.get("reason"))
        if (text := received.get("text")) is not None:
            return dict(json.loads(text))
        content = received["bytes"]
        (length,) = struct.unpack(">I", content[:4])
        self.header = json.loads(content[4 : 4 + length])
        self.picture = np.asarray(Image.open(io.BytesIO(content[4 + length :])))
        self.send("drawn", id=self.header["id"])
        return {"type": "frame", **self.header}

    def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next message of this type that says so."""
        while True:
            message = self.receive()
            if message["type"] == kind and fields.items() <= message.items():
                return message

    def steps(self, count: int) -> dict[str, Any]:
        """Single steps of a paused dream."""
        for _ in range(count):
            before = self.header["step"]
            self.send("step")
            self.until("frame", step=before + 1)
        return self.header


@contextlib.contextmanager
def connected(
    client: TestClient, headers: dict[str, str] = HEADERS, path: str = "/ws"
) -> Iterator[Any]:
    """A socket; the client cancels what is under way when it closes."""
    with (
        contextlib.suppress(CancelledError),
        client.websocket_connect(path, headers=headers) as socket,
    ):
        yield socket


@contextlib.contextmanager
def opened(client: TestClient) -> Iterator[Page]:
    """A page whose dream is paused at its beginning."""
    with connected(client) as socket:
        page = Page(socket)
        page.until("hello")
        page.send("pause", on=True)
        page.until("state", paused=True)
        page.send("reset", seed=0, start=None)
        page.until("frame", step=0)
        yield page


def test_a_page_is_told_what_it_plays(client: TestClient) -> None:
    with connected(client) as socket:
        hello = Page(socket).receive()
    assert hello["world"] == "doom-take-cover" and hello["fps"] == 35
    assert hello["actions"]["keys"] == {"ArrowLeft": 0, "ArrowRight": 2}
    assert hello["actions"]["rest"] == 1
    assert [option["name"] for option in hello["options"]] == ["termination"]


def test_keys_are_actions_and_the_same_seed_is_the_same_dream(client: TestClient) -> None:
    with opened(client) as page:
        seen = []
        for key in ("ArrowLeft", "ArrowRight", "ArrowLeft"):
            page.send("keys", down=[key], seq=7)
            page.send("reset", seed=3, start=None)
            page.until("frame", step=0)
            assert page.steps(12)["seq"] == 7
            assert page.header["action"] == (0 if key == "ArrowLeft" else 2)
            assert page.header["return"] == 12
            seen.append(page.picture)
    assert np.array_equal(seen[0], seen[2]) and not np.array_equal(seen[0], seen[1])


def test_what_a_step_brought_is_told(client: TestClient) -> None:
    with opened(client) as page:
        assert page.header["termination_probability"] is None
        told = page.steps(3)
        assert 0 < told["termination_probability"] < 1
        assert (told["reward"], told["return"]) == (1, 3)


def test_it_keeps_the_worlds_pace_and_stops_when_paused(client: TestClient) -> None:
    with opened(client) as page:
        page.send("pace", fps=None)
        page.send("pause", on=False)
        page.until("frame", step=20)
        page.send("pause", on=True)
        page.until("state", paused=True)
        page.send("starts")  # what is under way arrives before its answer
        page.until("starts")
        at = page.header["step"]
        assert page.steps(1)["step"] == at + 1
        page.send("pace", fps=0)
        assert "expected 0.1 to 1000" in page.until("error")["message"]


def test_a_moment_is_returned_to(client: TestClient) -> None:
    with opened(client) as page:
        page.steps(3)
        page.send("branch")
        tree = page.until("tree")
        assert tree["nodes"][0]["step"] == 3 and tree["at"] == 0
        page.steps(4)
        there = page.picture
        page.send("return", node=0)
        page.until("frame", step=3)
        page.steps(4)
        assert np.array_equal(page.picture, there), "the same keys, the same dream"
        page.send("return", node=5)
        assert page.until("error")["message"] == "there is no moment 5; there are 1"


def test_rows_dream_the_same_actions_under_other_seeds(client: TestClient) -> None:
    with opened(client) as page:
        page.steps(2)
        page.send("rows", count=4)
        page.until("frame", rows=4, step=2)
        assert page.picture.shape == (128, 128, 3)
        one, other = slice(0, 64), slice(64, 128)  # whole blocks of a JPEG
        assert np.array_equal(page.picture[one, one], page.picture[other, other])
        page.steps(20)
        assert not np.array_equal(page.picture[one, one], page.picture[other, other])
        page.send("reset", seed=5, start=None)
        page.until("frame", step=0)
        assert np.array_equal(page.picture[one, one], page.picture[other, other])
        page.send("rows", count=2)
        assert "there may be 1, 4 or 9" in page.until("error")["message"]


def test_an_option_begins_a_dream_with_it(client: TestClient) -> None:
    with opened(client) as page:
        page.send("option", name="termination", value="thresholded")
        assert page.until("state")["options"] == {"termination": "thresholded"}
        for wrong in (3, "never", True):
            page.send("option", name="termination", value=wrong)
            assert "termination" in page.until("error")["message"]
        page.send("option", name="passes", value=3)
        assert "has no option 'passes'; it has termination" in page.until("error")["message"]
        page.send("temperature", value=0.5)
        assert page.until("state")["temperature"] == 0.5
        page.send("temperature", value=-1)
        assert "expected a finite number above 0" in page.until("error")["message"]


def test_a_picture_becomes_the_start(client: TestClient) -> None:
    with opened(client) as page:
        page.steps(1)
        file = io.BytesIO()
        Image.fromarray(np.full((90, 120, 3), (200, 30, 30), np.uint8)).save(file, "PNG")
        page._socket.send_bytes(file.getvalue())
        page.until("frame", step=0)
        red, green, _ = page.picture.reshape(-1, 3).mean(0)
        assert red > green + 30
        bomb, film = io.BytesIO(), io.BytesIO()
        Image.new("1", (6_000, 6_000)).save(bomb, "PNG")
        frames = [Image.new("RGB", (2_000, 2_000), (200, 30, 30 + shade)) for shade in range(25)]
        frames[0].save(film, "GIF", save_all=True, append_images=frames[1:])
        for content, words in (
            (b"text", "the picture is no picture that can be read"),
            (bomb.getvalue(), "the picture has more than 25,000,000 pixels"),
        ):
            page._socket.send_bytes(content)
            assert words in page.until("error")["message"]
        assert page.steps(1)["step"] == 1
        page._socket.send_bytes(film.getvalue())  # of which the first picture alone is decoded
        page.until("frame", step=0)
        red, green, _ = page.picture.reshape(-1, 3).mean(0)
        assert red > green + 30


def test_a_step_that_fails_pauses_and_says_so(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    vizdoom = pytest.importorskip("vizdoom")
    with opened(client) as page:
        with monkeypatch.context() as patched:

            def fails(session: Session) -> None:
                raise vizdoom.ViZDoomErrorException("the game has crashed")  # an Exception, no more

            patched.setattr(Session, "step", fails)
            page.send("pause", on=False)
            said = page.until("error")["message"]
            assert said == "the game has crashed. It is paused"
            page.until("state", paused=True)
        page.send("reset", seed=0, start=None)
        page.until("frame", step=0)
        assert page.steps(1)["step"] == 1


def test_a_session_is_recorded(client: TestClient, tmp_path: Path) -> None:
    with opened(client) as page:
        page.send("record", on=True)
        page.until("state", recording=True)
        page.send("record", on=False)
        assert page.until("error")["message"] == "nothing was recorded: not a step was taken"
        page.send("record", on=True)
        page.until("state", recording=True)
        page.send("keys", down=["ArrowRight"], seq=1)
        page.steps(5)
        for seed in range(20):  # so many that some are held out
            page.send("reset", seed=seed, start=None)
            page.until("frame", step=0)
            page.steps(2)
        page.send("record", on=False)
        recorded = page.until("recorded")
        film = client.get(recorded["video"], headers={"host": HOST})
    assert film.status_code == 200 and film.content[4:8] == b"ftyp"
    store = EpisodeStore(recorded["episodes"])
    assert store.num_episodes == 21 and store.num_frames == 45
    assert store.actions.tolist() == [2] * 45 and store.rewards.tolist() == [1] * 45
    assert client.get("/recordings/other.mp4", headers={"host": HOST}).status_code == 404
    train = ["train", "vision", "--data", recorded["episodes"], "--out", str(tmp_path / "vision")]
    for command in (
        ["inspect", recorded["episodes"]],
        [*train, "--steps", "2", "--batch", "4", "--latents", "8", "--dtype", "float32"],
    ):
        with pytest.raises(SystemExit) as ended:
            APP.main(command, prog_name="genie-env")
        assert ended.value.code == 0
    assert (tmp_path / "vision" / "checkpoint.safetensors").is_file()


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
    for refused in (lambda: session.temperature(0.5), lambda: session.option("termination", "sampled")):
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


def test_an_agent_plays_until_a_key_takes_over(client: TestClient) -> None:
    with opened(client) as page:
        page.send("agent", on=True)
        page.until("state", agent=True)
        taken = {page.steps(1)["action"] for _ in range(30)}
        assert len(taken) > 1
        page.send("keys", down=["KeyP"], seq=1)  # of no action
        page.send("keys", down=["ArrowLeft"], seq=2)
        page.until("state", agent=False)
        assert page.steps(1)["action"] == 0


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


def test_dream_and_reality_under_the_same_keys(client: TestClient) -> None:
    pytest.importorskip("vizdoom")
    with opened(client) as page:
        page.send("mode", mode="both")
        page.until("state", mode="both")
        page.until("frame", place="dream", step=0)
        dreamt = page.picture.astype(int)
        page.until("frame", place="real", step=0)
        assert np.abs(dreamt - page.picture).mean() < 20, "the dream begins as the game does"
        page.send("keys", down=["ArrowRight"], seq=1)
        page.send("step")
        for place in ("dream", "real"):
            told = page.until("frame", place=place, step=1)
            assert told["action"] == 2
            assert 0 < told["termination_probability"] < 1
        page.send("mode", mode="real")
        page.until("state", mode="real")
        page.until("frame", place="real")
        page.send("agent", on=True)
        page.until("state", agent=True)
        page.steps(3)
        for kind, words in (("branch", "no moments"), ("record", "switch to the dream")):
            page.send(kind, **({"on": True} if kind == "record" else {}))
            assert words in page.until("error")["message"]
        page.send("mode", mode="dream")
        page.until("frame", place="dream")


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


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("no JSON", "the message is not JSON"),
        ("[1]", 'no "type" of: keys, axes'),
        ('{"type": "fly"}', 'no "type" of: keys, axes'),
        ('{"type": []}', 'no "type" of: keys, axes'),
        ('{"type": "keys", "down": [1], "seq": 0}', '"down" of the message "keys" is not a list'),
        ('{"type": "keys", "down": []}', '"seq" of the message "keys" is not an integer'),
        ('{"type": "axes", "values": [NaN], "seq": 0}', '"values" of the message "axes" is not'),
        ('{"type": "rows", "count": true}', '"count" of the message "rows" is not an integer'),
        ('{"type": "temperature", "value": Infinity}', "is not a finite number"),
        ('{"type": "reset", "seed": 1.5, "start": null}', "is not an integer or null"),
        (f'{{"type": "axes", "values": [1{"0" * 400}], "seq": 1}}', '"values" of the message "axes"'),
        ('{"type": "option", "name": "a", "value": "\\ud800"}', '"value" of the message "option"'),
        ("[" * 60_000, "the message is not JSON"),
        ("x" * 70_000, "the message has 70,000 characters; expected at most 65,536"),
    ],
)
def test_malformed_messages(message: str, words: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse(message)
    assert words in str(refused.value)


def test_what_is_malformed_leaves_the_dream_as_it_was(client: TestClient) -> None:
    with opened(client) as page:
        page.steps(2)
        page._socket.send_text("no JSON")
        assert page.until("error")["message"] == "the message is not JSON"
        page.send("mode", mode="awake")
        assert "'awake' is not there" in page.until("error")["message"]
        assert page.steps(1)["step"] == 3


def test_ten_tabs_do_not_disturb_each_other(client: TestClient) -> None:
    with contextlib.ExitStack() as stack:
        pages = [stack.enter_context(opened(client)) for _ in range(10)]
        for number, page in enumerate(pages):
            page.send("reset", seed=number, start=None)
            page.until("frame", step=0)
        for page in pages:
            page.steps(3)
        pictures = [page.picture for page in pages]
        pages[3].send("reset", seed=7, start=None)
        pages[3].until("frame", step=0)
        pages[3].steps(3)
    assert np.array_equal(pages[3].picture, pictures[7])
    assert len({picture.tobytes() for picture in pictures}) == 10


def test_a_closed_tab_frees_its_dream(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Session] = []
    close = Session.close
    monkeypatch.setattr(Session, "close", lambda self: (close(self), closed.append(self)))
    with opened(client) as page:
        page.steps(1)
        page.send("branch")
        page.until("tree")
        assert not closed
    deadline = time.monotonic() + 30
    while not closed and time.monotonic() < deadline:
        time.sleep(0.01)
    (session,) = closed
    with pytest.raises(gymnasium.error.ClosedEnvironmentError):
        session._dream.take(0)
    assert session.tree()["nodes"] == []


def test_the_dream_of_a_page_that_draws_nothing_waits(client: TestClient) -> None:
    with connected(client) as socket:
        page = Page(socket)
        page.send = lambda kind, **fields: None  # type: ignore[method-assign]  # nobody sees it
        for _ in range(tab.UNDERWAY):
            page.until("frame")
        del page.send
        time.sleep(0.5)
        page.send("pause", on=True)  # what is sent next is the answer, and no frame
        assert page.receive()["type"] == "state"
        page.send("drawn", id=page.header["id"])
        page.send("pause", on=False)
        assert page.until("frame")["step"] == tab.UNDERWAY


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"host": "evil.example:8000", "origin": f"http://{HOST}"}, "is not this server's"),
        ({"host": HOST, "origin": "http://evil.example"}, "is not this page's"),
        ({"host": HOST, "origin": "null"}, "is not this page's"),
        ({"host": HOST, "origin": "http://127.0.0.1:9000"}, "is not this page's"),
        ({"host": HOST, "origin": "http://["}, "is not this page's"),
        ({"host": "[::1", "origin": f"http://{HOST}"}, "is not this server's"),
    ],
)
def test_other_hosts_and_origins_are_refused(
    client: TestClient, headers: dict[str, str], words: str
) -> None:
    answer = client.get("/", headers=headers)
    assert answer.status_code == 403 and words in answer.text
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws", headers=headers):
        pass


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9000", "[::1]:80"])
def test_a_port_that_is_forwarded_may_be_any(client: TestClient, host: str) -> None:
    headers = {"host": host, "origin": f"http://{host}"}
    answer = client.get("/", headers=headers)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-cache"
    with connected(client, headers) as socket:
        assert Page(socket).receive()["type"] == "hello"


def test_a_websocket_says_its_origin(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/ws", headers={"host": HOST}),
    ):
        pass


def test_a_token_is_needed_where_others_can_reach_the_page(world: World, tmp_path: Path) -> None:
    client = TestClient(application(Shared.of(world, tmp_path), token="secret"))
    assert client.get("/").status_code == 403
    assert "the token is missing or wrong" in client.get("/?token=other").text
    page = client.get("/?token=secret")
    assert (
        page.status_code == 200 and "default-src 'self'" in page.headers["content-security-policy"]
    )
    origin = {"host": "testserver", "origin": "http://testserver"}
    with connected(client, origin, "/ws?token=secret") as socket:
        assert Page(socket).receive()["type"] == "hello"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws", headers=origin):
        pass


def test_chords_and_names() -> None:
    atari = DiscreteControls(
        DiscreteActions(("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"))
    )
    assert atari.rest == 0 and atari.keys["Space"] == 1
    assert atari.action(["ArrowLeft", "Space"], ()) == 5
    assert atari.action(["ArrowLeft", "ArrowRight"], ()) == 2, "the newest key"
    assert atari.action(["KeyP"], ()) == 0
    assert atari.action([], (-0.9, 0)) == 3
    numbered = DiscreteActions(("0", "1", "2"), start=4)
    latent = controls_of(numbered, {4: Meaning("left", 9), 6: Meaning("left", 40, share=0.7)})
    assert isinstance(latent, DiscreteControls)
    assert latent.as_json()["meanings"] == ["left", "", "left"]
    assert latent.keys == {"ArrowLeft": 2, "Digit0": 0, "Digit1": 1}, "the most frequent"
    assert latent.action(["Digit0"], ()) == 4
    assert latent.rest == 2, "the least certain"


def test_continuous_actions() -> None:
    car = BoxControls(BoxActions((3,), (-1.0, 0.0, 0.0), (1.0, 1.0, 1.0)))  # wheel, gas, brake
    assert car.action([], ()).tolist() == [0, 0, 0]
    assert car.action(["ArrowLeft", "ArrowUp"], ()).tolist() == [-1, 1, 0]
    assert car.action(["ArrowDown"], ()).tolist() == [0, 0, 1]
    assert car.action([], (0.5, -0.75)).tolist() == [0.5, 0.75, 0], "up is ahead"
    assert car.action([], (0, 1)).tolist() == [0, 0, 1]
    assert car.action(["ArrowRight"], (-1.0,)).tolist() == [1, 0, 0], "keys before sticks"
    offset = BoxControls(BoxActions((2,), (0.2, -3.0), (1.0, 1.0)))
    assert offset.as_json()["rest"] == pytest.approx([0.2, 0])
    assert offset.action(["ArrowRight", "ArrowDown"], ()).tolist() == pytest.approx([1, -3])
    assert offset.action([], (0.5,)).tolist() == pytest.approx([0.6, 0])
    many = BoxControls(BoxActions((5,), (-1.0,) * 5, (1.0,) * 5))
    assert sorted({number for number, _ in many.keys.values()}) == [0, 1, 2, 3]


def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            APP.main(["play", "doom-take-cover", "--port", str(port), "--no-browser"])
    assert ended.value.code == 1
    assert f"port {port} of --host 127.0.0.1 cannot be listened on" in capsys.readouterr().err


def test_without_what_serves(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit):
        APP.main(["play", "doom-take-cover", "--no-browser"])
    assert "pip install 'genie_env[play]'" in capsys.readouterr().err


def test_a_film_of_actions_without_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    file, picture = tmp_path / "actions.txt", tmp_path / "start.png"
    film = tmp_path / "film.mp4"
    file.write_text("# a dodge\nleft x 3\n2\n\nRIGHT * 2 # and back\n")
    Image.new("RGB", (90, 70), (200, 30, 30)).save(picture)
    line = ["play", "doom-take-cover", "--record", str(film), "--actions", str(file)]
    with pytest.raises(SystemExit) as ended:
        APP.main([*line, "--picture", str(picture)])
    assert ended.value.code == 0
    video = look_through(film)
    frames = decode(video, np.arange(7), (512, 512))
    red, green, _ = frames[0].reshape(-1, 3).mean(0)
    assert red > green + 30


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"left\nfly", "line 2: 'fly' is no action of this world: it has 3 actions"),
        (b"3", "line 1: '3' is no action"),
        (b"left x 2000000", "has more than 1,000,000 steps"),
        (b"# nothing", "has no action: expected an action a line"),
        (b"\xff", "is no text"),
    ],
)
def test_what_is_no_file_of_actions(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "actions.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError) as refused:
        read_actions(file, controls_of(DiscreteActions(("LEFT", "stay", "RIGHT"))))
    assert words in str(refused.value)


def test_continuous_actions_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "actions.txt"
    wheel = controls_of(BoxActions((2,), (-1.0, 0.0), (1.0, 1.0)))
    file.write_text("0.5, 1 x 2\n-1 0")
    assert [action.tolist() for action in read_actions(file, wheel)] == [[0.5, 1]] * 2 + [[-1, 0]]
    file.write_text("0.5, 2")
    with pytest.raises(ValueError, match="line 1: '0.5, 2' is no action of this world"):
        read_actions(file, wheel)


def test_latent_actions_of_a_file_have_meanings(tmp_path: Path) -> None:
    file = tmp_path / "actions.txt"
    meanings = {0: Meaning("left", 9), 1: Meaning("Left", 40)}
    latent = controls_of(DiscreteActions(("0", "1", "2")), meanings)
    file.write_text("left\n2\n0")
    assert read_actions(file, latent) == [1, 2, 0], "the most frequent of those that mean it"
    file.write_text("right")
    with pytest.raises(ValueError, match=r"it has .*, which mean Left, left"):
        read_actions(file, latent)


@pytest.mark.parametrize("option", ["--agent", "--game", "--host"])
def test_a_film_has_no_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str
) -> None:
    line = ["play", "doom-take-cover", "--record", "film.mp4", "--actions", "actions.txt"]
    with pytest.raises(SystemExit):
        APP.main([*line, option, str(AGENT)])
    assert "leave out --agent, --game and --host" in capsys.readouterr().err


def test_a_film_needs_actions(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        APP.main(["play", "doom-take-cover", "--record", str(tmp_path / "film.mp4")])
    assert "--record and --actions go together" in capsys.readouterr().err


@pytest.fixture
def address(world: World, tmp_path: Path) -> Iterator[str]:
    """Of a server on a real socket, such as "127.0.0.1:8000"."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        app = application(Shared.of(world, tmp_path))
        server = server_of(app)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


def opened_socket(address: str, **options: Any) -> ClientConnection:
    return connect(f"ws://{address}/ws", origin=Origin(f"http://{address}"), **options)


def test_an_oversized_message_closes_its_tab_alone(address: str) -> None:
    with opened_socket(address) as other, opened_socket(address) as own:
        with pytest.raises(ConnectionClosed) as closed:
            own.send(bytes(LARGEST_PICTURE + 1))
            while True:
                own.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
        assert json.loads(other.recv())["type"] == "hello"
        other.send(json.dumps({"type": "keys", "down": ["K" * 70_000], "seq": 1}))
        while isinstance(received := other.recv(), bytes) or "error" not in received:
            pass
        assert "expected at most 65,536" in received


def test_a_socket_that_is_not_read_any_more_is_dropped(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tab, "PATIENCE", 0.3)
    closed = threading.Event()
    close = Session.close
    monkeypatch.setattr(Session, "close", lambda self: (close(self), closed.set()))
    with opened_socket(address, max_queue=1, close_timeout=1) as own:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(1_000):  # answers of 24 pictures each, which nobody reads
                own.send(json.dumps({"type": "starts"}))
        assert closed.wait(30)


def test_a_page_that_takes_nothing_gives_its_place_back(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tab, "PATIENCE", 0.3)
    monkeypatch.setattr(server, "MOST_TABS", 1)
    with opened_socket(address, max_queue=1, close_timeout=1) as deaf:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(1_000):
                deaf.send(json.dumps({"type": "starts"}))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with opened_socket(address) as other, contextlib.suppress(ConnectionClosed):
                if json.loads(other.recv())["type"] == "hello":
                    break
            time.sleep(0.1)
        else:
            pytest.fail("the place is not free")
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_no_more_tabs_than_there_may_be(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_TABS", 3)

    def first_message(_: int) -> str:
        with opened_socket(address) as own:
            try:
                kind = str(json.loads(own.recv())["type"])
            except ConnectionClosed as closed:
                return closed.rcvd.reason if closed.rcvd else ""
            time.sleep(1)  # until all have asked
            return kind

    with ThreadPoolExecutor(9) as pool:
        said = [*pool.map(first_message, range(9))]
    assert said.count("hello") == 3
    assert said.count("3 tabs are open: close one") == 6


def test_pages_that_are_closed_at_once_leave_no_trace(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        opened_socket(address).close()
    with opened_socket(address) as own:
        assert json.loads(own.recv())["type"] == "hello"
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_other_sites_get_a_sentence(address: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{address}/ws", origin=Origin("http://evil.example")).close()
    assert refused.value.response.status_code == 403
    assert b"'http://evil.example' is not this page's" in (refused.value.response.body or b"")


def test_no_browser_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    open_page("http://127.0.0.1:1/")
    assert capsys.readouterr().err == "no browser was found: open http://127.0.0.1:1/ in one\n"


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
        assert hello["actions"]["meanings"] == ["left", "right", "right", "left", "left", "left"]
        assert hello["actions"]["keys"] == {
            "ArrowLeft": 0,
            "ArrowRight": 2,
            "Digit1": 1,
            "Digit3": 3,
            "Digit4": 4,
            "Digit5": 5,
        }
        assert hello["actions"]["rest"] == 3, "in which nothing moves"
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
