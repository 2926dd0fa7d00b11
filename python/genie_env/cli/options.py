"""Options that several commands have: the same word, type and help everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from genie_env.data.players import LARGEST_SEED

_WORLD = typer.Option(
    "--world", help="an installed world's name, or a world directory", path_type=str
)
WorldOption = Annotated[str, _WORLD]
OptionalWorldOption = Annotated[str | None, _WORLD]
FamilyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        help="an option of the world's family, as name=value; may be repeated; `genie-env worlds "
        "NAME` lists them",
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        "--tau",
        help="sampling temperature; the world's own unless given",
        min=1e-6,
        max=1e6,
    ),
]
StartsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--starts",
        help="recording that dreams begin in, anywhere in its episodes; may be repeated [default: the "
        "world's stored starts]",
    ),
]
BurnInOption = Annotated[
    int | None,
    typer.Option(
        "--burn-in",
        help="frames of a recording that the world follows before a dream begins [default: 16]",
        min=0,
        max=10_000,
    ),
]
RewardFnOption = Annotated[
    str | None,
    typer.Option(
        "--reward-fn",
        metavar="MODULE:FUNCTION",
        help="function that gives rewards in place of the world's: reward(observations, actions, "
        "next_observations), of a module of this folder or an installed one",
    ),
]
TerminationFnOption = Annotated[
    str | None,
    typer.Option(
        "--termination-fn",
        metavar="MODULE:FUNCTION",
        help="function that says which dreams end, in place of the world's; it takes what --reward-fn "
        "takes",
    ),
]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", help="JSON file for all numbers", dir_okay=False, writable=True),
]
EveryEpisodeOption = Annotated[
    bool,
    typer.Option(
        "--every-episode",
        help="take every episode of recordings that no training used, not only those held out",
    ),
]
LatentActionsOption = Annotated[
    Path | None,
    typer.Option(
        "--latent-actions",
        help="run directory of `train latent-actions`, for a world of latent actions [default: "
        "the world's own]",
    ),
]
ActionMapOption = Annotated[
    Path | None,
    typer.Option(
        "--action-map",
        "--actions-map",
        help="mapping.json of `genie-env map-actions`: what latent actions stand for [default: the "
        "world's own]",
        dir_okay=False,
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="seed of the random draws", min=0, max=LARGEST_SEED)
]
TemperaturesOption = Annotated[
    list[float],
    typer.Option("--temperature", "--tau", help="sampling temperatures to try", min=1e-6, max=1e6),
]
PictureOption = Annotated[
    Path | None,
    typer.Option(
        "--picture",
        "--prompt",
        help="picture to begin from, of any size and format; a start of the world's own unless given",
    ),
]
_AGENT = typer.Option("--agent", help="agent file, of a controller that was trained in --world")
AgentOption = Annotated[Path, _AGENT]
OptionalAgentOption = Annotated[Path | None, _AGENT]
RealEpisodesOption = Annotated[
    int,
    typer.Option(
        "--episodes",
        help="episodes of the real game that each player plays",
        min=1,
        max=10_000_000,
    ),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", help="processes that play the real game", min=1, max=1024)
]
RealityOption = Annotated[
    bool, typer.Option("--reality", help="play the real game instead of the dream: a baseline")
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu or cuda")]


def refuse_what_dreams_take(
    temperature: float | None,
    starts: list[Path] | None,
    burn_in: int | None,
    reward_fn: str | None,
    termination_fn: str | None,
) -> None:
    """Raises ValueError for options of dreams beside --reality."""
    if starts or burn_in is not None:
        raise ValueError(
            f"--{'starts' if starts else 'burn-in'} says where dreams begin, but with --reality the "
            "game begins its episodes itself: leave one of them out"
        )
    if reward_fn or termination_fn:
        raise ValueError(
            f"--{'reward' if reward_fn else 'termination'}-fn is for dreams, but with --reality the "
            "game itself pays and ends: leave one of them out"
        )
    if temperature is not None:
        raise ValueError(
            "--temperature is for dreams, but with --reality the game itself shows what comes next: "
            "leave one of them out"
        )


def family_options(given: list[str] | None) -> dict[str, bool | int | float | str]:
    """The values of `--option name=value`, each in the type that its text has.

    >>> family_options(["passes=4", "order=random", "clip=true"])
    {'passes': 4, 'order': 'random', 'clip': True}

    Raises ValueError where one has no name or value, or a name is given twice. Whether the family
    has such options is the family's to say.
    """
    options: dict[str, bool | int | float | str] = {}
    for text in given or []:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise ValueError(f"--option is {text!r}, expected name=value, as in passes=4")
        if name in options:
            raise ValueError(f"--option {name} is given twice: give it once")
        options[name] = _typed(value)
    return options


def parse_steps(text: str) -> int:
    """A number of steps: "40M", "500k" or "1000".

    >>> parse_steps("2.5M")
    2500000

    Raises ValueError for anything else.
    """
    factor = {"k": 1_000, "M": 1_000_000}.get(text[-1:], 1)
    try:
        return int(float(text[:-1] if factor > 1 else text) * factor)
    except (ValueError, OverflowError):  # OverflowError: infinitely many
        raise ValueError(
            f"steps is {text!r}; expected a number such as 1000, 500k or 40M"
        ) from None


def _steps(given: str | int) -> int:
    try:
        return parse_steps(str(given))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


StepsOption = Annotated[
    int,
    typer.Option(
        "--steps",
        help="dream steps to spend, for instance 40M",
        parser=_steps,
        metavar="STEPS",
        show_default="40M",
        min=1,
        max=10**15,
    ),
]


def _typed(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def env_arguments(text: str) -> dict[str, Any]:
    """What --env-args says. Raises ValueError."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--env-args {text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f'--env-args {text!r} is not a JSON object; expected {{"name": value}}')
    return value
