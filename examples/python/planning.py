"""Plans in the dream: the cross-entropy method over forks of one snapshot.

Several players dream of Doom at once. Before every move each of them is forked many times, with new
seeds: no planner knows its player's future, so each plan is tried in a few futures of its own. The
plans that lived longest on average say what is tried next, and what they begin with is the move.

    python examples/python/planning.py

It says how long planners live, and how long those who move at random.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np
from numpy.typing import NDArray

import genie_env

Ints = NDArray[np.int64]
RANDOM_PLAYERS = 256  # they cost little


@dataclass
class Planner:
    """Chooses a move (an action that is held) for every player."""

    world: str
    players: int
    plans: int  # that are tried for each player
    futures: int  # in which each of them is tried
    rounds: int  # of trying them
    length: int  # of a plan, in moves
    hold: int  # steps that a move lasts

    def __post_init__(self) -> None:
        self.per_player = self.plans * self.futures
        self.forks = genie_env.make_vec(
            self.world, self.players * self.per_player, max_episode_steps=0
        )
        space = self.forks.single_action_space
        if not isinstance(space, gymnasium.spaces.Discrete):
            raise SystemExit(
                f"{self.world} has the actions {space}, and a plan is made of numbered ones: give "
                "another --world"
            )
        self.actions = int(space.n)
        self.generator = np.random.default_rng(0)

    def __call__(self, players: genie_env.DreamVectorEnv) -> Ints:
        snapshot = players.snapshot(np.repeat(np.arange(self.players), self.per_player))
        probabilities = np.full((self.players, 1, self.length, self.actions), 1 / self.actions)
        for _ in range(self.rounds):
            draws = self.generator.random((self.players, self.plans, self.length, 1))
            plans = (probabilities.cumsum(-1)[..., :-1] < draws).sum(-1)
            lived = self.try_out(snapshot, plans)
            best = np.argsort(-lived, axis=1)[:, : self.plans // 4]
            elite = np.take_along_axis(plans, best[..., None], axis=1)
            chosen = (elite[..., None] == np.arange(self.actions)).mean(1, keepdims=True)
            probabilities = 0.2 * probabilities + 0.8 * chosen
        return probabilities[:, 0, 0].argmax(-1)

    def try_out(self, snapshot: genie_env.Snapshot, plans: Ints) -> NDArray[np.float64]:
        """How many steps each plan [players, plans, length] lives, on average over its futures."""
        futures = self.generator.integers(2**32, size=(self.players, 1, self.futures))
        seeds = np.broadcast_to(futures, (self.players, self.plans, self.futures))
        self.forks.restore(snapshot, seed=seeds.flatten())
        alive = np.ones(seeds.size, bool)
        lived = np.zeros(seeds.size)
        for move in plans.repeat(self.futures, axis=1).reshape(-1, self.length).T:
            for _ in range(self.hold):
                alive &= ~self.forks.step(move)[2]
                lived += alive
        means = lived.reshape(seeds.shape).mean(-1)
        return means + 1e-3 * self.generator.random(means.shape)  # any of equals


def survival(
    world: str,
    players: int,
    limit: int,
    hold: int,
    choose: Callable[[genie_env.DreamVectorEnv], Ints],
    seed: int,
) -> float:
    """Steps that players live on average, `limit` at most, when `choose` chooses their moves."""
    env = genie_env.make_vec(world, players, max_episode_steps=limit)
    env.reset(seed=seed)
    alive = np.ones(players, bool)
    lived = np.zeros(players)
    for step in range(limit):
        if step % hold == 0:
            moves = choose(env)
        _, _, terminations, truncations, _ = env.step(moves)
        lived += alive
        alive &= ~(terminations | truncations)
        if not alive.any():
            break
    return float(lived.mean())


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", default="doom-take-cover")
    parser.add_argument("--players", type=int, default=12)
    parser.add_argument("--plans", type=int, default=24, help="that are tried for each player")
    parser.add_argument("--futures", type=int, default=3, help="in which each plan is tried")
    parser.add_argument("--rounds", type=int, default=2, help="of trying plans before each move")
    parser.add_argument("--length", type=int, default=6, help="of a plan, in moves")
    parser.add_argument("--hold", type=int, default=30, help="steps that a move lasts")
    parser.add_argument("--limit", type=int, default=400, help="steps of an episode")
    given = parser.parse_args(arguments)

    planner = Planner(
        world=given.world,
        players=given.players,
        plans=given.plans,
        futures=given.futures,
        rounds=given.rounds,
        length=given.length,
        hold=given.hold,
    )
    generator = np.random.default_rng(1)

    def at_random(env: genie_env.DreamVectorEnv) -> Ints:
        return generator.integers(planner.actions, size=env.num_envs)

    planned = survival(given.world, given.players, given.limit, given.hold, planner, seed=0)
    random = survival(given.world, RANDOM_PLAYERS, given.limit, given.hold, at_random, seed=0)
    print(f"of {given.limit} steps, planners lived {planned:.0f} and random players {random:.0f}")
    return planned, random


if __name__ == "__main__":
    main()
