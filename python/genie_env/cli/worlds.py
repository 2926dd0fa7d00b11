"""`genie-env worlds`: which worlds are installed, and what one of them is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from genie_env.cli.options import JsonOption
from genie_env.envs.actions import actions_of_json, actions_of_world
from genie_env.envs.frame_rate import frames_per_second
from genie_env.envs.registry import find_world, installed_worlds
from genie_env.envs.world_card import WorldCard, read_card
from genie_env.families import knows_outcomes

if TYPE_CHECKING:
    from genie_env._core import Option, TensorSpec

UNKNOWN = "-"


def worlds(
    world: Annotated[
        str | None,
        typer.Argument(
            help="world to show: an installed world's name, or a world directory", path_type=str
        ),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """List the installed worlds, or show one with its options and observations."""
    if world is None:
        cards = [read_card(name) for name in installed_worlds()]
        found: Any = [asdict(card) for card in cards]
        shown = [_list(cards)]
    else:
        found = describe(world)
        shown = _sheets(found)
    console = Console()
    for table in shown:
        console.print(table)
    if json_file is not None:
        from genie_env.data.files import write_json

        write_json(json_file, found)


def describe(world: str) -> dict[str, Any]:
    """The card and the spec of one world, which is loaded on the CPU."""
    from genie_env import World  # imports torch

    card, spec = read_card(world), World.load(find_world(world)).spec
    return {
        **asdict(card),
        "actions": actions_of_world(spec.actions).as_json(),
        "fingerprint": spec.fingerprint,
        "temperature": spec.temperature,
        "dtype": spec.dtype,
        "knows_outcomes": knows_outcomes(find_world(world)),
        "frame_skip": spec.frame_skip,
        "frames_per_second": frames_per_second(spec),
        "max_episode_steps": spec.max_episode_steps,
        "state_bytes_per_row": spec.state_bytes_per_row,
        "has_latent_statistics": spec.has_latent_statistics,
        "observations": [_observation(each) for each in spec.observations],
        "options": [_option(each) for each in spec.options.values()],
    }


def _observation(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _option(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "type": option.type,
        "range": option.range,
        "default": option.default,
        "description": option.description,
    }


def _list(cards: list[WorldCard]) -> Table:
    table = _table("name", "family", "learned from", "actions", "frame", "MB", "licence")
    for column in table.columns[:3]:
        column.no_wrap = True
    for card in cards:
        table.add_row(
            card.name,
            card.family,
            card.game or UNKNOWN,
            UNKNOWN if card.actions is None else str(card.actions),
            _size(card.frame),
            f"{card.megabytes:.1f}",
            card.licence or UNKNOWN,
        )
    return table


def _sheets(found: dict[str, Any]) -> list[Table]:
    facts = _table("", "")
    facts.title, facts.show_header = found["name"], False
    for words, value in (
        ("family", found["family"]),
        ("Gymnasium id", found["id"] or UNKNOWN),
        ("learned from", found["game"] or UNKNOWN),
        ("game that its agents play", found["real_game"] or "none"),
        ("actions", str(actions_of_json(found["actions"]))),
        ("frame", _size(found["frame"])),
        ("size", f"{found['megabytes']:.1f} MB"),
        ("licence", found["licence"] or UNKNOWN),
        ("temperature", f"{found['temperature']:g}"),
        ("dtype that auto chooses here", found["dtype"]),
        *_reward_and_ends(found),
        ("game steps per step", str(found["frame_skip"])),
        ("steps per second of play", f"{found['frames_per_second']:g}"),
        ("steps per episode, at most", f"{found['max_episode_steps']:,}"),
        ("memory per row", f"{found['state_bytes_per_row']:,} bytes"),
        ("latent distance", "yes" if found["has_latent_statistics"] else "no"),
        ("fingerprint", found["fingerprint"]),
    ):
        facts.add_row(words, value)
    observations = _table("observation", "dtype", "shape")
    for each in found["observations"]:
        observations.add_row(each["name"], each["dtype"], " x ".join(map(str, each["shape"])))
    options = _table("option", "type", "range", "default", "what it is")
    for each in found["options"]:
        options.add_row(*(_text(value) for value in each.values()))
    return [facts, observations, options]


def _reward_and_ends(found: dict[str, Any]) -> list[tuple[str, str]]:
    if not found["knows_outcomes"]:
        return [
            ("reward", "always 0: give a reward_fn"),
            ("termination", "never: give a termination_fn"),
        ]
    reward = found["reward_per_step"]
    return [] if reward is None else [("reward per step", f"{reward:g}")]


def _table(*columns: str) -> Table:
    """A table without vertical lines, which breaks long names instead of cutting them."""
    return Table(*(Column(name, overflow="fold") for name in columns), box=box.SIMPLE, padding=0)


def _size(frame: tuple[int, int] | None) -> str:
    return UNKNOWN if frame is None else f"{frame[0]} x {frame[1]}"


def _text(value: bool | int | float | str) -> str:
    """As `--option name=value` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
