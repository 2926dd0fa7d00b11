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
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from genie_env._core import EpisodeStore
from genie_env.cli.app import APP
from genie_env.cli.play import open_page
from genie_env.envs.registry import find_world
from genie_env.play import server, tab
from genie_env.play.protocol import LARGEST_PICTURE, parse
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
        for seed in range(20):  # enough that some are held out
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
        (
            f'{{"type": "axes", "values": [1{"0" * 400}], "seq": 1}}',
            '"values" of the message "axes"',
        ),
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
