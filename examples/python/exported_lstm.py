"""An LSTM that has learned CartPole becomes an environment, and an agent learns in it.

    python examples/python/exported_lstm.py --out runs/lstm --seed 0

It gives a Gaussian of the next state vector and the probability of an end; every reward is 1.
The agent learns in dreams alone, and then plays the real game too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from torch import nn
from torch.nn import functional as F

import genie_env
from genie_env.sb3 import DreamVecEnv

SEQUENCES, STEPS, BATCH, HIDDEN = 4000, 48, 32, 64
UPDATES, AGENT_STEPS, GAMES = 600, 100_000, 100


def gather(seed):
    """Games of random linear rules, which fall in many ways: state vectors x,
    [SEQUENCES, STEPS + 1, 4]; actions and ends, [SEQUENCES, STEPS]."""
    env = gymnasium.make_vec("CartPole-v1", SEQUENCES, vectorization_mode="vector_entry_point")
    rng = np.random.default_rng(seed)
    rules, x, actions, ends = rng.normal(size=(SEQUENCES, 4)), [env.reset(seed=seed)[0]], [], []
    for _ in range(STEPS):
        noise = 0.3 * rng.normal(size=SEQUENCES)
        actions.append(((rules * x[-1]).sum(1) + noise > 0).astype(np.int64))
        after, _, end, _, _ = env.step(actions[-1])
        x.append(after)
        ends.append(end.astype(np.float32))
    return [torch.from_numpy(np.stack(each, 1)) for each in (x, actions, ends)]


class Model(nn.Module):
    def __init__(self, scale, change):
        super().__init__()
        self.register_buffer("scale", scale)  # standard deviation of x, [4]
        self.register_buffer("change", change)  # of how much x changes in a step, [4]
        self.lstm = nn.LSTMCell(4 + 2, HIDDEN)
        self.head = nn.Sequential(nn.Linear(HIDDEN, 64), nn.ReLU(), nn.Linear(64, 8))
        self.end = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 1))

    def predict(self, x, action, hidden=None):
        """Mean and standard deviation of the change of x, in units of `change`; h and c."""
        h, c = self.lstm(torch.cat([x / self.scale, F.one_hot(action, 2).float()], 1), hidden)
        mean, deviation = self.head(h).chunk(2, 1)
        return mean, F.softplus(deviation) + 0.02, (h, c)

    def end_logit(self, x):
        return self.end(x / self.scale)[..., 0]

    def initial(self, context, noise):
        x = context["x"]
        zero = x.new_zeros(x.shape[0], HIDDEN)
        return {"x": x, "h": zero, "c": zero}, {"x": x}

    def step(self, state, action, temperature, noise):
        mean, deviation, (h, c) = self.predict(state["x"], action, (state["h"], state["c"]))
        drawn = mean + deviation * temperature[:, None].sqrt() * noise["x"]
        x = state["x"] + self.change * drawn
        end = torch.sigmoid(self.end_logit(x))
        return {"x": x, "h": h, "c": c}, torch.ones_like(end), end, {"x": x}


def train(data, updates):
    """By the likelihood of the steps until a game's end."""
    x, _, ends = data
    taken = ends.cumsum(1) - ends == 0
    model = Model(x[:, :-1][taken].std(0), x.diff(dim=1)[taken].std(0))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for update in range(1, updates + 1):
        rows = torch.randint(SEQUENCES, (BATCH,))
        (x, actions, ends), hidden, losses = (each[rows] for each in data), None, []
        for now, action, change in zip(x.unbind(1), actions.T, x.diff(dim=1).unbind(1)):
            mean, deviation, hidden = model.predict(now, action, hidden)
            likely = torch.distributions.Normal(mean, deviation).log_prob(change / model.change)
            losses.append(-likely.sum(1))
        logit = model.end_logit(x[:, 1:])
        judged = F.binary_cross_entropy_with_logits(logit, ends, reduction="none")
        loss = (torch.stack(losses, 1) + judged)[taken[rows]].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 100 == 0:
            print(f"update {update}: loss {loss:.3f}")
    return model.eval()


class RandomPlay:
    def predict(self, observations, **_):
        return np.random.randint(2, size=len(observations)), None


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default="runs/lstm", help="world directory")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--effort", type=float, default=1, help="share of the training")
    args = parser.parse_args(arguments)
    torch.manual_seed(args.seed)
    data = gather(args.seed)
    world = genie_env.export_world(
        train(data, round(args.effort * UPDATES)),
        args.out,
        action_space=gymnasium.spaces.Discrete(2),
        observations={"x": gymnasium.spaces.Box(-np.inf, np.inf, (4,))},
        noise={"x": ("normal", (4,))},
        starts={"x": data[0][:, 0]},
        max_episode_steps=200,
    )
    print(*genie_env.check_world(world), sep="\n")
    ppo = {"n_steps": 32, "batch_size": 256, "gamma": 0.98, "learning_rate": 1e-3}
    agent = PPO("MlpPolicy", DreamVecEnv(world, 64), seed=args.seed, **ppo)
    agent.learn(round(args.effort * AGENT_STEPS))
    dreams, figures = DreamVecEnv(world, GAMES), {}
    for name, player in {"agent": agent, "random": RandomPlay()}.items():
        dreams.seed(10_000)
        figures[name] = evaluate_policy(player, dreams, GAMES, warn=False)[0]
        games = make_vec_env("CartPole-v1", GAMES, seed=10_000)
        figures[f"{name}_real"] = evaluate_policy(player, games, GAMES)[0]
    print(figures)
    if args.json:
        args.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
