"""A transformer that has learned to play catch becomes an environment, and an agent learns in it.

    python examples/python/exported_transformer.py --out runs/transformer --seed 0

Its state is a ring of the keys and values of the last MEMORY boards, each of which is one token.
Every cell of the next board is sampled.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from torch import nn
from torch.nn import functional as F

import genie_env
from genie_env.sb3 import DreamVecEnv

# Sides of a board, whose cells are empty (0), the ball (1) or the paddle (2).
HEIGHT, WIDTH, KINDS = 10, 5, 3
MEMORY, HEADS, SIZE, PLAYED, BATCH = 6, 4, 64, 2000, 64
UPDATES, AGENT_STEPS, GAMES = 500, 40_000, 100


def gather(seed):
    """Random games: boards, and the actions and outcomes (reward, end) that led to them. A ball
    falls; actions move the paddle below it left (0), not (1) or right (2)."""
    rng, row = np.random.default_rng(seed), np.arange(PLAYED)
    ball, paddle = rng.integers(WIDTH, size=(2, PLAYED))
    actions = rng.integers(3, size=(PLAYED, HEIGHT))
    boards = np.zeros((PLAYED, HEIGHT, HEIGHT, WIDTH), np.int64)
    outcomes = np.zeros((PLAYED, HEIGHT, 2), np.float32)
    for step in range(HEIGHT):
        paddle = np.clip(paddle + actions[:, step] - 1, 0, WIDTH - 1)
        boards[row, step, -1, paddle] = 2
        boards[row, step, step, ball] = 1
    outcomes[:, -1] = np.stack([ball == paddle, row >= 0], 1)
    return [torch.from_numpy(array) for array in (boards, actions, outcomes)]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.board = nn.Linear(HEIGHT * WIDTH * KINDS, SIZE)
        self.action = nn.Embedding(3, SIZE)
        self.read, self.write = nn.Linear(SIZE, 3 * SIZE), nn.Linear(SIZE, SIZE)
        self.bias = nn.Parameter(torch.zeros(HEADS, MEMORY))  # of a board so many steps ago
        self.mlp = nn.Sequential(nn.Linear(SIZE, 2 * SIZE), nn.GELU(), nn.Linear(2 * SIZE, SIZE))
        self.cells, self.outcome = nn.Linear(SIZE, HEIGHT * WIDTH * KINDS), nn.Linear(SIZE, 2)

    def predict(self, board, ring, age, action):
        """Logits of the next board's cells, and of reward 1 and end; the ring."""
        x = self.board(F.one_hot(board, KINDS).float().flatten(1)) + self.action(action)
        query, *new = self.read(F.rms_norm(x, (SIZE,))).unflatten(1, (3, HEADS, 1, -1)).unbind(1)
        slot, age = torch.arange(MEMORY), age[:, None]
        written = (slot == age % MEMORY)[:, None, None, :, None]
        ring = torch.where(written, torch.stack(new, 1), ring)
        ago = (age - slot) % MEMORY
        bias = self.bias[:, ago].movedim(0, 1).masked_fill((ago > age)[:, None], -1e9)
        read = F.scaled_dot_product_attention(query, *ring.unbind(1), bias[:, :, None])
        x = x + self.write(read.flatten(1))
        x = x + self.mlp(F.rms_norm(x, (SIZE,)))
        return self.cells(x).unflatten(1, (HEIGHT, WIDTH, KINDS)), self.outcome(x), ring

    def initial(self, context, noise):
        board, age = context["board"], torch.zeros_like(context["board"][:, 0, 0])
        ring = torch.zeros(board.shape[0], 2, HEADS, MEMORY, SIZE // HEADS)
        return {"board": board, "ring": ring, "age": age}, {"board": board.to(torch.uint8)}

    def step(self, state, action, temperature, noise):
        cells, outcome, ring = self.predict(**state, action=action)
        gumbel = -torch.log(-torch.log(noise["cells"]))
        board = (cells + temperature[:, None, None, None] * gumbel).argmax(-1)
        after = {"board": board, "ring": ring, "age": state["age"] + 1}
        return after, *torch.sigmoid(outcome).unbind(1), {"board": board.to(torch.uint8)}


def train(data, updates):
    """Unrolls the model along games, whose boards it is given."""
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for update in range(1, updates + 1):
        rows = torch.randint(PLAYED, (BATCH,))
        boards, actions, outcomes = (each[rows].unbind(1) for each in data)
        (state, _), loss = model.initial({"board": boards[0]}, {}), 0
        for action, board, outcome in zip(actions[1:], boards[1:], outcomes[1:]):
            cells, judged, ring = model.predict(**state, action=action)
            loss += F.cross_entropy(cells.movedim(-1, 1), board, reduction="sum") / BATCH
            loss += F.binary_cross_entropy_with_logits(judged, outcome)
            state = {"board": board, "ring": ring, "age": state["age"] + 1}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 100 == 0:
            print(f"update {update}: loss {loss:.4f}")
    return model.eval()


class RandomPlay:
    def predict(self, observations, **_):
        return np.random.randint(3, size=len(observations)), None


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default="runs/transformer", help="world directory")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--effort", type=float, default=1, help="share of the training")
    args = parser.parse_args(arguments)
    torch.manual_seed(args.seed)
    data = gather(args.seed)
    world = genie_env.export_world(
        train(data, round(args.effort * UPDATES)),
        args.out,
        action_space=gymnasium.spaces.Discrete(3),
        observations={"board": gymnasium.spaces.Box(0, KINDS - 1, (HEIGHT, WIDTH), np.uint8)},
        noise={"cells": ("uniform", (HEIGHT, WIDTH, KINDS))},
        starts={"board": data[0][:, 0]},
        max_episode_steps=2 * HEIGHT,
    )
    print(*genie_env.check_world(world), sep="\n")
    agent = PPO("MlpPolicy", DreamVecEnv(world, 64), n_steps=32, batch_size=256, seed=args.seed)
    agent.learn(round(args.effort * AGENT_STEPS))
    dreams, figures = DreamVecEnv(world, GAMES), {}
    for name, player in {"agent": agent, "random": RandomPlay()}.items():
        dreams.seed(10_000)
        figures[name] = evaluate_policy(player, dreams, GAMES, warn=False)[0]
    print(figures)
    if args.json:
        args.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
