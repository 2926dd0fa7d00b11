"""An agent in the real game: it sees through its world, and every episode is its own."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from random_world import write_random_world

import genie_env
from genie_env._core import EpisodeStore
from genie_env.agents.agent import load_agent
from genie_env.agents.controller import LinearController
from genie_env.agents.players import AgentPlayer
from genie_env.agents.real_play import agent_player
from genie_env.cli.record import record
from genie_env.data.episode import Episode
from genie_env.data.players import EpisodeSeeds
from genie_env.data.recording import record_episodes
from genie_env.data.workers import play_episodes
from genie_env.games.blind import explored_actions
from genie_env.games.doom import DoomTakeCover

SEED = 11


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def agent(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: what it does depends on what it sees."""
    eyes = genie_env.make_vec(world)
    size = eyes.single_observation_space.shape[0]
    weight = np.random.default_rng(3).normal(size=size).astype(np.float32)
    file = tmp_path_factory.mktemp("agent") / "agent.safetensors"
    LinearController(weight, "zch", eyes.world.spec.fingerprint).save(file)
    return file


@pytest.fixture(scope="module")
def player(world: Path, agent: Path) -> AgentPlayer:
    return replace(agent_player(world, agent, SEED), keep_frames=True, lanes=3)


@pytest.fixture(scope="module")
def episodes(player: AgentPlayer) -> list[Episode]:
    return list(play_episodes(player, range(3), workers=1))


def test_it_sees_each_frame_before_it_acts_on_it(
    world: Path, agent: Path, episodes: list[Episode]
) -> None:
    """The same episodes, played here one at a time, a frame after the other."""
    controller = load_agent(agent)
    eyes = genie_env.make_vec(world, num_envs=1)
    game = DoomTakeCover()
    for index, episode in enumerate(episodes):
        seeds = EpisodeSeeds.of(SEED, index)
        assert (episode.index, episode.seed) == (index, seeds.game)
        frame, _ = game.reset(seed=seeds.game)
        observation, _ = eyes.reset(seed=[seeds.world], options={"frames": frame[None]})
        for t in range(len(episode)):
            action = controller.act(torch.from_numpy(observation)).numpy()
            assert episode.actions[t] == action[0]
            assert np.array_equal(episode.frames[t], frame)
            frame, reward, terminated, truncated, _ = game.step(int(action[0]))
            assert episode.rewards[t] == reward
            observation, *_ = eyes.follow(action, frame[None])
        assert (terminated, truncated) == (episode.terminated, episode.truncated) == (True, False)
    assert len({action for episode in episodes for action in episode.actions}) > 1
    game.close()


def test_an_episode_depends_on_its_index_alone(
    player: AgentPlayer, episodes: list[Episode]
) -> None:
    """Not on the workers, its place among the games played together, or what it follows."""
    others = list(play_episodes(player, range(1, 10), workers=2))
    assert [episode.index for episode in others] == list(range(1, 10))
    for episode, again in zip(episodes[1:], others, strict=False):
        assert np.array_equal(episode.actions, again.actions)
        assert np.array_equal(episode.frames, again.frames)


def test_records_an_agent_and_what_surrounds_it(
    world: Path, agent: Path, player: AgentPlayer, tmp_path: Path
) -> None:
    """With explore, random holds overrule the agent for that part of the time."""
    record(
        "doom-take-cover",
        tmp_path,
        episodes=2,
        workers=1,
        seed=SEED,
        agent=agent,
        world=str(world),
        explore=0.5,
    )
    store = EpisodeStore(tmp_path)
    for index, (first, end) in enumerate(pairwise(store.episode_starts)):
        seeds = EpisodeSeeds.of(SEED, index)
        overruled, planned = explored_actions(0.5, seeds.policy, end - first, player.game.actions)
        assert 0 < overruled.mean() < 1
        assert np.array_equal(store.actions[first:end][overruled], planned[overruled])
    with pytest.raises(ValueError, match="recorded otherwise .explore was 0.5 and is now 0.0.;"):
        record_episodes(player, tmp_path, 3, workers=1)


def test_an_agent_holds_its_actions_where_fewer_frames_are_recorded(
    world: Path, agent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its world follows the frames between, too."""
    record(
        "doom-take-cover",
        tmp_path,
        episodes=2,
        workers=1,
        seed=SEED,
        agent=agent,
        world=str(world),
        frame_skip=4,
        env_args='{"view_bob": false}',
    )
    assert 'with the arguments {}, and it plays with {"view_bob": false}' in capsys.readouterr().out
    store, controller = EpisodeStore(tmp_path), load_agent(agent)
    eyes, game = genie_env.make_vec(world, num_envs=1), DoomTakeCover(view_bob=False)
    for index, (first, end) in enumerate(pairwise(store.episode_starts)):
        seeds = EpisodeSeeds.of(SEED, index)
        frame, _ = game.reset(seed=seeds.game)
        observation, _ = eyes.reset(seed=[seeds.world], options={"frames": frame[None]})
        for t in range(first, end):
            action = controller.act(torch.from_numpy(observation)).numpy()
            assert store.actions[t] == action[0]
            assert np.array_equal(store.frames[t], frame)
            paid, terminated, truncated = 0.0, False, False
            for _ in range(4):
                if not terminated:
                    frame, reward, terminated, truncated, _ = game.step(int(action[0]))
                    paid += float(reward)
                    observation, *_ = eyes.follow(action, frame[None])
            assert store.rewards[t] == paid
        assert (terminated, truncated) == (store.terminations[t], store.truncations[t])
    game.close()
    assert json.loads(store.meta)["hold"] == 4
    with pytest.raises(ValueError, match=r"recorded otherwise \(explore was 0.0 and is now 0.5"):
        record(
            "doom-take-cover",
            tmp_path,
            agent=agent,
            world=str(world),
            seed=SEED,
            frame_skip=4,
            env_args='{"view_bob": false}',
            explore=0.5,
        )


def test_a_frame_skip_that_is_no_multiple_of_the_worlds_is_refused(
    world: Path, agent: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(world, tmp_path / "world")
    config = json.loads((other / "config.json").read_text()) | {"frame_skip": 3}
    (other / "config.json").write_text(json.dumps(config))
    learned = load_agent(agent)
    assert isinstance(learned, LinearController)
    file = tmp_path / "agent.safetensors"
    seen_by = genie_env.make_vec(other).world.spec.fingerprint
    LinearController(learned.weight, learned.observation, seen_by).save(file)
    words = "at frame skip 3, 64 x 64, but doom-take-cover at frame skip 4, .*or a multiple of it"
    with pytest.raises(ValueError, match=words):
        record("doom-take-cover", tmp_path / "data", agent=file, world=str(other), frame_skip=4)
    assert not (tmp_path / "data").exists()


def test_a_frame_skip_that_an_agents_hold_is_no_multiple_of_is_refused(
    world: Path, agent: Path, tmp_path: Path
) -> None:
    learned = load_agent(agent)
    assert isinstance(learned, LinearController)
    file = tmp_path / "agent.safetensors"
    notes = {**learned.notes, "action_repeat": "6"}
    LinearController(learned.weight, learned.observation, learned.world, notes).save(file)
    words = "holds its actions for 6 steps of its world, but .* be 4 of them: give a --frame-skip of 1, 2, 3, 6"
    with pytest.raises(ValueError, match=words):
        record("doom-take-cover", tmp_path / "data", agent=file, world=str(world), frame_skip=4)
    assert not (tmp_path / "data").exists()
