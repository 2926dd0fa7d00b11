"""How many labels does it take to play what was learned from video?

`genie-env train clone` learns from a video of play which latent action comes next. To play the real game
it needs a dictionary: for every latent action, after each of the game's actions, the one that came with it
most often, in a few transitions of the video whose recorded action, and the one before, are looked up. This
draws their number against the score in the real game, beside the same network cloned from all recorded
actions, the recorded player itself and random play.

    python examples/python/clone_from_video.py --world doom-genie --game doom-take-cover \\
        --data data/expert --agent runs/clone/agent.safetensors \\
        --recorded runs/clone-recorded/agent.safetensors --out runs/few-labels

Scores are kept in the output directory as they are played: the same command goes on after a kill, and
more --episodes are added to those that are there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from genie_env import World
from genie_env._core import EpisodeStore
from genie_env.agents.real_play import agent_player
from genie_env.data.action_dictionary import check_labelled, labelled_transitions
from genie_env.data.datasets import fingerprint, open_stores
from genie_env.data.files import write_atomically, write_json
from genie_env.data.inferred_actions import inferred_actions
from genie_env.data.labelled_transitions import LabelledTransitions
from genie_env.data.progress import counted, say
from genie_env.data.recording_metadata import first_action, recorded_game
from genie_env.envs.actions import actions_of_world
from genie_env.envs.latent_actions import action_inference
from genie_env.envs.registry import find_world
from genie_env.evaluation.evaluate import FRESH_GAMES, Player, RealScores, blind_player
from genie_env.evaluation.statistics import RESAMPLES, summarise
from genie_env.games.action_map import ActionDictionary
from genie_env.games.real_game import real_game

Scores = NDArray[np.float64]


def dictionaries(
    world: Path,
    data: Sequence[Path],
    stores: Sequence[EpisodeStore],
    numbers: Sequence[int],
    draws: int,
    seed: int,
) -> dict[int, list[ActionDictionary]]:
    """By number of labelled transitions, which are drawn from the training episodes, a dictionary a
    draw. Those of a larger number begin with those of a smaller one."""
    loaded = World.load(str(world))
    inference = action_inference(loaded)
    if inference is None:
        raise SystemExit(f"{world} has the actions of its game: a clone needs no dictionary there")
    inferred = inferred_actions(inference, data, stores)
    every = LabelledTransitions.of(stores, inferred, held_out_part=False)
    start = first_action(stores[0])
    shape = (actions_of_world(loaded.spec.actions).width, recorded_game(data, stores).actions.width)
    for number in numbers:
        check_labelled(number, len(every))

    def dictionary(number: int, draw: int) -> ActionDictionary:
        labels = every.only(labelled_transitions(len(every), number, seed, draw))
        return ActionDictionary(*labels.counts(shape).dictionary(start))

    return {number: [dictionary(number, draw) for draw in range(draws)] for number in numbers}


def over_draws(scores: Scores, beside: Scores) -> dict[str, Any]:
    """The mean of scores [draws, games] and its share of the mean of `beside` [games], each with its
    95 % interval: a percentile bootstrap over draws and over games, which both have in common."""
    draws, games = scores.shape
    random = np.random.Generator(np.random.Philox(key=[draws, games]))
    often = random.multinomial(draws, np.full(draws, 1 / draws), RESAMPLES) / draws
    which = random.multinomial(games, np.full(games, 1 / games), RESAMPLES) / games
    means, others = ((often @ scores) * which).sum(axis=1), which @ beside
    found = {"mean": float(scores.mean()), "ci95": np.percentile(means, [2.5, 97.5]).tolist()}
    if others.min() > 0:  # else a share says nothing
        found["of_recorded"] = float(scores.mean() / beside.mean())
        found["of_recorded_ci95"] = np.percentile(means / others, [2.5, 97.5]).tolist()
    return found


def returns(stores: Sequence[EpisodeStore]) -> Scores:
    """The score of every recorded episode."""
    return np.concatenate([np.add.reduceat(s.rewards, s.episode_starts[:-1]) for s in stores])


def plot(found: dict[str, Any], score: str, file: Path) -> None:
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    panel = figure.subplots()
    numbers = [int(number) for number in found["labels"]]
    curve = list(found["labels"].values())
    means = np.array([each["mean"] for each in curve])
    ends = np.array([each["ci95"] for each in curve])
    label = f"cloned from video, and a dictionary ({found['draws']} draws of the labels)"
    panel.errorbar(numbers, means, np.abs(ends.T - means), fmt="o-", capsize=4, label=label)
    lines = (
        ("recorded", "cloned from every recorded action", "C1", "--"),
        ("player", f"the recorded player ({found['player']['n']} episodes)", "C2", "-."),
        ("random", "random play", "black", ":"),
    )
    for name, label, color, style in lines:
        panel.axhline(found[name]["mean"], color=color, linestyle=style, label=label)
        panel.axhspan(*found[name]["ci95"], color=color, alpha=0.1, linewidth=0)
    panel.set(
        xscale="log",
        xlabel="labelled transitions",
        ylabel=f"{score} in the real game, {found['episodes']} games (95 %)",
        xticks=numbers,
        xticklabels=[f"{number:,}" for number in numbers],
        ylim=(0, None),
    )
    panel.minorticks_off()
    panel.legend(fontsize="small", loc="lower right")
    write_atomically(file, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", required=True, help="of latent actions")
    parser.add_argument("--game", help="the real game, where the world does not name it")
    parser.add_argument("--data", type=Path, action="append", required=True, help="the video")
    parser.add_argument("--agent", type=Path, required=True, help="cloned from latent actions")
    parser.add_argument("--recorded", type=Path, required=True, help="cloned from recorded actions")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 50, 200, 1000])
    parser.add_argument("--draws", type=int, default=20, help="of the labels, for every number")
    parser.add_argument("--episodes", type=int, default=100, help="of each player")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the labels' draws")
    given = parser.parse_args(arguments)

    world, stores = find_world(given.world), open_stores(given.data)
    game = real_game(world, given.game)
    drawn = dictionaries(world, given.data, stores, given.labels, given.draws, given.seed)
    different = {name_of(each): each for several in drawn.values() for each in several}
    lanes = min(16, max(1, given.episodes // (5 * given.workers)))  # few wait for the last games

    def player_of(agent: Path, meant: ActionDictionary | None) -> Player:
        player = agent_player(world, agent, FRESH_GAMES, game=given.game, action_map=meant)
        return replace(player, lanes=lanes)

    players: dict[str, Player] = {
        "random": blind_player("random", FRESH_GAMES, game),
        "recorded": player_of(given.recorded, None),
    }
    for name in sorted(different):
        players[name] = player_of(given.agent, different[name])
    say(f"{len(different)} different dictionaries, {len(players)} players")
    scores: dict[str, Scores] = {}
    for name, player in players.items():
        given.out.mkdir(parents=True, exist_ok=True)
        real = RealScores(player, given.out / f"{name}.json")
        with counted(name, given.episodes, "games", done=len(real.scores)) as advance:
            for _ in real.play(given.episodes, given.workers):
                advance(1)
        scores[name] = np.array(real.scores[: given.episodes])
        say(f"{name}: {scores[name].mean():.0f}")
    found: dict[str, Any] = {
        "world": World.load(str(world)).spec.fingerprint,
        "recordings": [fingerprint(store) for store in stores],
        "episodes": given.episodes,
        "draws": given.draws,
        "seed": given.seed,
        "labels": {
            str(number): {
                **over_draws(np.stack([scores[name_of(d)] for d in several]), scores["recorded"]),
                "dictionaries": dict(Counter(map(name_of, several))),
            }
            for number, several in drawn.items()
        },
        "recorded": summarise(scores["recorded"]).as_json(),
        "player": summarise(returns(stores)).as_json(),
        "random": summarise(scores["random"]).as_json(),
    }
    write_json(given.out / "few-labels.json", found)
    plot(found, str(game.score), given.out / "few-labels.png")
    for number, each in found["labels"].items():
        low, high = each["ci95"]
        say(f"{number} labels: {each['mean']:.0f}, 95 % interval {low:.0f} to {high:.0f}")
    say(f"wrote {given.out / 'few-labels.json'} and {given.out / 'few-labels.png'}")
    return found


def name_of(dictionary: ActionDictionary) -> str:
    """Of the file of its scores, which holds the dictionary itself."""
    content = json.dumps(dictionary.as_json(), sort_keys=True)
    return f"dictionary-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


if __name__ == "__main__":
    main()
