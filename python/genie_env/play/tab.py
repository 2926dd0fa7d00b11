"""One tab of the page: its dream runs, its messages are obeyed, and what it does not take waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

import gymnasium
from starlette.websockets import WebSocket

from genie_env.play.pace import Pace
from genie_env.play.progress import Shown
from genie_env.play.protocol import packed, parse
from genie_env.play.session import Session

T = TypeVar("T")
UNDERWAY = 2
"""Frames of the dream, or of the game, that were sent and not yet drawn, at most."""
PATIENCE = 10.0
"""Seconds that a page may take to draw one, or to take a message."""


FAILURES = (
    *(ValueError, TypeError, RuntimeError, OSError, MemoryError, EOFError),
    gymnasium.error.Error,
)
"""What a session raises in words for its user; the tab goes on."""


class NothingTaken(Exception):
    """The page is slower than patience allows."""


class Tab:
    """Sends the frames of a session over one WebSocket."""

    def __init__(self, socket: WebSocket, session: Session, executor: Executor) -> None:
        self._socket = socket
        self._session = session
        self._executor = executor
        self._using = asyncio.Lock()  # the session, which takes one thread at a time
        self._paused = False
        self._single_steps = 0
        self._awake = asyncio.Event()
        self._drawn = asyncio.Event()
        self._sent = self._seen = 0  # numbers of frames
        self._places = 1  # whose frames are shown: of the dream, the game or both
        self._call: Future[Any] | None = None  # of the session, in another thread
        self._pace = Pace()

    async def run(self) -> None:
        """Until the page is closed. Raises NothingTaken where it does not take what it is sent, and
        WebSocketDisconnect where it is closed meanwhile."""
        await self._send(self._session.hello())
        await self._tell()
        await self._send(self._session.tree())
        await self._show(self._session.shown)
        dream = asyncio.create_task(self._dream())
        listen = asyncio.create_task(self._listen())
        try:
            done, _ = await asyncio.wait({dream, listen}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (dream, listen):
                task.cancel()
            await asyncio.gather(dream, listen, return_exceptions=True)
        for task in done:
            task.result()

    async def _dream(self) -> None:
        while True:
            while self._paused and not self._single_steps:
                self._awake.clear()
                await self._awake.wait()
            if self._single_steps:
                self._single_steps -= 1
            else:
                await self._pace.wait(self._session.pace)
            await self._wait_for_the_page()
            try:
                await self._show(self._session.step)
            except FAILURES as error:  # of a game, for instance
                self._paused = True
                await self._send({"type": "error", "message": f"{error}. It is paused: reset it"})
                await self._tell()
            if self._session.recording_is_full:
                await self._obey({"type": "record", "on": False})

    async def _wait_for_the_page(self) -> None:
        while self._sent - self._seen >= UNDERWAY * self._places:
            self._drawn.clear()
            try:
                await asyncio.wait_for(self._drawn.wait(), PATIENCE)
            except TimeoutError:
                raise NothingTaken(f"the page took no picture for {PATIENCE:g} seconds") from None

    async def _listen(self) -> None:
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            try:
                if (content := received.get("bytes")) is not None:
                    await self._use(self._session.picture, content)
                    await self._after_a_jump()
                else:
                    await self._obey(parse(received["text"]))
            except FAILURES as error:
                await self._send({"type": "error", "message": str(error)})

    async def _obey(self, message: dict[str, Any]) -> None:
        kind, session = message.pop("type"), self._session
        if kind == "drawn":
            self._seen = min(max(self._seen, message["id"]), self._sent)
            self._drawn.set()
        elif kind in ("keys", "axes"):
            took_over = (session.keys if kind == "keys" else session.axes)(*message.values())
            if took_over:
                await self._tell()
        elif kind in ("pause", "step", "pace"):
            self._set_time(kind, message)
            await self._tell()
        elif kind == "starts":
            await self._send(await self._use(session.starts))
        elif kind == "branch":
            await self._use(session.branch)
            await self._send(session.tree())
        elif kind == "record":
            try:
                recorded = await self._use(session.record, message["on"])
            finally:
                await self._tell()
            if recorded is not None:
                await self._send(recorded)
        else:
            await self._use(_control(session, kind), *message.values())
            if kind in ("reset", "return", "rows", "option", "mode"):
                await self._after_a_jump()
            else:
                await self._tell()

    def _set_time(self, kind: str, message: dict[str, Any]) -> None:
        if kind == "pause":
            self._paused = message["on"]
        elif kind == "step":
            self._single_steps += 1 if self._paused and self._single_steps < 10 else 0
        else:
            fps = message["fps"]
            if fps is not None and not 0.1 <= fps <= 1000:
                raise ValueError(f"the pace is {fps} steps a second; expected 0.1 to 1000, or null")
            self._session.pace = fps
        self._awake.set()

    async def _after_a_jump(self) -> None:
        """The dream is elsewhere than after its last step."""
        await self._tell()
        await self._send(self._session.tree())
        await self._show(self._session.shown)

    async def _tell(self) -> None:
        state = await self._use(self._session.state)
        await self._send({"type": "state", "paused": self._paused, **state})

    async def _show(self, make: Callable[[], list[Shown]]) -> None:
        frames = await self._use(make)
        self._places = len(frames)
        for shown in frames:
            self._sent += 1
            fps = round(self._pace.measured, 2)
            frame = packed({"id": self._sent, **shown.header, "fps": fps}, shown.picture)
            await self._patiently(self._socket.send_bytes(frame))

    async def _send(self, message: dict[str, Any]) -> None:
        await self._patiently(self._socket.send_json(message))

    async def _patiently(self, sending: Awaitable[None]) -> None:
        try:
            await asyncio.wait_for(sending, PATIENCE)
        except TimeoutError:
            raise NothingTaken(f"the page took no message for {PATIENCE:g} seconds") from None

    async def _use(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls the session in another thread, where it may compute."""
        async with self._using:
            call = self._executor.submit(function, *arguments)
            self._call = call
            return await asyncio.shield(asyncio.wrap_future(call))

    def close(self) -> None:
        """Frees the session, after the call that may still be under way."""
        if self._call is not None:
            wait([self._call])
        self._session.close()


def _control(session: Session, kind: str) -> Callable[..., object]:
    controls: dict[str, Callable[..., object]] = {
        "reset": session.reset,
        "temperature": session.temperature,
        "option": session.option,
        "return": session.back_to,
        "rows": session.rows,
        "mode": session.mode,
        "agent": session.agent,
    }
    return controls[kind]
