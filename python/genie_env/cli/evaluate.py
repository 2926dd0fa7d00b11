"""`genie-env evaluate`: how well an agent, or a blind policy, plays the real game."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from genie_env.agents.real_play import agent_player
from genie_env.cli.options import (
    ActionMapOption,
    FamilyOption,
    OptionalAgentOption,
    OptionalWorldOption,
    RealEpisodesOption,
    WorkersOption,
    env_arguments,
    family_options,
)
from genie_env.data.players import LARGEST_SEED
from genie_env.data.progress import Progress
from genie_env.envs.registry import find_world
from genie_env.evaluation.evaluate import (
    FRESH_GAMES,
    Player,
    RealScores,
    blind_player,
    show_scores,
)
from genie_env.evaluation.statistics import summarise
from genie_env.games.base import Game, rounded
from genie_env.games.real_game import real_game
from genie_env.games.registry import default_game, find_game


def evaluate(
    episodes: RealEpisodesOption = 100,
    world: OptionalWorldOption = None,
    agent: OptionalAgentOption = None,
    option: FamilyOption = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="blind policy to play instead of an agent: random, held, ...; `genie-env record "
            "--help` lists those of each game"
        ),
    ] = None,
    game: Annotated[
        str | None,
        typer.Option(
            help="game that is played, named as in `genie-env record` [default: the one that the world "
            "names, or doom-take-cover]"
        ),
    ] = None,
    action_map: ActionMapOption = None,
    env_args: Annotated[
        str,
        typer.Option(
            help="arguments of the game in place of those of the world's recordings, as JSON: "
            "'{\"level\": 3}'; what is left out stays"
        ),
    ] = "{}",
    workers: WorkersOption = 2,
    seed: Annotated[
        int,
        typer.Option(
            help="seed of the games; the default's were never recorded", min=0, max=LARGEST_SEED
        ),
    ] = FRESH_GAMES,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="JSON file for all scores; those already in it are kept",
            dir_okay=False,
            writable=True,
        ),
    ] = None,
) -> None:
    """Play the real game, with an agent or a blind policy.

    --world is the world of --agent, or the one whose game --policy plays. An agent of latent actions
    plays by --action-map, or by the world's own dictionary. Prints the scores, and keeps them in --json:
    more episodes are added to those already there. Ctrl-C keeps the episodes played so far: they come in
    order, so they are no selection. With --env-args the game is another than the world knows, for instance
    with other walls: how much of its skill does an agent keep?
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; expected 1 or more")
    player: Player
    options, arguments = family_options(option), env_arguments(env_args)
    if options and agent is None:
        raise ValueError("--option belongs to an agent's world; give --agent as well")
    if action_map is not None and agent is None:
        raise ValueError("--action-map says what an agent's latent actions are; give --agent as well")
    if policy is not None and agent is None:
        player, who = blind_player(policy, seed, _game(world, game).with_arguments(arguments)), policy
    elif policy is None and agent is not None and world is not None:
        player = agent_player(
            world,
            agent,
            seed,
            options,
            game=game,
            env_args=arguments,
            action_map=action_map,
        )
        who = agent.name
    else:
        raise ValueError(
            "give either --policy (with --world or --game, whose game it plays), or --world and "
            "--agent"
        )
    score = player.game.score
    console = Console()
    real = RealScores(player, json_file)
    columns = (
        TextColumn("playing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"episodes, mean {{task.fields[mean]}} {score.unit}"),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=episodes, completed=len(real.scores), mean="-")
            for _ in real.play(episodes, workers):
                progress.update(task, advance=1, mean=rounded(sum(real.scores) / len(real.scores)))
    finally:
        # Also after Ctrl-C, or on a full disk, where the table is all that is left.
        if real.scores:
            show_scores(console, {who: summarise(real.scores)}, score)
    if json_file is not None:
        console.print(f"wrote {json_file}", soft_wrap=True)


def _game(world: str | None, game: str | None) -> Game:
    if world is not None:
        return real_game(find_world(world), game)
    return default_game() if game is None else find_game(game)
