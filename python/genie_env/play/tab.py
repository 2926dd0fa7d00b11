"""One tab of the page: its dream runs, its messages are obeyed, and what it does not take waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

import gymnasium
from starlette.websockets import WebSocket, WebSocketDisconnect

from genie_env.play.pace import Pace
from genie_env.play.progress import Shown
from genie_env.play.protocol import jpeg, packed, parse
from genie_env.play.session import Session

T = TypeVar("T")
UNDERWAY = 2
"""Frames of the dream, or of the game, that were sent and not yet drawn, at most."""
PATIENCE = 10.0
"""Seconds that a page may take to take a message."""


FAILURES = (
    *(ValueError, TypeError, RuntimeError, OSError, MemoryError, EOFError),
    gymnasium.error.Error,
)
"""What a session raises in words for its user. What else a game or a world raises goes to the log too."""


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
        await self._send(await self._use(self._session.hello))
        await self._after_a_jump()
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
            # A page that nobody sees draws nothing: its dream waits.
            while self._sent - self._seen >= UNDERWAY * self._places:
                self._drawn.clear()
                await self._drawn.wait()
            if not self._is_due():
                await self._next_turn()
                continue
            try:
                await self._show(self._session.step)
            except (NothingTaken, WebSocketDisconnect):
                raise
            except Exception as error:  # of a game, for instance
                self._paused = True
                await self._fail(error, ". It is paused")
                await self._tell()

    def _is_due(self) -> bool:
        """Whether a step is taken now."""
        if self._paused:
            single, self._single_steps = self._single_steps > 0, max(0, self._single_steps - 1)
            return single
        if self._pace.left > 0:
            return False
        self._pace.stepped(self._session.pace)
        return True

    async def _next_turn(self) -> None:
        """Until a step is due, or something is said about when."""
        self._awake.clear()
        seconds = None if self._paused else max(0.0, self._pace.left)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._awake.wait(), seconds)

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
            except (NothingTaken, WebSocketDisconnect):
                raise
            except Exception as error:
                await self._fail(error)

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
            await self._send(await self._use(session.tree))
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
            self._paused, self._single_steps = message["on"], 0
        elif kind == "step":
            self._single_steps += 1 if self._paused and self._single_steps < 10 else 0
        else:
            fps = message["fps"]
            if fps is not None and not 0.1 <= fps <= 1000:
                raise ValueError(f"the pace is {fps} steps a second; expected 0.1 to 1000, or null")
            self._session.pace = fps
        if kind != "step":
            self._pace.restart()
        self._awake.set()

    async def _after_a_jump(self) -> None:
        """The dream is elsewhere than after its last step."""
        await self._tell()
        await self._send(await self._use(self._session.tree))
        await self._show(self._session.shown)

    async def _tell(self) -> None:
        state = await self._use(self._session.state)
        await self._send({"type": "state", "paused": self._paused, **state})

    async def _show(self, make: Callable[[], list[Shown]]) -> None:
        frames = await self._use(_drawn, make)
        self._places = len(frames)
        for header, picture in frames:
            self._sent += 1
            frame = packed({"id": self._sent, **header}, picture)
            await self._patiently(self._socket.send_bytes(frame))
        if trouble := self._session.trouble:
            self._session.trouble = ""
            await self._send({"type": "error", "message": trouble})
            await self._tell()

    async def _fail(self, error: Exception, more: str = "") -> None:
        if not isinstance(error, FAILURES):
            logging.getLogger(__name__).error("in a tab", exc_info=error)
        await self._send(
            {"type": "error", "message": f"{str(error) or type(error).__name__}{more}"}
        )

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
            self._call = call = self._executor.submit(function, *arguments)
            result = asyncio.wrap_future(call)
            result.add_done_callback(lambda done: done.cancelled() or done.exception())
            return await asyncio.shield(result)

    def close(self) -> None:
        """Frees the session, after the call that may still be under way."""
        if self._call is not None:
            wait([self._call])
        self._session.close()


def _drawn(make: Callable[[], list[Shown]]) -> list[tuple[dict[str, Any], bytes]]:
    """Headers and pictures of frames, with what it took to make all of them."""
    began = time.perf_counter()
    frames = [(shown.header, jpeg(shown.picture)) for shown in make()]
    made_ms = round(1000 * (time.perf_counter() - began), 2)
    return [({**header, "made_ms": made_ms}, picture) for header, picture in frames]


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
