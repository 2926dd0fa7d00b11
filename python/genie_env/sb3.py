"""`genie_env.envs.sb3` under its short name."""

from genie_env.envs.sb3 import DreamVecEnv

__all__ = ["DreamVecEnv"]
