"""Agents that hold every action for several steps: in dreams, in the real game, and as PPO trains them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from test_real_env import counter_world

from genie_env.agents.agent import load_agent
from genie_env.agents.decisions import Decisions
from genie_env.agents.dreams import Dreams
from genie_env.agents.policy_network import PolicyNetwork
from genie_env.agents.ppo import PpoSettings, train_ppo
from genie_env.agents.ppo_envs import RealGames
from genie_env.agents.real_play import agent_player
from genie_env.agents.repeated_env import RepeatedVecEnv
from genie_env.cli.app import APP
from genie_env.data.episode import Episode

SMALL = PpoSettings(
    steps=256, num_envs=4, horizon=32, batch=64, epochs=2, units=16, action_repeat=3
)


class Told:
    """Acts as its observation tells it to: [N, 1] floats."""

    def __init__(self, action_repeat: int) -> None:
        self.action_repeat = action_repeat

    def act(self, observation: torch.Tensor) -> torch.Tensor:
        return observation[:, 0].long()


def told(decisions: Decisions, rows: Sequence[float], steps: int | Sequence[int]) -> list[int]:
    return list(decisions.act(torch.tensor(rows)[:, None], steps).tolist())


def test_an_action_is_held() -> None:
    decisions = Decisions(Told(3))  # type: ignore[arg-type]
    assert told(decisions, [1, 2], 0) == [1, 2]
    assert told(decisions, [3, 4], 1) == told(decisions, [5, 6], 2) == [1, 2]
    assert told(decisions, [7, 8], 3) == [7, 8]
    decisions.keep(torch.tensor([1]))
    assert told(decisions, [9], 4) == [8]


def test_every_row_decides_in_time_with_its_own_episode() -> None:
    decisions = Decisions(Told(2))  # type: ignore[arg-type]
    assert told(decisions, [1, 2, 3], [0, 0, 0]) == [1, 2, 3]
    assert told(decisions, [4, 5, 6], [1, 0, 1]) == [1, 5, 3]  # the second has begun again
    assert told(decisions, [7, 8, 9], [2, 1, 2]) == [7, 5, 9]


def test_one_that_joins_late_decides_at_once() -> None:
    assert told(Decisions(Told(5)), [4], 3) == [4]  # type: ignore[arg-type]


class Script(VecEnv):
    """Two rows whose episodes last as scripted; a step pays 1 and tells its number."""

    def __init__(self, lengths: Sequence[Sequence[int]]) -> None:
        from gymnasium.spaces import Box, Discrete

        super().__init__(2, Box(0, 1e6, (1,), np.float32), Discrete(2))
        self._left: list[Iterator[int]] = [iter(each) for each in lengths]

    def reset(self) -> NDArray[np.float32]:
        self._until = [next(each) for each in self._left]
        self.played: list[list[int]] = []
        self._age = np.zeros(2, np.float32)
        return self._age[:, None].copy()

    def step_async(self, actions: NDArray[Any]) -> None:
        self.played.append(actions.tolist())

    def step_wait(self) -> Any:
        self._age += 1
        done = self._age >= self._until
        infos: list[dict[str, Any]] = [{"age": age} for age in self._age.tolist()]
        for row in np.flatnonzero(done):
            infos[row]["terminal_observation"] = self._age[row : row + 1].copy()
            self._until[row], self._age[row] = next(self._left[row]), 0
        return self._age[:, None].copy(), np.ones(2, np.float32), done, infos

    def close(self) -> None: ...
    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        raise AttributeError(attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None: ...
    def env_method(self, method_name: str, *a: Any, indices: Any = None, **k: Any) -> list[Any]:
        return []

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False, False]


def test_a_step_is_several_of_the_environment() -> None:
    inner = Script([[5, 100], [100]])
    envs = RepeatedVecEnv(inner, 4)
    assert envs.reset().tolist() == [[0], [0]]
    seen, paid, done, _ = envs.step(np.array([1, 0]))
    assert (seen[:, 0].tolist(), paid.tolist(), done.tolist()) == ([4, 4], [4, 4], [False] * 2)
    # The first row's episode ends in the first of these four; three are the next episode's.
    seen, paid, done, infos = envs.step(np.array([0, 1]))
    assert (seen[:, 0].tolist(), paid.tolist(), done.tolist()) == ([3, 8], [1, 4], [True, False])
    assert infos[0]["age"] == 5 and infos[0]["terminal_observation"] == [5]
    assert infos[1] == {"age": 8}
    _, paid, done, _ = envs.step(np.array([1, 1]))
    assert (paid.tolist(), done.tolist()) == ([3 + 4, 4], [False, False])
    assert inner.played == [[1, 0]] * 4 + [[0, 1]] * 4 + [[1, 1]] * 4


def test_an_episode_within_a_step_is_left_out() -> None:
    envs = RepeatedVecEnv(Script([[1, 2, 100], [100]]), 4)
    envs.reset()
    _, paid, done, infos = envs.step(np.array([0, 0]))
    assert (paid.tolist(), done.tolist()) == ([1, 4], [True, False])
    assert infos[0]["age"] == 1
    _, paid, done, _ = envs.step(np.array([0, 0]))
    assert (paid.tolist(), done.tolist()) == ([1 + 4, 4], [False, False])


def held_for(actions: NDArray[Any], repeat: int) -> bool:
    """Whether actions change only after every `repeat` of them."""
    changes = np.flatnonzero(np.diff(actions)) + 1
    return len(changes) > 0 and not (changes % repeat).any()


class Restless(PolicyNetwork):
    """Chooses another action whenever it is asked."""

    def act(self, observation: torch.Tensor) -> torch.Tensor:
        ASKED.append(len(observation))
        return torch.full((len(observation),), len(ASKED) % 2)


ASKED: list[int] = []


class OneJob:
    """An episode to play in this process."""

    def __init__(self) -> None:
        self.waiting, self.played = [0], list[Episode]()

    def take(self, block: bool) -> int | None:
        return self.waiting.pop() if self.waiting else None

    def give(self, episode: Episode) -> None:
        self.played.append(episode)

    def tick(self) -> None: ...


def test_ppo_and_its_agent_hold_their_actions(random_world: Path, tmp_path: Path) -> None:
    dreams = Dreams.load(random_world)
    *_, last = train_ppo(dreams, SMALL, out=tmp_path)
    assert last.steps == 256
    agent = load_agent(tmp_path / "agent.safetensors")
    assert agent.action_repeat == last.agent.action_repeat == 3
    restless = Restless(
        last.agent.weights, agent.observation, agent.world, agent.notes, agent.actions
    )
    ASKED.clear()
    steps = int(dreams.play_agent(restless, [1, 2, 3]).scores.max())  # a step pays 1
    assert len(ASKED) == -(-steps // 3)
    with pytest.raises(ValueError, match=r"other settings \(action_repeat was 3 and is now 1\)"):
        next(train_ppo(dreams, replace(SMALL, action_repeat=1), out=tmp_path))


def test_the_real_game_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = counter_world(tmp_path / "counter")
    dreams = Dreams.load(world)
    games = RealGames.of(dreams, workers=1)
    *_, last = train_ppo(dreams, SMALL, real_games=games, out=tmp_path / "run")
    assert last.mean_return is not None and last.agent.action_repeat == 3
    ASKED.clear()
    monkeypatch.setattr(PolicyNetwork, "act", Restless.act)
    player = agent_player(world, tmp_path / "run" / "agent.safetensors", seed=0)
    jobs = OneJob()
    player.play(jobs)  # type: ignore[arg-type]
    (episode,) = jobs.played
    assert held_for(episode.actions, 3)


def test_no_number_of_steps_is_refused(random_world: Path, tmp_path: Path) -> None:
    dreams = Dreams.load(random_world)
    with pytest.raises(ValueError, match="action_repeat is 0; expected 1 or more"):
        train_ppo(dreams, replace(SMALL, action_repeat=0))
    *_, last = train_ppo(dreams, replace(SMALL, steps=1), out=tmp_path)
    spoiled = replace(last.agent, notes={**last.agent.notes, "action_repeat": "-3"})
    with pytest.raises(
        ValueError, match=r'the agent has the "action_repeat" \'-3\', expected a num'
    ):
        dreams.play_agent(spoiled, [0])


def test_the_command(random_world: Path, tmp_path: Path) -> None:
    options = "--steps 64 --dreams 2 --horizon 32 --units 8 --action-repeat 4"
    arguments = ["train", "ppo", "--world", str(random_world), "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        APP.main([*arguments, *options.split()], prog_name="genie-env")
    assert not ended.value.code
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["action_repeat"] == 4
