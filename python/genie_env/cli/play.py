"""`genie-env play`: a page to play the dream."""

from __future__ import annotations

import importlib
import secrets
import socket
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from genie_env.cli.options import (
    ActionMapOption,
    DeviceOption,
    FamilyOption,
    OptionalAgentOption,
    PictureOption,
    SeedOption,
    StartsOption,
    TemperatureOption,
    family_options,
)

if TYPE_CHECKING:
    from genie_env.play.shared import Shared

_LOCAL = "127.0.0.1"


def play(
    world: Annotated[
        str,
        typer.Argument(
            help="world to play: an installed world's name, or a world directory",
            path_type=str,
            show_default=False,
        ),
    ],
    port: Annotated[
        int, typer.Option(help="port to listen on; 0: any free one", min=0, max=65535)
    ] = 8642,
    host: Annotated[
        str | None,
        typer.Option(
            help="address to listen on, for browsers of other machines; the page then needs the token "
            "in the address that is printed [default: this machine alone]"
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="open the page in a browser")] = True,
    recordings: Annotated[
        Path, typer.Option(help="directory for what is recorded on the page", file_okay=False)
    ] = Path("played"),
    agent: OptionalAgentOption = None,
    game: Annotated[
        str | None,
        typer.Option(help="real game to play beside the dream [default: the one the world names]"),
    ] = None,
    action_map: ActionMapOption = None,
    temperature: TemperatureOption = None,
    option: FamilyOption = None,
    seed: SeedOption = 0,
    picture: PictureOption = None,
    starts: StartsOption = None,
    record: Annotated[
        Path | None,
        typer.Option(
            help="MP4 file of a dream under --actions, in place of a page",
            dir_okay=False,
            writable=True,
        ),
    ] = None,
    actions: Annotated[
        Path | None,
        typer.Option(
            help="text file with an action a line, by name or number, such as 'left' or 'left x 30'",
            dir_okay=False,
        ),
    ] = None,
    device: DeviceOption = "cpu",
) -> None:
    """Serve a page on which the dream is played, with the keys of your browser.

    Ctrl-C ends it. Over SSH: `ssh -L 8642:127.0.0.1:8642 machine`, and open the page at home. With
    --record and --actions, a film is written instead.
    """
    if (record is None) != (actions is None):
        raise ValueError("--record and --actions go together: give both, or neither for the page")
    if actions is None:
        _check_installed()
    elif agent or game or host:
        raise ValueError(
            "a film is of --actions alone: leave out --agent, --game and --host, which are of the page"
        )
    from genie_env.envs.load_world import load_world
    from genie_env.envs.options import EnvOptions
    from genie_env.play.shared import Shared

    loaded = load_world(world, EnvOptions.of({"device": device, **family_options(option)}))
    shared = Shared.of(
        loaded,
        recordings,
        temperature=temperature,
        agent=agent,
        game=game,
        action_map=action_map,
        seed=seed,
        picture=picture,
        starts=starts or (),
    )
    if record is not None and actions is not None:
        from genie_env.play.offline import film, read_actions

        film(shared, read_actions(actions, shared.controls), record)
        Console().print(f"wrote {record}", soft_wrap=True)
    else:
        _serve(shared, host, port, browser)


def _check_installed() -> None:
    """Raises ImportError where what serves the page is not there."""
    for module in ("uvicorn", "starlette", "websockets"):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise ImportError(
                f"{module} is not installed: pip install 'genie_env[play]' serves the page"
            ) from None


def _serve(shared: Shared, host: str | None, port: int, browser: bool) -> None:
    from genie_env.play.server import application, server_of

    listening = _listen(host or _LOCAL, port)
    with listening:
        port = listening.getsockname()[1]
        token = None if host is None else secrets.token_urlsafe(16)
        app = application(shared, token)
        address = f"http://{_shown(host)}:{port}/" + (f"?token={token}" if token else "")
        Console(highlight=False).print(
            f"{shared.world.spec.name} is played at {address} (Ctrl-C ends it)", soft_wrap=True
        )
        if browser:
            threading.Thread(target=open_page, args=(address,), daemon=True).start()
        server_of(app).run([listening])


def _shown(host: str | None) -> str:
    """As an address has it; where it is any address of this machine, this machine's name."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if host and ":" in host else host or _LOCAL


def _listen(host: str, port: int) -> socket.socket:
    """Raises ValueError where it is in use, or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except (OSError, UnicodeError) as error:  # of a name that none can be
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"port {port} of --host {host} cannot be listened on ({reason}): give another --port, or 0 "
            "for any free one; --host is an address of this machine"
        ) from None
    return listening


def open_page(address: str) -> None:
    if not webbrowser.open(address):
        Console(stderr=True).print(
            f"no browser was found: open {address} in one", soft_wrap=True, highlight=False
        )
