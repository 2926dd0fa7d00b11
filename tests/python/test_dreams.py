"""Whole episodes in the dream: scores, dropped rows, what they may not depend on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from random_world import write_random_world

from genie_env import _core
from genie_env.agents.agent import load_agent
from genie_env.agents.controller import FIRST_ACTIONS, LinearController
from genie_env.agents.dreams import BlindPolicies, Controllers, Dreams
from genie_env.agents.evolution import ControllerSettings, train_controller
from genie_env.cli.app import APP
from genie_env.cli.train_controller import train_controller_command
from genie_env.games.registry import find_game

DOOM = find_game("doom-take-cover")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def dreams(world: Path) -> Dreams:
    return Dreams.load(world, options={"termination": "sampled"})


def one_by_one(dreams: Dreams, actions: np.ndarray, seed: int) -> float:
    """An episode alone, by the environment itself."""
    env = _core.VecEnv(dreams.world, num_envs=1, temperature=dreams.temperature)
    env.reset(seeds=[seed])
    score = 0.0
    for action in actions:
        step = env.step(torch.tensor([int(action)]))
        score += float(step.reward)
        if step.terminated or step.truncated:
            return score
    raise AssertionError("the schedule is shorter than the time limit")


def test_scores_are_those_of_the_episodes_alone(dreams: Dreams) -> None:
    seeds = list(range(100, 124))
    scores = dreams.play_blind(DOOM, ["left", "random"], seeds)
    longest = dreams.world.spec.max_episode_steps
    for policy in ("left", "random"):
        alone = [one_by_one(dreams, DOOM.blind_actions(policy, s, longest), s) for s in seeds]
        assert scores[policy].tolist() == alone
    # Else dropping was not tried: they end at different times.
    assert len({*scores["random"].tolist()}) > 5


def test_steps_are_those_of_living_rows(dreams: Dreams) -> None:
    alive = []
    still = BlindPolicies(DOOM, [("still", seed) for seed in range(32)], torch.device("cpu"))
    played = dreams.play(still, list(range(32)), lambda step, n: alive.append(n))
    assert played.steps == played.scores.sum() == 32 + sum(alive)  # reward 1 a step
    assert alive == sorted(alive, reverse=True)
    assert alive[-1] == 0


def test_a_population_plays_as_its_members_do(dreams: Dreams) -> None:
    size = dreams.features[dreams.observation]
    weights = np.random.default_rng(0).standard_normal((5, size)).astype(np.float32)
    seeds = list(range(12))
    owners = np.repeat(np.arange(5), len(seeds))
    together = dreams.play_controllers(weights, owners, seeds * 5).scores.reshape(5, -1)
    for weight, scores in zip(weights, together, strict=True):
        controller = LinearController(weight, dreams.observation, dreams.fingerprint)
        assert dreams.play_agent(controller, seeds).scores.tolist() == scores.tolist()


def test_a_controller_reads_the_observation_it_was_made_for(dreams: Dreams) -> None:
    size = dreams.features["zh"]
    controller = LinearController(np.ones(size, np.float32), "zh", dreams.fingerprint)
    assert dreams.observation == "zch"
    assert len(dreams.play_agent(controller, [1, 2]).scores) == 2
    wrong = LinearController(np.ones(size + 1, np.float32), "zh", dreams.fingerprint)
    with pytest.raises(ValueError, match=f"has {size + 1} weights, but 'zh' has the shape"):
        dreams.play_agent(wrong, [1, 2])


def test_keep_keeps_rows_in_order() -> None:
    rows = torch.tensor([2, 0])
    played = [("random", 7), ("left", 8), ("held", 9)]
    blind = BlindPolicies(DOOM, played, torch.device("cpu"))
    blind.act(torch.zeros(3, 1), 0)
    blind.keep(rows)
    for step in (1, 255, 256, 1000):  # also where longer schedules are drawn
        expected = [int(DOOM.blind_actions(*played[row], step + 1)[-1]) for row in rows]
        assert blind.act(torch.zeros(2, 1), step).tolist() == expected
    controllers = Controllers(FIRST_ACTIONS, torch.tensor([[9.0], [-9.0]]), torch.tensor([0, 1, 1]))
    controllers.keep(rows)
    assert controllers.act(torch.ones(2, 1), 0).tolist() == [0, 2]


def test_termination_and_temperature_are_chosen_on_loading(world: Path) -> None:
    for way in ("sampled", "thresholded"):
        assert Dreams.load(world, options={"termination": way}).options["termination"] == way
    assert Dreams.load(world).temperature == Dreams.load(world).world.spec.temperature
    assert Dreams.load(world, temperature=0.3).temperature == 0.3
    assert Dreams.load(world).at(0.7).temperature == 0.7


def change_config(world: Path, **changes: object) -> None:
    config = json.loads((world / "config.json").read_text())
    (world / "config.json").write_text(json.dumps({**config, **changes}))


def test_blind_policies_take_no_memory_for_steps_that_are_not_played(tmp_path: Path) -> None:
    """As many as a world may have: for a schedule of them nobody has the memory."""
    world = write_random_world(tmp_path / "world")
    change_config(world, max_episode_steps=2**31 - 1)
    scores = Dreams.load(world, options={"termination": "sampled"}).play_blind(
        DOOM, ["random", "left"], range(8)
    )
    assert all((values > 0).all() for values in scores.values())


def test_the_default_observation_is_one_that_a_controller_reads(world: Path) -> None:
    assert Dreams.load(world).observation == "zch"
    genie = Dreams.load("doom-genie")
    assert (genie.observation, genie.features) == ("latents", {"latents": 512, "features": 768})
    tokens = Dreams.load("doom-genie", observation="tokens")
    with pytest.raises(ValueError, match="'tokens', expected a vector of floats, of latents, features; "):
        train_controller(tokens, SETTINGS)
    zero = Controllers(genie.actions, torch.zeros(1, 6, 512), torch.tensor([0, 0]))
    env = _core.VecEnv(genie.world, num_envs=2, observation=genie.observation)
    observation = env.reset(seeds=[1, 2])
    assert zero.act(observation, 0).tolist() == [0, 0]


def test_actions_of_other_meanings_are_refused(tmp_path: Path) -> None:
    world = write_random_world(tmp_path / "world")
    actions = {"meanings": ["right", "stay", "left"], "inputs": [-1.0, 0.0, 1.0]}
    change_config(world, actions=actions)
    words = r"has 3 actions \(right, stay, left\) .* has 3 actions \(left, stay, right\) at frame"
    with pytest.raises(ValueError, match=words):
        Dreams.load(world).play_blind(DOOM, ["left"], [0])


def test_words_of_errors(world: Path) -> None:
    with pytest.raises(ValueError, match="termination.*maybe"):
        Dreams.load(world, options={"termination": "maybe"})
    words = "the observation is 'smell', expected one of zch, zh, pixels, which the world"
    with pytest.raises(ValueError, match=words):
        Dreams.load(world, observation="smell")
    for temperature in (0.0, -1.0, float("inf")):
        with pytest.raises(ValueError, match=f"the temperature is {temperature}; expected"):
            Dreams.load(world, temperature=temperature)


SETTINGS = ControllerSettings(steps=3_000, population=6, dreams=4, seed=1)


def test_training_in_a_dream_repeats_and_resumes(dreams: Dreams, tmp_path: Path) -> None:
    unbroken = list(train_controller(dreams, SETTINGS))
    assert unbroken[-1].steps >= 3_000
    assert unbroken[-1].controller.world == dreams.fingerprint
    assert unbroken[-1].controller.notes["termination"] == "sampled"
    broken = train_controller(dreams, SETTINGS, out=tmp_path)
    next(broken)
    broken.close()
    resumed = list(train_controller(dreams, SETTINGS, out=tmp_path))
    assert [g.mean for g in resumed] == [g.mean for g in unbroken]
    assert [g.score for g in resumed] == [g.score for g in unbroken]
    with pytest.raises(ValueError, match=r"other settings \(seed was 1 and is now 2\)"):
        next(train_controller(dreams, replace(SETTINGS, seed=2), out=tmp_path))


def test_training_starts_from_a_warm_controller(dreams: Dreams) -> None:
    size = dreams.features["zh"]
    warm = LinearController(np.linspace(-1, 1, size, dtype=np.float32), "zh", "cd" * 32)
    first = next(train_controller(dreams, SETTINGS, warm=warm))
    assert first.controller.observation == "zh"
    np.testing.assert_array_equal(first.controller.weight, warm.weight)
    assert first.controller.world == dreams.fingerprint
    long = LinearController(np.ones(size + 1, np.float32), "zh", "cd" * 32)
    with pytest.raises(ValueError, match="it was trained for a world of another size"):
        train_controller(dreams, SETTINGS, warm=long)


def test_the_command(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_controller_command(
        world=str(world), out=tmp_path, steps=2000, population=6, dreams=4, temperature=0.8
    )
    shown = capsys.readouterr().out
    assert "generation 0: survival mean" in shown
    assert "agent.safetensors: " in shown
    agent = load_agent(tmp_path / "agent.safetensors")
    assert agent.notes["temperature"] == "0.8"
    agent.check_world(Dreams.load(world).world)
    for steps, words in (
        ("lots", "expected a number such as 1000"),
        ("0k", "--steps is 0, expected"),
    ):
        command = f"train controller --world {world} --out {tmp_path}/other --steps {steps}"
        with pytest.raises(SystemExit):
            APP.main(command.split(), prog_name="genie-env")
        assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())
