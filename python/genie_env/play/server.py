"""The page's server: its files, its recordings, and a WebSocket for every tab."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from genie_env.play.protocol import LARGEST_PICTURE
from genie_env.play.session import Session
from genie_env.play.shared import Shared
from genie_env.play.tab import FAILURES, NothingTaken, Tab

PAGE = Path(__file__).parent / "page"
MOST_TABS = 32
LONGEST_REASON = 100
"""Characters: of a WebSocket's close frame, which has 123 bytes for it."""
POLICY = "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'"
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
"""What browsers call this machine; through `ssh -L` they may have any port."""


class Guard:
    """Refuses every request for another host, of another site's page, or without the token.

    A name that an attacker lets point to 127.0.0.1 is another host (DNS rebinding). Behind a token any
    host will do: what this machine is called elsewhere is not known here.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        """Without a token, hosts are LOCAL_NAMES alone."""
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if refusal := self._refusal(connection):
            response = PlainTextResponse(refusal + "\n", 403)
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(response)
            else:
                await response(scope, receive, send)
            return
        await self._app(scope, receive, _uncached(send))

    def _refusal(self, connection: HTTPConnection) -> str:
        host = connection.headers.get("host", "")
        if self._token is None and _name(host) not in LOCAL_NAMES:
            return f"the host {host!r} is not this server's: open the address that it printed"
        origin = connection.headers.get("origin")
        needed = connection.scope["type"] == "websocket"
        if (origin is not None or needed) and not _is_of(origin or "", host):
            return f"the origin {origin!r} is not this page's: open the address that was printed"
        # The page's own files hold nothing to keep secret; its scripts ask for them without the token.
        if self._token is None or connection.scope["path"].startswith("/page/"):
            return ""
        given = connection.query_params.get("token", "")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return (
                "the token is missing or wrong: open the address that was printed, with its ?token="
            )
        return ""


def _name(host: str) -> str | None:
    """Of a Host header, without the port; None: it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_of(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # it is malformed
        return False


def _log_failure(closed: Future[None]) -> None:
    if (error := closed.exception()) is not None:
        logging.getLogger(__name__).error("a tab was closed", exc_info=error)


def _uncached(send: Send) -> Send:
    """A browser asks again for what another version of this package may serve otherwise."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"cache-control", b"no-cache")]
            message = {**message, "headers": headers}
        await send(message)

    return sending


def application(shared: Shared, token: str | None = None) -> ASGIApp:
    """The page of what all tabs share, for this machine alone; with a token, which the address must
    then have, for others too."""
    Session(shared).close()  # what it refuses is refused now
    # One thread more than computes at a time, for worlds that are being loaded.
    executor = ThreadPoolExecutor(1 + (os.cpu_count() or 1), thread_name_prefix="dream")
    recordings = shared.recordings
    tabs = 0

    async def index(_: Request) -> Response:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": POLICY})

    async def film(request: Request) -> Response:
        name = request.path_params["name"]
        for folder in recordings.iterdir() if recordings.is_dir() else ():
            if folder.name == name and (folder / "film.mp4").is_file():
                return FileResponse(folder / "film.mp4")
        return PlainTextResponse("there is no such recording\n", 404)

    async def play(socket: WebSocket) -> None:
        nonlocal tabs
        await socket.accept()
        if tabs >= MOST_TABS:
            await socket.close(1013, f"{MOST_TABS} tabs are open: close one")
            return
        tabs += 1
        code, reason = 1013, ""
        try:
            session = await asyncio.wrap_future(executor.submit(Session, shared))
            tab = Tab(socket, session, executor)
            try:
                await tab.run()
            finally:
                executor.submit(tab.close).add_done_callback(_log_failure)
        except WebSocketDisconnect:
            return  # the page was closed while it was sent something
        except NothingTaken as error:
            reason = str(error)
        except FAILURES as error:  # of a session that could not begin
            code, reason = 1011, str(error)
        finally:
            tabs -= 1
        if reason:
            # A page that takes nothing does not take this either; or it has gone already.
            with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
                await asyncio.wait_for(socket.close(code, reason[:LONGEST_REASON]), 1)

    routes = [
        Route("/", index),
        Route("/recordings/{name}.mp4", film),
        Mount("/page", StaticFiles(directory=PAGE)),
        WebSocketRoute("/ws", play),
    ]
    return Guard(Starlette(routes=routes), token)


def server_of(app: ASGIApp) -> uvicorn.Server:
    """Serves a page. A larger message than a picture may be closes its tab alone."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=LARGEST_PICTURE,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)
