"""The worlds that ship with the package, as whoever installs it finds them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import genie_env
from genie_env import World
from genie_env.agents.agent import load_agent
from genie_env.cli.demo import SHIPPED_AGENT, SHIPPED_CONTROLLER
from genie_env.envs.registry import find_world, installed_worlds
from genie_env.envs.world_card import read_card
from genie_env.training.latent_actions import load_latent_actions


@pytest.mark.parametrize("name", installed_worlds())
def test_is_small_licensed_and_described(name: str) -> None:
    directory = find_world(name)
    assert (directory / "model.safetensors").stat().st_size < 25e6
    if read_card(name).game == "doom-take-cover":  # its pictures have an artwork
        assert "Freedoom" in (directory / "FREEDOOM-NOTICE.txt").read_text()
    assert (directory / "README.md").read_text().startswith(f"# {name}\n")
    assert json.loads((directory / "config.json").read_text())["name"] == name


@pytest.mark.parametrize("name", installed_worlds())
def test_dreams_for_a_while(name: str) -> None:
    env = genie_env.make_vec(name, num_envs=3, seed=1, observation="pixels")
    env.action_space.seed(1)
    frames, _ = env.reset()
    for _ in range(40):
        frames, _, _, _, infos = env.step(env.action_space.sample())
    assert frames.std(axis=(1, 2)).max(axis=-1).min() > 5, "a frame is of one colour"
    assert np.isfinite(infos["surprise"]).all()


@pytest.mark.parametrize("name", installed_worlds())
def test_its_agents_are_of_this_world(name: str) -> None:
    """And its card names them."""
    directory = find_world(name)
    world, card = World.load(directory), (directory / "README.md").read_text()
    networks = {"model.safetensors", "starts.safetensors"}
    agents = {file.name for file in directory.glob("*.safetensors")} - networks
    for agent in agents:
        load_agent(directory / agent).check_world(world)
        assert f"`{agent}`" in card
    assert read_card(name).real_game is None or agents & {SHIPPED_AGENT, SHIPPED_CONTROLLER}


def test_doom_genie_infers_its_latent_actions_from_video() -> None:
    directory = find_world("doom-genie")
    model = load_latent_actions(directory / "latent-actions")
    codes = load_file(directory / "model.safetensors")["action_codes"]
    torch.testing.assert_close(model.codes(), codes.float(), rtol=0, atol=2e-3)


def test_latent_actions_of_doom_genie_move_left_and_right() -> None:
    """Held from the same starts, the codes that its card calls left and right shift the view to
    opposite sides: the scene moves right as the player steps left."""
    left, right, steps = 0, 2, 6
    shifts = {}
    for code in (left, right):
        env = genie_env.make_vec("doom-genie", num_envs=16, seed=3, observation="pixels")
        before, _ = env.reset()
        for _ in range(steps):
            after, *_ = env.step(np.full(16, code))
        shifts[code] = [_shift(a, b) for a, b in zip(before, after, strict=True)]
    assert np.mean(shifts[left]) > 2
    assert np.mean(shifts[right]) < -2


def _shift(before: np.ndarray, after: np.ndarray) -> int:
    """By how many pixels the scene moved to the right: the shift that fits best."""
    one, other = (frame.astype(np.float64).mean(axis=2) for frame in (before, after))
    errors = {}
    for shift in range(-24, 25):
        a = one[:, max(0, -shift) : 64 - max(0, shift)]
        b = other[:, max(0, shift) : 64 - max(0, -shift)]
        errors[shift] = np.square(a - b).mean()
    return min(errors, key=errors.__getitem__)
