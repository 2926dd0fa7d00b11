"""`genie-env record`: plays a real game and keeps every frame, action, reward and end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from genie_env.cli.options import (
    FamilyOption,
    OptionalAgentOption,
    OptionalWorldOption,
    SeedOption,
    WorkersOption,
    env_arguments,
    family_options,
)
from genie_env.cli.recordings import (
    CropOption,
    FrameSizeOption,
    PadOption,
    RecordingProgress,
    parse_margins,
    parse_size,
)
from genie_env.data.players import BlindPlayer
from genie_env.data.progress import say
from genie_env.data.recording import RecordedPlayer, record_episodes
from genie_env.games.base import Game
from genie_env.games.blind import GENERAL_POLICIES
from genie_env.games.registry import find_game, registered_games

if TYPE_CHECKING:
    from genie_env.agents.players import AgentPlayer


def _policy_help() -> str:
    def listed(policies: dict[str, str]) -> str:
        return "; ".join(f"{name}: {meaning}" for name, meaning in policies.items())

    own = [
        f". Of {game.name} also {listed({**game.own_policies, **game.scripted_policies})}"
        for game in registered_games()
    ]
    defaults = "".join(f"{game.recording_policy} in {game.name}, " for game in registered_games())
    return (
        "blind policy, whose actions do not depend on what the game shows, or script of the game, which "
        "reads its state; several share the episodes evenly, in a new order every round. "
        f"{listed(GENERAL_POLICIES)}{''.join(own)}. "
        f"[default: {defaults}held elsewhere]"
    )


def record(
    game: Annotated[
        str,
        typer.Argument(
            help="doom-take-cover, car-racing, or the id of a Gymnasium environment with pictures "
            "(module:Name where a module of yours registers it)"
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="directory to record into; a recording there is resumed",
            file_okay=False,
            writable=True,
        ),
    ],
    episodes: Annotated[
        int,
        typer.Option(help="number of episodes in the directory at the end", min=1, max=10_000_000),
    ] = 1500,
    workers: WorkersOption = 2,
    frame_skip: Annotated[
        int,
        typer.Option(
            help="steps of the game that an action is held for; one frame is kept of them",
            min=1,
            max=1000,
        ),
    ] = 1,
    frame_size: FrameSizeOption = None,
    frames: Annotated[
        Literal["observation", "render"] | None,
        typer.Option(
            help="where the frames come from: the observation, or what the environment renders "
            "[default: the observation where it is a colour picture]"
        ),
    ] = None,
    crop: CropOption = None,
    pad: PadOption = None,
    make: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="a function of yours that returns the environment, as a wrapped one; GAME is then "
            "the name that the game is to have, and --env-args are the function's keywords",
        ),
    ] = None,
    seed: SeedOption = 0,
    policy: Annotated[list[str] | None, typer.Option(help=_policy_help())] = None,
    agent: OptionalAgentOption = None,
    world: OptionalWorldOption = None,
    option: FamilyOption = None,
    explore: Annotated[
        float,
        typer.Option(
            help="fraction of the time in which random actions overrule the agent", min=0, max=1
        ),
    ] = 0.0,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels",
            help="keep what objects every frame shows too, of a game that says so, for `genie-env "
            "continuity` alone: "
            + "; ".join(
                f"{game.name}: {', '.join(game.label_classes)}"
                for game in registered_games()
                if game.label_classes
            ),
        ),
    ] = False,
    env_args: Annotated[
        str, typer.Option(help="further arguments of gymnasium.make, as JSON: '{\"level\": 3}'")
    ] = "{}",
) -> None:
    """Play a real game and record every frame, action, reward and end.

    Before it starts, it says which networks take the game's frames: `train vision` takes sides that
    are multiples of 16, `train tokenizer` any size that its patches divide. A blind policy plays,
    or, with --agent and --world, a learned controller; where --frame-skip is a multiple of its world's,
    it holds every action for as long.
    """
    chosen = find_game(
        game,
        frame_skip=frame_skip,
        env_args=env_arguments(env_args),
        frame_size=parse_size(frame_size),
        frames=frames,
        crop=parse_margins("--crop", crop),
        pad=parse_margins("--pad", pad),
        make=make,
    )
    if labels:
        chosen.check_labelled()
    player: RecordedPlayer
    if agent is None:
        if world is not None or option or explore:
            raise ValueError(
                "--option, --world and --explore belong to an agent; give --agent as well"
            )
        policies = tuple(policy or [chosen.recording_policy])
        for name in policies:
            chosen.check_real_policy(name)
        player = BlindPlayer(chosen, seed, policies, labelled=labels)
    else:
        if policy or world is None:
            raise ValueError("an agent plays itself, in its world: give --world, and no --policy")
        player = replace(
            _agent_player(chosen, world, agent, seed, explore, option), labelled=labels
        )

    progress = RecordingProgress(out, episodes, chosen)
    try:
        record_episodes(player, out, episodes, workers, progress.episode, progress.start)
    finally:
        progress.close()


def _agent_player(
    game: Game, world: str, agent: Path, seed: int, explore: float, option: list[str] | None
) -> AgentPlayer:
    from genie_env.agents.agent import load_agent  # imports torch
    from genie_env.agents.real_play import agent_player

    player = agent_player(world, agent, seed, family_options(option))
    own = player.game
    hold, rest = divmod(game.frame_skip, own.frame_skip)
    if rest or replace(own, frame_skip=game.frame_skip, env_args=game.env_args) != game:
        raise ValueError(
            f"the agent's world is of {own}, but {game} is to be recorded: give its game, at its frame "
            "skip or a multiple of it"
        )
    if own.env_args and not game.env_args:
        raise ValueError(
            f"the agent's world is of {own.name} with the arguments {json.dumps(own.env_args)}: give them "
            "as --env-args, or others"
        )
    if game.env_args != own.env_args:
        say(
            f"the agent's world is of {own.name} with the arguments {json.dumps(own.env_args)}, and it "
            f"plays with {json.dumps(game.env_args)}"
        )
    if explore and (player.dictionary or player.codes):
        raise ValueError(
            f"--explore is {explore:g}, but the agent's world has latent actions, and none of them is "
            "known to be a random action of the game: leave it out"
        )
    if hold > 1 and player.dictionary and player.dictionary.after:
        raise ValueError(
            f"a recorded frame is to be {hold} steps of the agent's world, but its latent actions may be "
            f"another action of the game after each step: give --frame-skip {own.frame_skip}"
        )
    if (repeat := load_agent(agent).action_repeat) % hold and repeat > 1:
        fitting = [own.frame_skip * each for each in range(1, repeat + 1) if repeat % each == 0]
        raise ValueError(
            f"the agent holds its actions for {repeat} steps of its world, but a recorded frame is to "
            f"be {hold} of them: give a --frame-skip of {', '.join(map(str, fitting))}"
        )
    return replace(player, game=game, explore=explore, keep_frames=True, hold=hold)
