"""`genie_env.envs.sb3` under its short name."""

from genie_env.envs.sb3 import BatchVecEnv, DreamVecEnv

__all__ = ["BatchVecEnv", "DreamVecEnv"]
