"""PPO in the dream, in one file, after CleanRL's ppo.py, through Gymnasium's vector interface.

    python examples/python/ppo.py --seed 1 --out runs/ppo-1

It writes how the return of the dreams grew, as curve.csv and curve.png, and the agent.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import deque
from pathlib import Path

import gymnasium
import matplotlib
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

import genie_env

matplotlib.use("Agg")
from matplotlib import pyplot

STEPS = 128  # of every environment between two updates
EPOCHS = 4
MINIBATCHES = 4
LEARNING_RATE = 2.5e-4  # falls to zero
GAMMA = 0.99
LAMBDA = 0.95
CLIP = 0.2
ENTROPY = 0.01
VALUE = 0.5
MAX_GRADIENT = 0.5


def layer(inputs: int, outputs: int, gain: float = 2**0.5) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.critic = nn.Sequential(
            layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, 1.0)
        )
        self.actor = nn.Sequential(
            layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, actions, 0.01)
        )

    def value(self, observations: torch.Tensor) -> torch.Tensor:
        return self.critic(observations).squeeze(-1)

    def policy(self, observations: torch.Tensor) -> Categorical:
        return Categorical(logits=self.actor(observations))


def main(arguments: list[str] | None = None) -> list[tuple[int, float]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", default="doom-take-cover", help="a name or a world directory")
    parser.add_argument("--total-timesteps", type=int, default=2_000_000)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/ppo"))
    args = parser.parse_args(arguments)

    torch.manual_seed(args.seed)
    # The episode that ends begins again in the same step: every row of every step is learned from.
    envs = genie_env.make_vec(args.world, args.num_envs, autoreset_mode="SameStep")
    if not isinstance(envs.single_action_space, gymnasium.spaces.Discrete):
        raise SystemExit(
            f"{args.world} has the actions {envs.single_action_space}, and this script chooses among "
            "numbered ones: give another --world, or take sb3_ppo.py"
        )
    agent = Agent(envs.single_observation_space.shape[0], int(envs.single_action_space.n))
    optimizer = torch.optim.Adam(agent.parameters(), lr=LEARNING_RATE, eps=1e-5)

    shape = (STEPS, args.num_envs)
    observations = torch.zeros((*shape, *envs.single_observation_space.shape))
    actions = torch.zeros(shape, dtype=torch.int64)
    log_odds, rewards, dones, values = (torch.zeros(shape) for _ in range(4))

    observation, _ = envs.reset(seed=args.seed)
    now = torch.as_tensor(observation)
    returns = np.zeros(args.num_envs)
    last_returns: deque[float] = deque(maxlen=100)
    curve: list[tuple[int, float]] = []
    updates = max(1, args.total_timesteps // (STEPS * args.num_envs))
    began = time.monotonic()

    for update in range(updates):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - update / updates)
        for step in range(STEPS):
            with torch.no_grad():
                policy = agent.policy(now)
                action = policy.sample()
                log_odds[step], values[step] = policy.log_prob(action), agent.value(now)
            observations[step], actions[step] = now, action
            observation, reward, terminated, truncated, infos = envs.step(action.numpy())
            now = torch.as_tensor(observation)
            done = terminated | truncated

            # Scaled, so that values are of order one.
            rewards[step] = torch.as_tensor((1 - GAMMA) * reward)
            dones[step] = torch.as_tensor(done)
            for row in truncated.nonzero()[0]:  # the time limit is no death: more would have come
                if not terminated[row]:
                    with torch.no_grad():
                        beyond = agent.value(torch.as_tensor(infos["final_obs"][row]))
                    rewards[step, row] += GAMMA * beyond

            returns += reward
            last_returns.extend(returns[done])
            returns[done] = 0

        # Generalised advantage estimation.
        with torch.no_grad():
            following, advantage = agent.value(now), torch.zeros(args.num_envs)
        advantages = torch.zeros(shape)
        for step in reversed(range(STEPS)):
            goes_on = 1 - dones[step]
            surprise = rewards[step] + GAMMA * following * goes_on - values[step]
            advantage = surprise + GAMMA * LAMBDA * goes_on * advantage
            advantages[step], following = advantage, values[step]

        flat = [x.flatten(0, 1) for x in (observations, actions, log_odds, advantages)]
        targets = (advantages + values).flatten()
        for _ in range(EPOCHS):
            for rows in torch.randperm(targets.numel()).chunk(MINIBATCHES):
                batch, taken, old_log_odds, gain = (x[rows] for x in flat)
                policy = agent.policy(batch)
                ratio = (policy.log_prob(taken) - old_log_odds).exp()
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                policy_loss = -torch.min(gain * ratio, gain * ratio.clamp(1 - CLIP, 1 + CLIP))
                value_loss = (agent.value(batch) - targets[rows]).square() / 2
                loss = (
                    policy_loss.mean()
                    + VALUE * value_loss.mean()
                    - ENTROPY * policy.entropy().mean()
                )
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRADIENT)
                optimizer.step()

        steps = (update + 1) * targets.numel()
        if last_returns:
            curve.append((steps, float(np.mean(last_returns))))
        if curve and ((update + 1) % 10 == 0 or update + 1 == updates):
            speed = steps / (time.monotonic() - began)
            print(
                f"{steps:>9,} dream steps: return {curve[-1][1]:6.0f}, {speed:,.0f} steps/s",
                flush=True,
            )
    envs.close()

    args.out.mkdir(parents=True, exist_ok=True)
    torch.save(agent.state_dict(), args.out / "agent.pt")
    with (args.out / "curve.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("dream_steps", "mean_return_of_100_episodes"), *curve])
    figure, axes = pyplot.subplots(figsize=(5, 3), layout="constrained")
    axes.plot(*zip(*curve, strict=True) if curve else ([], []))
    axes.set(xlabel="dream steps", ylabel="return of the last 100 dreams", ylim=(0, None))
    figure.savefig(args.out / "curve.png", dpi=100)
    pyplot.close(figure)
    return curve


if __name__ == "__main__":
    main()
