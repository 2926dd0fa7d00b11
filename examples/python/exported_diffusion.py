"""A diffusion model that paints a game of catch becomes an environment, and an agent learns in it.

    python examples/python/exported_diffusion.py --out runs/diffusion --seed 0

The next frame comes of noise in three Euler steps of a flow, given the frame before and the action.
Wind blows the ball about, so that a frame can have several successors.
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

SIDE, CELL, PIXELS, FLOW_STEPS = 8, 2, 16, 3  # cells of the board's side, pixels of a cell's
PLAYED, BATCH, UPDATES, AGENT_STEPS, GAMES = 2000, 64, 2500, 60_000, 100


def gather(seed):
    """Random games: frames, and the actions and outcomes (reward, end) that led to them. A ball
    falls in the wind; actions move the paddle below it left (0), not (1) or right (2)."""
    rng, row = np.random.default_rng(seed), np.arange(PLAYED)
    ball, paddle = rng.integers(SIDE, size=(2, PLAYED))
    actions = rng.integers(3, size=(PLAYED, SIDE))
    frames = np.zeros((PLAYED, SIDE, SIDE, SIDE, 3), np.uint8)
    outcomes = np.zeros((PLAYED, SIDE, 2), np.float32)
    for step in range(SIDE):
        ball = np.clip(ball + rng.choice([-1, 0, 0, 0, 0, 0, 0, 1], PLAYED), 0, SIDE - 1)
        paddle = np.clip(paddle + actions[:, step] - 1, 0, SIDE - 1)
        frames[row, step, step, ball, 0] = 255
        frames[row, step, -1, paddle, 1] = 255
    outcomes[:, -1] = np.stack([ball == paddle, row >= 0], 1)
    pixels = frames.repeat(CELL, 2).repeat(CELL, 3)
    return [torch.from_numpy(array) for array in (pixels, actions, outcomes)]


def planes(frame):
    """As the model has frames, [N, 3, PIXELS, PIXELS] from -1 to 1."""
    return frame.permute(0, 3, 1, 2) / 127.5 - 1


def conv(inputs, outputs, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.SiLU())


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fine = nn.Sequential(conv(3 + 3 + 3 + 1, 16), conv(16, 16))
        self.coarse = nn.Sequential(conv(16, 32, 2), conv(32, 16), nn.Upsample(scale_factor=2))
        self.out = nn.Sequential(conv(16, 16), nn.Conv2d(16, 3, 3, padding=1))
        self.outcome = nn.Sequential(conv(3, 16, 2), nn.Flatten(), nn.Linear(4 * PIXELS**2, 2))

    def clean(self, x, time, frame, action):
        """The frame to which the flow leads that begins at noise, at time 0, and is at x: a small
        U-Net."""
        given = torch.cat([F.one_hot(action, 3).float(), time[:, None]], 1)[:, :, None, None]
        fine = self.fine(torch.cat([x, frame, given.expand(-1, -1, PIXELS, PIXELS)], 1))
        return self.out(fine + self.coarse(fine))

    def arrive(self, frame):
        return {"frame": frame}, *torch.sigmoid(self.outcome(frame)).unbind(1), {}

    def initial(self, context, noise):
        return {"frame": planes(context["frame"])}, {}

    def step(self, state, action, temperature, noise):
        x = noise["frame"] * temperature[:, None, None, None].sqrt()
        for i in range(FLOW_STEPS):
            time = torch.full_like(temperature, i / FLOW_STEPS)
            x = x + (self.clean(x, time, state["frame"], action) - x) / (FLOW_STEPS - i)
        return self.arrive(x.clamp(-1, 1))

    def follow(self, state, action, frame, noise):
        return self.arrive(planes(frame))

    def render(self, state):
        return ((state["frame"].permute(0, 2, 3, 1) + 1) * 127.5).round().to(torch.uint8)


def train(data, updates):
    """By flow matching, beside the outcomes of frames to which noise is added."""
    (frames, actions, outcomes), model = data, Model()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for update in range(1, updates + 1):
        row, step = torch.randint(PLAYED, (BATCH,)), torch.randint(1, SIDE, (BATCH,))
        frame, after = planes(frames[row, step - 1]), planes(frames[row, step])
        noise, time = torch.randn_like(after), torch.randint(FLOW_STEPS, (BATCH,)) / FLOW_STEPS
        x = torch.lerp(noise, after, time[:, None, None, None])
        blurred = frame + 0.3 * torch.randn_like(frame)  # as dreamed frames are not quite sharp
        painted = model.clean(x, time, blurred, actions[row, step])
        judged = model.outcome(after + 0.1 * torch.randn_like(after))
        loss = 10 * F.mse_loss(painted, after)
        loss += F.binary_cross_entropy_with_logits(judged, outcomes[row, step])
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
    parser.add_argument("--out", type=Path, default="runs/diffusion", help="world directory")
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
        observations={},
        noise={"frame": ("normal", (3, PIXELS, PIXELS))},
        starts={"frame": data[0][:, 0]},
        max_episode_steps=2 * SIDE,
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
