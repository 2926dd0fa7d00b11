"""`genie_env.envs.torchrl` under its short name."""

from genie_env.envs.torchrl import DreamTorchRLEnv

__all__ = ["DreamTorchRLEnv"]
