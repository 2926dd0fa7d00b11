"""PPO (Schulman et al. 2017) trains a small network, entirely inside the dream or in the real game.

The algorithm is Stable-Baselines3's, which reads both through `genie_env.sb3`. What is kept is a
PolicyNetwork, which needs neither.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from genie_env.agents.agent import AGENT
from genie_env.agents.dreams import Dreams
from genie_env.agents.policy_network import PolicyNetwork
from genie_env.agents.ppo_envs import RealGames, dream_envs, repeated
from genie_env.agents.ppo_run import CHECKPOINT, PpoRun, steps_of
from genie_env.agents.ppo_settings import PpoSettings, PpoUpdate
from genie_env.data.run_directory import Settings, claim_run
from genie_env.envs.actions import DiscreteActions

__all__ = ["PpoSettings", "PpoUpdate", "train_ppo"]

LEAST_SIDE = 36
"""Of pictures: the convolutions leave nothing of smaller ones."""


def train_ppo(
    dreams: Dreams,
    settings: PpoSettings,
    *,
    real_games: RealGames | None = None,
    out: Path | None = None,
    on_begin: Callable[[int], None] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Iterator[PpoUpdate]:
    """Trains a policy in `dreams`, an update at a time; the last one's agent is the result.

    Reads the observation of `dreams`: floats of any shape, or pictures. A run in `out` that was
    stopped goes on after its last update. `real_games`: train there instead (a baseline); the dreams
    then only say what the agent sees. `on_begin` is called once with the number of
    steps that the run in `out` has, `on_step` after every step with that of all. Raises ValueError
    where the observation is neither, where a setting cannot be or has no meaning, and at the first
    update where the run in `out` had others; ImportError without Stable-Baselines3. The global
    random generators of torch, NumPy and Python are as before after every update.
    """
    settings.check()
    check_readable(dreams)
    if settings.deviation != PpoSettings.deviation and isinstance(dreams.actions, DiscreteActions):
        raise ValueError(
            f"deviation is {settings.deviation:g}, but the actions of the world "
            f"{dreams.world.spec.name} are numbered and have none: leave it out"
        )
    if settings.max_episode_steps is not None and real_games is not None:
        raise ValueError(
            f"max_episode_steps is {settings.max_episode_steps}, but the real game's episodes end where "
            "the game ends them: leave it out"
        )
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "train ppo needs Stable-Baselines3: pip install 'genie_env[sb3]'"
        ) from error
    how = dreams.settings if real_games is None else real_games.settings
    identity = {
        "agent": PolicyNetwork.kind,
        "observation": dreams.observation,
        "world": dreams.fingerprint,
        "dtype": dreams.world.spec.dtype,
        **how,
        **dataclasses.asdict(settings),
    }
    del identity["steps"]  # may be raised

    def updates() -> Iterator[PpoUpdate]:
        kept = [CHECKPOINT, AGENT]
        claim = contextlib.nullcontext() if out is None else claim_run(out, identity, kept, as_today)
        with claim:
            if on_begin is not None:
                on_begin(steps_of(out))
            count = settings.num_envs
            envs = (
                dream_envs(dreams, count, settings.max_episode_steps)
                if real_games is None
                else real_games.envs(count)
            )
            envs = repeated(envs, settings.action_repeat)
            with contextlib.closing(PpoRun(dreams, envs, settings, how, out, on_step)) as run:
                yield from run.updates()

    return updates()


def as_today(known: Settings) -> Settings:
    """The settings of a run of before there were these."""
    today = {"deviation": 1.0, "gae_lambda": 0.95, "action_repeat": 1, "max_episode_steps": None}
    return {**today, **known}


def check_readable(dreams: Dreams) -> None:
    """Raises ValueError unless a network can learn from the observation in use."""
    spec = next(o for o in dreams.world.spec.observations if o.name == dreams.observation)
    shape, pictures = tuple(spec.shape), spec.dtype == "uint8" and len(spec.shape) == 3
    others = [o.name for o in dreams.world.spec.observations if o.dtype != "int64"]
    if pictures and min(shape[:2]) < LEAST_SIDE:
        raise ValueError(
            f"{dreams.observation!r} are pictures of {shape[0]} x {shape[1]}; a policy's "
            f"convolutions read sides of {LEAST_SIDE} or more: give another --observation"
        )
    if not pictures and spec.dtype != "float32":
        raise ValueError(
            f"{dreams.observation!r} is {spec.dtype} {list(shape)}; a network learns from floats or "
            f"pictures, not from numbers that name tokens: give --observation {' or '.join(others)}"
        )
