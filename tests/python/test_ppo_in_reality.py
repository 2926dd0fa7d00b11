"""`genie-env train ppo --reality`: a network learns in the real game, which it sees through a world."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_real_env import COUNTER, counter_world

from genie_env import RealVectorEnv
from genie_env.agents.agent import load_agent
from genie_env.agents.dreams import Dreams
from genie_env.agents.ppo import PpoSettings, train_ppo
from genie_env.agents.ppo_envs import RealGames
from genie_env.cli.app import APP
from genie_env.cli.record import record
from genie_env.envs.sb3 import BatchVecEnv
from genie_env.games.registry import find_game

SMALL = PpoSettings(steps=256, num_envs=4, horizon=32, batch=64, epochs=2, units=16)


@pytest.fixture(scope="module")
def dreams(tmp_path_factory: pytest.TempPathFactory) -> Dreams:
    """Of a world of the toy game: the action, 0 or 1, is its reward, and it ends after 5 to 19 steps."""
    return Dreams.load(counter_world(tmp_path_factory.mktemp("worlds") / "counter"))


@pytest.fixture
def games(dreams: Dreams) -> RealGames:
    return RealGames.of(dreams, workers=1)


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[Any]]]:
    """Those of every reset of all games."""
    given: list[list[Any]] = []
    reset = RealVectorEnv.reset

    def keep(self: Any, *, seed: Any = None, options: Any = None) -> Any:
        given.append(seed)
        return reset(self, seed=seed, options=options)

    monkeypatch.setattr(RealVectorEnv, "reset", keep)
    yield given


def curve(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "updates.jsonl").read_text().splitlines()]


def test_it_learns_what_the_game_pays(dreams: Dreams, games: RealGames, tmp_path: Path) -> None:
    settings = replace(SMALL, steps=2560, horizon=64, epochs=4, learning_rate=3e-3, discount=0.1)
    *_, last = train_ppo(dreams, settings, real_games=games, out=tmp_path)
    lines = curve(tmp_path)
    assert [line["update"] for line in lines] == list(range(1, 11))
    assert [line["steps"] for line in lines] == list(range(256, 2561, 256))
    assert 2560 / 19 - 4 <= lines[-1]["episodes"] <= 2560 / 5
    # An episode has 12 steps in the mean, half of which pay at random.
    assert lines[0]["mean_return"] < 7 and lines[-1]["mean_return"] > 9
    assert last.mean_return == lines[-1]["mean_return"]
    agent = load_agent(tmp_path / "agent.safetensors")
    where = {"trained_in": "the real game", "game": COUNTER, "frame_skip": "1"}
    assert agent.notes.items() >= {**where, "steps": "2560", "seed": "0"}.items()
    assert "temperature" not in agent.notes
    env = RealVectorEnv(dreams.world, 8, observation=agent.observation, autoreset_mode="SAME_STEP")
    observation, paid = env.reset(seed=99)[0], 0.0
    for _ in range(20):
        observation, rewards, *_ = env.step(agent.act(torch.from_numpy(observation)).numpy())
        paid += rewards.sum()
    assert paid > 0.9 * 20 * 8


def test_the_workers_and_a_measurement_change_no_result(dreams: Dreams, games: RealGames) -> None:
    assert replace(games, workers=0).steps_per_s(2) > 0
    runs = [
        [update.agent.weights for update in train_ppo(dreams, SMALL, real_games=each)]
        for each in (games, replace(games, workers=3), replace(games, workers=0))
    ]
    for other in runs[1:]:
        for one, two in zip(runs[0], other, strict=True):
            assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_that_was_stopped_goes_on_with_other_episodes(
    dreams: Dreams, games: RealGames, tmp_path: Path, seeds: list[list[Any]]
) -> None:
    run = train_ppo(dreams, SMALL, real_games=games, out=tmp_path)
    next(run)
    run.close()
    assert seeds == [[0, 1, 2, 3]]
    with (tmp_path / "updates.jsonl").open("a") as log:  # of a stop before the next checkpoint
        log.write(json.dumps(curve(tmp_path)[0] | {"update": 2, "steps": 256}) + '\n{"upd')
    (update,) = train_ppo(dreams, SMALL, real_games=replace(games, workers=2), out=tmp_path)
    assert update.steps == 256
    assert seeds[-1] == [2**31 + 128 + row for row in range(4)], "no evaluation has these"
    assert [line["steps"] for line in curve(tmp_path)] == [128, 256]
    with pytest.raises(
        ValueError, match="other settings .*game was 'toy_games:Counter-v0' and is now"
    ):
        next(train_ppo(dreams, SMALL, out=tmp_path))  # in its dream


def test_latent_actions_learn_in_reality_by_the_worlds_own_dictionary(tmp_path: Path) -> None:
    six = {"meanings": list("012345"), "inputs": np.linspace(-1, 1, 6).tolist()}
    world = counter_world(tmp_path / "world", actions=six)

    def games(paid: int) -> RealGames:
        entries = {str(code): {"action": int(code == paid)} for code in range(6)}
        (world / "mapping.json").write_text(json.dumps({"dictionary": entries}))
        return RealGames.of(Dreams.load(world), workers=0)

    def train(real: RealGames) -> float | None:
        settings = replace(SMALL, steps=2560, horizon=64, epochs=4, learning_rate=3e-3, discount=0.1)
        *_, last = train_ppo(real.dreams, settings, real_games=real, out=tmp_path / "run")
        return last.mean_return

    # The code that pays, one of six, is found: 12 steps an episode in the mean.
    first = train(games(4))
    lines = curve(tmp_path / "run")
    assert first is not None and lines[0]["mean_return"] < 4 and first > 5
    agent = load_agent(tmp_path / "run" / "agent.safetensors")
    assert agent.actions == Dreams.load(world).actions
    assert json.loads(agent.notes["action_map"])["4"] == 1
    with pytest.raises(ValueError, match="other settings .*action_map was .* and is now"):
        train(games(3))
    # Recorded with longer steps, an action would be held that is another one after every step.
    entries = {str(code): {"action": int(code == 4)} for code in range(6)}
    after = {str(before): dict.fromkeys("012345", before) for before in (0, 1)}
    (world / "mapping.json").write_text(json.dumps({"dictionary": entries, "after": after}))
    file = tmp_path / "run" / "agent.safetensors"
    with pytest.raises(ValueError, match="may be another action .* after each step: give --frame-skip 1"):
        record(COUNTER, tmp_path / "data", agent=file, world=str(world), frame_skip=2)
    assert not (tmp_path / "data").exists()
    (world / "mapping.json").unlink()
    with pytest.raises(ValueError, match="what acts in one cannot act in the other"):
        RealGames.of(Dreams.load(world), workers=0)


def test_a_dreams_run_does_not_go_on_in_reality(
    dreams: Dreams, games: RealGames, tmp_path: Path
) -> None:
    next(train_ppo(dreams, SMALL, out=tmp_path))
    assert curve(tmp_path)[0]["steps"] == 128
    with pytest.raises(ValueError, match="trained_in was None and is now 'the real game'"):
        next(train_ppo(dreams, SMALL, real_games=games, out=tmp_path))


def test_real_games_are_not_cut_off(dreams: Dreams, games: RealGames) -> None:
    settings = PpoSettings(max_episode_steps=5)
    with pytest.raises(ValueError, match="max_episode_steps is 5, but the real game's episodes end"):
        train_ppo(dreams, settings, real_games=games)


def test_a_game_that_fails_leaves_the_last_checkpoint(
    dreams: Dreams, games: RealGames, tmp_path: Path
) -> None:
    good = replace(games, workers=0)
    run = train_ppo(dreams, SMALL, real_games=good, out=tmp_path)
    next(run)
    run.close()
    kept = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert kept.keys() == {"agent.safetensors", "checkpoint.pt", "settings.json", "updates.jsonl"}
    for trouble, error, words in (
        ("raise", LookupError, "the level has no floor"),
        ("die", RuntimeError, r"a worker process ended \(exit code -9\) while it had games 0, 1"),
    ):
        bad = RealGames(dreams, find_game(COUNTER, env_args={"trouble": trouble}), workers=2)
        with pytest.raises(error, match=words):
            next(train_ppo(dreams, SMALL, real_games=bad, out=tmp_path))
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == kept
    assert [
        update.steps for update in train_ppo(dreams, SMALL, real_games=good, out=tmp_path)
    ] == [256]


def test_a_world_without_its_game_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='no real game is known of this world: .* "real_game"'):
        RealGames.of(Dreams.load("doom-genie"), workers=1)
    world = counter_world(tmp_path / "world", frame_skip=2, real_game="doom-take-cover")
    with pytest.raises(ValueError, match="what acts in one cannot act in the other"):
        RealGames.of(Dreams.load(world), workers=1)


def test_the_adapter_is_the_vector_environment(dreams: Dreams) -> None:
    def games(mode: str = "SAME_STEP") -> RealVectorEnv:
        return RealVectorEnv(dreams.world, 3, autoreset_mode=mode, render_mode="rgb_array")

    env, expected = BatchVecEnv(games()), games()
    env.seed(5)
    np.testing.assert_array_equal(env.reset(), expected.reset(seed=5)[0])
    ended = 0
    for _ in range(30):
        observations, rewards, done, infos = env.step(np.array([0, 1, 1]))
        theirs = expected.step([0, 1, 1])
        for one, two in zip((observations, rewards, done), theirs, strict=False):
            np.testing.assert_array_equal(one, two)
        for row, info in enumerate(infos):
            scores = theirs[4]["final_info"] if done[row] else theirs[4]
            assert info["surprise"] == scores["surprise"][row] > 0
            assert not info["TimeLimit.truncated"]
            assert ("terminal_observation" in info) == done[row]
            if done[row]:
                last = theirs[4]["final_obs"][row]
                np.testing.assert_array_equal(info["terminal_observation"], last)
        ended += done.sum()
    assert ended >= 3 and len(env.get_images()) == 3
    with pytest.raises(AttributeError, match="set_attr: got 'temperature', but nothing can be set"):
        env.set_attr("temperature", 1.0)
    with pytest.raises(
        ValueError, match="is AutoresetMode.NEXT_STEP; .* needs AutoresetMode.SAME_STEP"
    ):
        BatchVecEnv(games("NEXT_STEP"))


def test_the_command(
    dreams: Dreams,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("genie_env.agents.ppo_envs._MEASURED", 0.2)
    world = counter_world(tmp_path / "world", frame_skip=2)
    options = "--reality --steps 64 --dreams 2 --horizon 32 --units 8 --workers 3"
    arguments = ["train", "ppo", "--world", str(world), "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        APP.main([*arguments, *options.split()], prog_name="genie-env")
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    budget, *_, last = shown.splitlines()
    assert budget.startswith(f"{COUNTER}: ") and " of 2 games in 2 processes; " in budget
    rate, frames = (int(word.replace(",", "")) for word in budget.split()[1:4:2])
    assert frames == pytest.approx(2 * rate, abs=1)
    told = re.search(r"; 64 steps, 128 frames, take 0:(\d\d):(\d\d) besides the updates", budget)
    assert told is not None, "however slow this machine is"
    took = 60 * int(told[1]) + int(told[2])
    assert 64 / (rate + 0.5) - 1 <= took <= 64 / max(rate - 0.5, 0.1) + 1
    assert "in the real game" in last and last.startswith("wrote ")
    notes = load_agent(tmp_path / "run" / "agent.safetensors").notes
    assert (notes["trained_in"], notes["frame_skip"]) == ("the real game", "2")

    def again(*changes: str) -> str:
        with pytest.raises(SystemExit):
            APP.main([*arguments, *options.split(), *changes], prog_name="genie-env")
        out, err = capsys.readouterr()
        return out + err

    assert " steps/s, " not in again(), "it was finished: there is nothing to measure"
    assert "; 32 steps, 64 frames, take" in again("--steps", "96"), "what is left"
    refused = again("--steps", "128", "--seed", "1")
    assert "seed was 0 and is now 1" in refused and "steps/s" not in refused
