"""`genie-env train ppo`: what it learns, keeps and refuses, and the agents it leaves."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from random_world import write_boxed_world

from genie_env.agents.agent import load_agent
from genie_env.agents.dreams import Dreams
from genie_env.agents.policy_network import PolicyNetwork
from genie_env.agents.ppo import PpoSettings, train_ppo
from genie_env.agents.ppo_envs import dream_envs
from genie_env.agents.ppo_run import PpoRun
from genie_env.cli.app import APP
from genie_env.evaluation.dream_score import dream_scores

SMALL = PpoSettings(steps=256, num_envs=4, horizon=32, batch=64, epochs=2, units=16)


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_boxed_world(tmp_path_factory.mktemp("worlds") / "boxed")


@pytest.mark.parametrize("observation", ["zch", "pixels"])
def test_an_agent_file_plays_as_what_was_trained(
    random_world: Path, tmp_path: Path, observation: str
) -> None:
    dreams = Dreams.load(random_world, observation=observation)
    *_, last = train_ppo(dreams, replace(SMALL, steps=128), out=tmp_path)
    agent = load_agent(tmp_path / "agent.safetensors")
    assert isinstance(agent, PolicyNetwork) and agent.kind == "policy-network"
    agent.check_world(dreams.world)
    assert (agent.observation, agent.notes["steps"]) == (observation, "128")
    one, other = (dreams.play_agent(each, [1, 2, 3]).scores for each in (last.agent, agent))
    assert one.tolist() == other.tolist()
    scores = dream_scores(dreams, tmp_path / "agent.safetensors", seed=0, episodes=4)
    assert len(scores["scores"]) == 4


def test_a_policy_is_the_librarys(random_world: Path) -> None:
    """Its greedy actions are those of Stable-Baselines3's own policy on normalised observations."""
    dreams = Dreams.load(random_world)
    run = PpoRun(dreams, dream_envs(dreams, SMALL.num_envs), SMALL, {}, None, None)
    *_, last = run.updates()
    observation = torch.randn(50, len(last.agent.weights["mean"]))
    normal = run._envs.normalize_obs(observation.numpy())
    expected, _ = run._model.predict(normal, deterministic=True)
    assert last.agent.act(observation).tolist() == expected.tolist()
    run.close()


def test_nothing_is_left_in_the_temporary_directory(
    random_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    list(train_ppo(Dreams.load(random_world), SMALL))
    assert list(tmp_path.iterdir()) == []


def test_the_learning_rate_falls_to_0(random_world: Path) -> None:
    dreams = Dreams.load(random_world)
    settings = replace(SMALL, steps=512)
    run = PpoRun(dreams, dream_envs(dreams, settings.num_envs), settings, {}, None, None)
    rates = [run._model.policy.optimizer.param_groups[0]["lr"] for _ in run.updates()]
    assert rates == [pytest.approx(settings.learning_rate * left) for left in (1, 0.75, 0.5, 0.25)]
    run.close()


def test_continuous_actions_are_learned(boxed: Path) -> None:
    *_, last = train_ppo(Dreams.load(boxed), SMALL)
    assert last.steps == 256
    observation = 9 * torch.randn(20, len(last.agent.weights["mean"]))
    space = last.agent.actions.space
    actions = last.agent.act(observation)
    assert actions.shape == (20, 2) and all(space.contains(each) for each in actions.numpy())


def test_deviation_and_lambda_reach_the_library(boxed: Path) -> None:
    dreams = Dreams.load(boxed)
    settings = replace(SMALL, deviation=0.25, gae_lambda=0.5)
    run = PpoRun(dreams, dream_envs(dreams, settings.num_envs), settings, {}, None, None)
    torch.testing.assert_close(run._model.policy.log_std.exp().detach(), torch.full((2,), 0.25))
    assert run._model.rollout_buffer.gae_lambda == 0.5  # type: ignore[attr-defined]
    run.close()


def test_numbered_actions_have_no_deviation(random_world: Path) -> None:
    with pytest.raises(ValueError, match=r"deviation is 0.5, but the actions of the world random are"):
        train_ppo(Dreams.load(random_world), replace(SMALL, deviation=0.5))


def test_dreams_that_are_cut_off_are_worth_what_may_follow(random_world: Path) -> None:
    """The library adds the value of the last observation where an episode was truncated."""
    dreams = Dreams.load(random_world)
    endless = replace(dreams, termination_fn=lambda before, actions, after: np.zeros(3, bool))
    envs = dream_envs(endless, 3, 4)
    envs.reset()
    for step in range(1, 9):
        _, _, done, infos = envs.step(np.zeros(3, np.int64))
        cut = [info["TimeLimit.truncated"] for info in infos]
        assert done.tolist() == [step % 4 == 0] * 3 and cut == done.tolist()
    envs.close()
    longest = dreams.world.spec.max_episode_steps
    *_, cut_off = train_ppo(dreams, replace(SMALL, max_episode_steps=5))
    *_, whole = train_ppo(dreams, replace(SMALL, max_episode_steps=longest))
    *_, unless_given = train_ppo(dreams, SMALL)
    for name, weights in unless_given.agent.weights.items():
        assert torch.equal(whole.agent.weights[name], weights)
    assert any(not torch.equal(cut_off.agent.weights[n], w) for n, w in whole.agent.weights.items())


def test_the_command_passes_them_on(boxed: Path, tmp_path: Path) -> None:
    options = "--steps 64 --dreams 2 --horizon 32 --units 8 --deviation 0.5 --gae-lambda 0.7 --max-episode-steps 9"
    arguments = ["train", "ppo", "--world", str(boxed), "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit):
        APP.main([*arguments, *options.split()], prog_name="genie-env")
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    given = settings["deviation"], settings["gae_lambda"], settings["max_episode_steps"]
    assert given == (0.5, 0.7, 9)


def test_a_run_of_before_there_were_these_settings_goes_on(boxed: Path, tmp_path: Path) -> None:
    dreams = Dreams.load(boxed)
    next(train_ppo(dreams, SMALL, out=tmp_path))
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert (settings.pop("deviation"), settings.pop("gae_lambda")) == (1, 0.95)
    assert settings.pop("max_episode_steps") is None
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"deviation was 1.0 and is now 0.5"):
        next(train_ppo(dreams, replace(SMALL, deviation=0.5), out=tmp_path))
    assert next(train_ppo(dreams, SMALL, out=tmp_path)).steps == 256


def test_a_run_that_was_stopped_goes_on(random_world: Path, tmp_path: Path) -> None:
    dreams = Dreams.load(random_world)
    run = train_ppo(dreams, SMALL, out=tmp_path)
    assert next(run).steps == 128
    run.close()
    assert [update.steps for update in train_ppo(dreams, SMALL, out=tmp_path)] == [256]
    assert [update.steps for update in train_ppo(dreams, SMALL, out=tmp_path)] == [256]
    longer = train_ppo(dreams, replace(SMALL, steps=300), out=tmp_path)
    assert [update.steps for update in longer] == [384]
    with pytest.raises(ValueError, match=r"other settings \(seed was 0 and is now 1\)"):
        next(train_ppo(dreams, replace(SMALL, seed=1), out=tmp_path))
    checkpoint = tmp_path / "checkpoint.pt"
    for damaged in (checkpoint.read_bytes()[:100], b"no archive"):
        checkpoint.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"checkpoint.pt is damaged \(\w.*: bring it back from"):
            next(train_ppo(dreams, replace(SMALL, steps=500), out=tmp_path))


def test_a_seed_gives_one_run_and_nobody_elses_draws_change(random_world: Path) -> None:
    dreams = Dreams.load(random_world, observation="zh")

    def learned() -> list[dict[str, torch.Tensor]]:
        return [update.agent.weights for update in train_ppo(dreams, SMALL)]

    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    before = torch.rand(2), np.random.rand(2), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    one = learned()
    after = torch.rand(2), np.random.rand(2), random.random()
    assert torch.equal(before[0], after[0]) and before[2] == after[2]
    assert (before[1] == after[1]).all()
    for a, b in zip(one, learned(), strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_what_a_network_cannot_read_is_refused() -> None:
    tokens = Dreams.load("doom-genie", observation="tokens")
    with pytest.raises(ValueError, match="not from numbers that name tokens: give --observation lat"):
        train_ppo(tokens, SMALL)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps is 0; expected 1 or more"),
        ({"batch": 1}, "batch is 1; expected 2 or more"),
        ({"horizon": 1}, "horizon is 1; expected 2 or more"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected a number above 0"),
        ({"gae_lambda": 1.5}, "gae_lambda is 1.5; expected a number from 0 to 1"),
        ({"deviation": 0.0}, "deviation is 0.0; expected a number above 0"),
        ({"discount": 1.5}, "discount is 1.5; expected a number above 0, at most 1"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0; expected action_repeat, 1, or more"),
        (
            {"max_episode_steps": 3, "action_repeat": 4},
            "max_episode_steps is 3; expected action_repeat, 4, or more",
        ),
        ({"entropy": -1.0}, "entropy is -1.0; expected a number of at least 0"),
        ({"seed": 2**32}, "seed is 4294967296; expected 0 to"),
    ],
)
def test_settings_that_cannot_be(random_world: Path, changes: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        train_ppo(Dreams.load(random_world), replace(SMALL, **changes))


def test_an_agent_of_another_kind_of_world_is_refused(
    random_world: Path, boxed: Path, tmp_path: Path
) -> None:
    *_, last = train_ppo(Dreams.load(random_world), replace(SMALL, steps=1))
    with pytest.raises(ValueError, match=r"among 3 actions .*, but the world random has actions \[2\]"):
        last.agent.check_fits(Dreams.load(boxed).world.spec)
    *_, seen = train_ppo(Dreams.load(random_world, observation="pixels"), replace(SMALL, steps=1))
    seen.agent.save(tmp_path / "seen.safetensors")
    wide = PolicyNetwork(
        last.agent.weights | {"mean": torch.zeros(7)}, "zch", "ab" * 32, {}, last.agent.actions
    )
    with pytest.raises(ValueError, match=r"the agent reads \[7\], but 'zch' has the shape \[80\]"):
        wide.check_fits(Dreams.load(random_world).world.spec)


def test_the_command(random_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--steps 200 --dreams 4 --horizon 32 --units 8 --temperature 0.8"
    arguments = ["train", "ppo", "--world", str(random_world), "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        APP.main([*arguments, *options.split()], prog_name="genie-env")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "agent.safetensors: survival mean" in shown and "0.00 M steps" in shown
    agent = load_agent(tmp_path / "run" / "agent.safetensors")
    assert agent.notes["temperature"] == "0.8" and agent.notes["steps"] == "256"
    with pytest.raises(SystemExit):
        APP.main([*arguments, *options.split()], prog_name="genie-env")
    *_, last = capsys.readouterr().out.splitlines()
    assert "in the dream, after 0.00 M steps" in last, "no rate: it was finished"
