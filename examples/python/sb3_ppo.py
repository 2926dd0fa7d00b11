"""Stable-Baselines3's PPO in the dream.

    python examples/python/sb3_ppo.py --seed 1 --out runs/sb3-1

Its logger writes how the return of the dreams grew ("rollout/ep_rew_mean") to progress.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from genie_env.sb3 import DreamVecEnv


def main(arguments: list[str] | None = None) -> PPO:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", default="doom-take-cover", help="a name or a world directory")
    parser.add_argument("--total-timesteps", type=int, default=2_000_000)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/sb3"))
    args = parser.parse_args(arguments)

    # The monitor counts whole episodes; what is learned from is scaled, so that values are of
    # order one.
    dreams = VecMonitor(DreamVecEnv(args.world, args.num_envs))
    envs = VecNormalize(dreams, norm_obs=False)
    model = PPO(
        "MlpPolicy",
        envs,
        n_steps=128,
        batch_size=32 * args.num_envs,
        n_epochs=4,
        learning_rate=lambda left: 2.5e-4 * left,
        clip_range=0.2,
        ent_coef=0.01,
        seed=args.seed,
    )
    model.set_logger(configure(str(args.out), ["stdout", "csv"]))
    model.learn(args.total_timesteps, log_interval=10)
    model.save(args.out / "agent.zip")
    envs.close()
    return model


if __name__ == "__main__":
    main()
