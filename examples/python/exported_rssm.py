"""A recurrent state-space model, as Dreamer's, becomes an environment, and an agent learns in it.

    python examples/python/exported_rssm.py --out runs/rssm --seed 0

The game is CartPole with hidden velocities: the model must remember. Its state, which the agent is
given, is h of a GRU and z, categorical latents.
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

HIDDEN, LATENTS, CLASSES, CODE = 128, 8, 8, 8 * 8
SEQUENCES, STEPS, BATCH, UPDATES, AGENT_STEPS, GAMES = 4000, 40, 32, 400, 80_000, 100


def gather(seed):
    """Games of random linear rules, which fall in many ways: positions x of cart and pole, 1 where
    games end, [SEQUENCES, STEPS + 1, 2]; actions, outcomes (reward, end) [SEQUENCES, STEPS]."""
    env = gymnasium.make_vec("CartPole-v1", SEQUENCES, vectorization_mode="vector_entry_point")
    rng, bounds, (now, _) = np.random.default_rng(seed), [2.4, 0.21], env.reset(seed=seed)
    rules, x, actions, outcomes = rng.normal(size=(SEQUENCES, 4)), [now[:, ::2] / bounds], [], []
    for _ in range(STEPS):
        actions.append(np.int64((rules * now).sum(1) + 0.3 * rng.normal(size=SEQUENCES) > 0))
        now, reward, end, _, _ = env.step(actions[-1])
        x.append(now[:, ::2] / bounds)
        outcomes.append(np.float32([reward, end]).T)
    return [torch.from_numpy(np.stack(each, 1)) for each in (np.float32(x), actions, outcomes)]


def mlp(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 128), nn.SiLU(), nn.Linear(128, outputs))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRUCell(CODE + 2, HIDDEN)
        self.prior, self.posterior = mlp(HIDDEN, CODE), mlp(HIDDEN + 2, CODE)
        self.decoder = mlp(HIDDEN + CODE, 2)
        self.outcome = mlp(HIDDEN + CODE, 2)  # logits of reward 1 and of the end

    def draw(self, logits, uniform, temperature=1):
        """A class of each latent, one-hot, with the gradient of its probabilities."""
        logits = logits.unflatten(1, (LATENTS, CLASSES))
        noisy = logits - temperature * torch.log(-torch.log(uniform))  # of Gumbel's distribution
        drawn = F.one_hot(noisy.argmax(2), CLASSES)
        soft = logits.softmax(2)
        return (drawn + (soft - soft.detach())).flatten(1)  # to the bit one-hot

    def initial(self, context, noise):
        h = torch.zeros(context["x"].shape[0], HIDDEN)
        z = self.draw(self.posterior(torch.cat([h, context["x"]], 1)), noise["z"])
        return {"h": h, "z": z}, {"hz": torch.cat([h, z], 1)}

    def step(self, state, action, temperature, noise):
        h = self.gru(torch.cat([state["z"], F.one_hot(action, 2)], 1), state["h"])
        z = self.draw(self.prior(h), noise["z"], temperature[:, None, None])
        hz = torch.cat([h, z], 1)
        return {"h": h, "z": z}, *torch.sigmoid(self.outcome(hz)).unbind(1), {"hz": hz}


def divergence(one, other):
    """Of the latents' distributions, [N]; one nat of it costs nothing."""
    one, other = (each.unflatten(1, (LATENTS, CLASSES)).log_softmax(2) for each in (one, other))
    return (one.exp() * (one - other)).sum((1, 2)).clamp(min=1)


def train(data, updates):
    """As Dreamer: the posterior tells what is seen and its outcome; the prior learns from it."""
    ends, model = data[2][..., 1], Model()
    taken = ends.cumsum(1) - ends == 0  # steps until a game's end
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for update in range(1, updates + 1):
        rows = torch.randint(SEQUENCES, (BATCH,))
        x, actions, outcomes = (each[rows].unbind(1) for each in data)
        uniform = torch.rand(STEPS + 1, BATCH, LATENTS, CLASSES).clamp(1e-6, 1 - 1e-6)
        state, _ = model.initial({"x": x[0]}, {"z": uniform[0]})
        h, z, losses = state["h"], state["z"], []
        for now, noise, action, outcome in zip(x[1:], uniform[1:], actions, outcomes):
            h = model.gru(torch.cat([z, F.one_hot(action, 2)], 1), h)
            prior, posterior = model.prior(h), model.posterior(torch.cat([h, now], 1))
            z = model.draw(posterior, noise)
            hz = torch.cat([h, z], 1)
            judged = model.outcome(hz)
            errors = 100 * (model.decoder(hz) - now).square()
            errors += F.binary_cross_entropy_with_logits(judged, outcome, reduction="none")
            kl = divergence(posterior.detach(), prior) + 0.1 * divergence(posterior, prior.detach())
            losses.append(errors.sum(1) + kl)
        loss = torch.stack(losses, 1)[taken[rows]].mean()
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
    parser.add_argument("--out", type=Path, default="runs/rssm", help="world directory")
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
        observations={"hz": gymnasium.spaces.Box(-np.inf, np.inf, (HIDDEN + CODE,))},
        noise={"z": ("uniform", (LATENTS, CLASSES))},
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
    print(figures)
    if args.json:
        args.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
