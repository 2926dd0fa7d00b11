"""The vector environment keeps what Gymnasium promises."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from random_world import write_random_world

import genie_env
from genie_env import DreamVectorEnv, _core


def make(world: Path | _core.World, num_envs: int = 4, **options: Any) -> DreamVectorEnv:
    """An environment whose episodes end by their time limit alone, unless told otherwise."""
    if isinstance(world, Path):
        options = {"termination": "thresholded", "dtype": "float32"} | options
    return genie_env.make_vec(world, num_envs, **options)


def dream(env: DreamVectorEnv, steps: int = 5, first_row: int = 0) -> list[Any]:
    """The observations of some steps, each row with actions of its own."""
    rows = np.arange(first_row, first_row + env.num_envs)
    return [env.step((7 * rows + step) % 3)[0] for step in range(steps)]


def same(one: list[Any], other: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_numpy_output(random_world: Path) -> None:
    env = make(random_world)
    observations, infos = env.reset(seed=0)
    assert (observations.shape, observations.dtype, infos) == ((4, 80), np.float32, {})
    assert observations in env.observation_space
    observations, rewards, terminations, truncations, infos = env.step(env.action_space.sample())
    assert observations in env.observation_space
    for array, dtype in (
        (rewards, np.float32),
        (terminations, bool),
        (truncations, bool),
        (infos["surprise"], np.float32),
        (infos["_surprise"], bool),
        (infos["termination_probability"], np.float32),
        (infos["_termination_probability"], bool),
    ):
        assert isinstance(array, np.ndarray)
        assert (array.shape, array.dtype) == ((4,), dtype)
    scores = {"surprise", "termination_probability"}
    assert set(infos) == scores | {f"_{name}" for name in scores}
    assert (0 < infos["termination_probability"]).all()
    assert (infos["termination_probability"] < 1).all()
    assert rewards.tolist() == [1, 1, 1, 1]
    assert np.isfinite(infos["surprise"]).all() and infos["_surprise"].all()


def test_torch_output_can_be_learned_from(random_world: Path) -> None:
    with torch.inference_mode():
        env = make(random_world, output="torch")
        observations, _ = env.reset(seed=0)
    assert env.device == torch.device("cpu")
    policy = torch.nn.Linear(80, 3)
    for _ in range(3):
        scores = policy(observations)
        scores.sum().backward()
        with torch.inference_mode():
            brought = env.step(scores.argmax(1))
        observations, rewards, terminations, truncations, infos = brought
    given = [observations, rewards, terminations, truncations, *infos.values()]
    assert all(isinstance(x, torch.Tensor) for x in given)
    assert [x.dtype for x in given[1:4]] == [torch.float32, torch.bool, torch.bool]


def test_both_outputs_are_the_same_dream(random_world: Path) -> None:
    arrays, tensors = make(random_world), make(random_world, output="torch")
    arrays.reset(seed=1)
    tensors.reset(seed=1)
    assert same(dream(arrays), [tensor.numpy() for tensor in dream(tensors)])


def test_pixels(random_world: Path) -> None:
    env = make(random_world, observation="pixels", render_mode="rgb_array")
    observations, _ = env.reset(seed=0)
    assert (observations.shape, observations.dtype) == ((4, 64, 64, 3), np.uint8)
    assert observations in env.observation_space
    frames = env.render()
    assert isinstance(frames, tuple)
    np.testing.assert_array_equal(np.stack(frames), observations)
    np.testing.assert_array_equal(env.frames(), observations)
    np.testing.assert_allclose(env.frames([2, 0]), observations[[2, 0]], atol=1)


def test_next_step_autoreset(random_world: Path) -> None:
    env = make(random_world, 2, max_episode_steps=2)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    first, _ = env.reset(seed=0)
    table, seen = [], []
    for actions in ([2, 0], [2, 1], [77, -1], [2, 2], [0, 0], [3, 3]):  # the last of three: ignored
        observations, rewards, terminations, truncations, infos = env.step(actions)
        began = ~infos["_surprise"]
        table.append([int(x[1]) for x in (rewards, terminations, truncations, began)])
        seen.append(observations)
    episode = [[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert table == episode * 2
    assert infos["surprise"].tolist() == [0, 0]
    assert not np.array_equal(first, seen[2]) and not np.array_equal(seen[2], seen[5])


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_an_autoreset_mode_may_be_given_by_value_or_name(
    random_world: Path, mode: AutoresetMode
) -> None:
    for given in (mode, mode.value, mode.name):
        env = make(random_world, autoreset_mode=given)
        assert env.metadata["autoreset_mode"] is mode
        assert env.options.autoreset_mode == mode.value
        assert pickle.loads(pickle.dumps(env)).metadata == env.metadata


def test_disabled_autoreset_and_masked_reset(random_world: Path) -> None:
    env = make(random_world, 3, autoreset_mode=AutoresetMode.DISABLED, max_episode_steps=3)
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert "autoreset_mode" not in DreamVectorEnv.metadata
    env.reset(seed=0)
    env.step([0, 0, 0])
    mask = np.array([False, True, False])
    options = {"reset_mask": mask}
    env.reset(options=options)
    assert options == {"reset_mask": mask} and mask.tolist() == [False, True, False]
    ends = [env.step([0, 0, 0])[3].tolist() for _ in range(2)]
    assert ends == [[False, False, False], [True, False, True]]  # row 1 is younger
    with pytest.raises(gymnasium.error.ResetNeeded, match="rows 0 and 2 have ended"):
        env.step([0, 0, 0])
    observations, _ = env.reset(options={"reset_mask": torch.tensor([True, False, True])})
    truncations = env.step([0, 0, 0])[3]
    assert truncations.tolist() == [False, True, False]


def test_seeds(random_world: Path) -> None:
    env = make(random_world, 3)
    first, _ = env.reset(seed=5)
    np.testing.assert_array_equal(env.reset(seed=[5, 6, 7])[0], first)
    np.testing.assert_array_equal(env.reset(seed=np.array([5, 6, 7]))[0], first)
    shifted, _ = env.reset(seed=6)
    np.testing.assert_array_equal(shifted[:2], first[1:])
    # Without a seed every row goes on to its next episode.
    after, _ = env.reset()
    assert not np.array_equal(after, shifted)
    env.reset(seed=6)
    np.testing.assert_array_equal(env.reset()[0], after)
    # The seed of the constructor is that of the first reset.
    np.testing.assert_array_equal(make(random_world, 3, seed=5).reset()[0], first)
    assert not np.array_equal(make(random_world, 3).reset()[0], make(random_world, 3).reset()[0])
    env.reset(seed=2**64 - 3)


def test_a_masked_reset_gives_seeds_to_its_rows_alone(random_world: Path) -> None:
    env = make(random_world, 2)
    before, _ = env.reset(seed=[1, 2])
    after, _ = env.reset(seed=[9, 9], options={"reset_mask": np.array([True, False])})
    assert not np.array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1], before[1])
    dream(env)
    expected, _ = make(random_world, 2).reset(seed=[9, 9])
    np.testing.assert_array_equal(after[0], expected[0])


def test_a_row_dreams_the_same_alone_and_in_a_batch(random_world: Path) -> None:
    for dtype, steps, tolerance in (("float32", 1, 1e-4), ("bfloat16", 40, 0.0)):
        try:
            batch = make(random_world, 5, dtype=dtype, termination="sampled")
        except ValueError as error:  # a processor without it
            assert "AVX-512" in str(error)
            continue
        alone = make(random_world, 1, dtype=dtype, termination="sampled")
        batch.reset(seed=20)
        alone.reset(seed=23)
        for ours, theirs in zip(dream(alone, steps, 3), dream(batch, steps), strict=True):
            np.testing.assert_allclose(ours[0], theirs[3], rtol=tolerance, atol=tolerance)


def test_keep_goes_on_with_the_given_rows_alone(random_world: Path) -> None:
    env, whole = make(random_world), make(random_world)
    env.reset(seed=3)
    whole.reset(seed=3)
    assert env.action_space.shape == (4,)
    env.keep(torch.tensor([2, 0]))
    assert (env.num_envs, env.action_space.shape) == (2, (2,))
    actions = np.array([2, 1, 0, 1])
    observations, *_ = env.step(actions[[2, 0]])
    assert observations in env.observation_space
    np.testing.assert_allclose(observations, whole.step(actions)[0][[2, 0]], rtol=1e-4, atol=1e-5)


def test_follow_and_begin_from_given_frames(random_world: Path) -> None:
    env = make(random_world, 2)
    frames = np.random.default_rng(0).integers(0, 256, (3, 2, 64, 64, 3)).astype(np.uint8)
    frames.flags.writeable = False
    first, _ = env.reset(seed=0, options={"frames": frames[0]})
    assert not np.array_equal(first, make(random_world, 2).reset(seed=0)[0])
    observations, rewards, _, truncations, infos = env.follow([0, 1], frames[1])
    assert rewards.tolist() == [1, 1] and not truncations.any()
    assert np.isfinite(infos["surprise"]).all() and infos["_surprise"].all()
    again = make(random_world, 2)
    again.reset(seed=0, options={"frames": torch.from_numpy(frames[0].copy())})
    np.testing.assert_array_equal(again.follow([0, 1], frames[1])[0], observations)
    assert not np.array_equal(again.follow([0, 1], frames[2])[0], env.step([0, 1])[0])


def test_temperature(random_world: Path) -> None:
    def dreamt(temperature: Any = None, **options: Any) -> Any:
        env = make(random_world, 2, **options)
        env.reset(seed=1)
        if temperature is not None:
            env.set_temperature(temperature)
        return env.step([0, 0])[0]

    calibrated, hot = dreamt(), dreamt(temperature=3.0)
    np.testing.assert_array_equal(dreamt(1.15), calibrated)  # what the world's config says
    np.testing.assert_array_equal(dreamt([3.0, 3.0]), hot)
    mixed = dreamt(np.array([1.15, 3.0]))
    np.testing.assert_array_equal(mixed[0], calibrated[0])
    np.testing.assert_array_equal(mixed[1], hot[1])
    assert not np.array_equal(calibrated, hot)
    env = make(random_world, temperature=3.0)
    assert env.options.temperature == 3.0


def test_what_is_returned_never_changes(random_world: Path) -> None:
    env = make(random_world, 2, max_episode_steps=2)
    kept = [env.reset(seed=0)[0]]
    for _ in range(3):
        observations, *rest, infos = env.step([0, 1])
        kept += [observations, *rest, *infos.values()]
    copies = [array.copy() for array in kept]
    dream(env, 4)
    assert same(kept, copies)


def test_it_is_pickled_as_its_arguments(random_world: Path) -> None:
    env = make(random_world, 3, temperature=0.5, max_episode_steps=7, seed=4, output="torch")
    env.reset()
    twin = pickle.loads(pickle.dumps(env))
    for name in ("num_envs", "temperature", "max_episode_steps", "seed", "observation"):
        assert getattr(twin.options, name) == getattr(env.options, name)
    with pytest.raises(gymnasium.error.ResetNeeded):
        twin.step([0, 0, 0])
    again = make(random_world, 3, temperature=0.5, seed=4)
    again.reset()
    twin.reset()
    assert same([tensor.numpy() for tensor in dream(twin)], dream(again))
    assert twin.metadata == env.metadata
    del twin
    env.step([0, 0, 0])


def test_a_world_that_was_given_is_pickled_as_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_random_world(tmp_path / "world")
    monkeypatch.chdir(tmp_path)
    world = _core.World.load("world", dtype="float32", options={"termination": "thresholded"})
    assert world.directory == directory
    env = make(world, 2, temperature=0.5, seed=3)
    pickled = pickle.dumps(env)
    monkeypatch.chdir("/")
    again = pickle.loads(pickled)
    assert again.world is not world and str(again.world) == str(world)
    env.reset()
    again.reset()
    assert same(dream(again), dream(env))
    assert copy.deepcopy(world) is world and copy.copy(world) is world
    assert copy.deepcopy(env).world is world
    write_random_world(directory, seed=5)
    with pytest.raises(ValueError, match="no longer holds the world that was pickled"):
        pickle.loads(pickled)


def test_defaults_are_those_of_cpp(random_world: Path) -> None:
    world = _core.World.load(random_world)
    ours, theirs = genie_env.make_vec(random_world), _core.VecEnv(world)
    for name in ("num_envs", "temperature", "max_episode_steps", "observation", "autoreset_mode"):
        assert getattr(ours.options, name) == getattr(theirs.options, name), name
    assert ours.options.seed != theirs.options.seed  # from the operating system
    for name, option in world.spec.options.items():
        assert ours.world.spec.options[name].value == option.value
    assert ours.world.spec.dtype == world.spec.dtype
    assert ours.world.device == world.device


def test_environments_may_share_a_world(random_world: Path) -> None:
    world = _core.World.load(random_world, dtype="float32", options={"termination": "thresholded"})
    one, other, alone = make(world), make(world, 2), make(random_world)
    for env in (one, other, alone):
        env.reset(seed=0)
    dream(other)
    assert same(dream(one), dream(alone))


def test_torchs_generators_and_flags_are_left_alone(random_world: Path) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    expected = (torch.rand(1).item(), np.random.rand())
    torch.manual_seed(0)
    np.random.seed(0)
    env = make(random_world)
    env.reset()
    dream(env)
    assert (torch.rand(1).item(), np.random.rand()) == expected
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_statistics_of_gymnasiums_own_wrapper(random_world: Path) -> None:
    env = RecordEpisodeStatistics(make(random_world, 2, max_episode_steps=3))
    env.reset(seed=0)
    episodes = [env.step(np.array([0, 1]))[4].get("episode") for _ in range(7)]
    assert [e is not None for e in episodes] == [False, False, True, False, False, False, True]
    assert episodes[2]["r"].tolist() == episodes[6]["r"].tolist() == [3, 3]
    assert episodes[6]["l"].tolist() == [3, 3]


def test_a_loop_as_cleanrl_writes_it(random_world: Path) -> None:
    """Actor and critic, 2 rollouts of 16 steps, without anything patched onto the environment."""
    torch.manual_seed(1)
    envs = RecordEpisodeStatistics(make(random_world, termination="sampled", max_episode_steps=9))
    assert isinstance(envs.single_action_space, gymnasium.spaces.Discrete)
    shape = envs.single_observation_space.shape
    assert shape is not None
    steps = 16
    actor = torch.nn.Linear(int(np.prod(shape)), int(envs.single_action_space.n))
    critic = torch.nn.Linear(int(np.prod(shape)), 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-2)
    obs = torch.zeros((steps, envs.num_envs, *shape))
    actions = torch.zeros((steps, envs.num_envs), dtype=torch.int64)
    rewards, dones, values = (torch.zeros((steps, envs.num_envs)) for _ in range(3))
    next_obs, _ = envs.reset(seed=1)
    next_done = np.zeros(envs.num_envs)
    returns = []
    for _ in range(2):
        for step in range(steps):
            obs[step] = torch.Tensor(next_obs)
            dones[step] = torch.Tensor(next_done)
            with torch.no_grad():
                distribution = torch.distributions.Categorical(logits=actor(obs[step]))
                actions[step] = distribution.sample()
                values[step] = critic(obs[step]).flatten()
            next_obs, reward, terminations, truncations, infos = envs.step(actions[step].numpy())
            next_done = np.logical_or(terminations, truncations).astype(np.float32)
            rewards[step] = torch.tensor(reward)
            if "episode" in infos:
                returns += infos["episode"]["r"][infos["_episode"]].tolist()
        advantages = rewards.flip(0).cumsum(0).flip(0) - values
        distribution = torch.distributions.Categorical(logits=actor(obs))
        loss = -(distribution.log_prob(actions) * advantages).mean()
        loss = loss + (critic(obs)[..., 0] - values - advantages).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.isfinite()
    assert returns and max(returns) <= 9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_the_gpu(random_world: Path) -> None:
    env = make(random_world, device="cuda", output="torch", max_episode_steps=2)
    here = make(random_world, max_episode_steps=2)
    observations, _ = env.reset(seed=0)
    here.reset(seed=0)
    assert env.device.type == "cuda" and observations.device.type == "cuda"
    ours = env.step(torch.tensor([0, 1, 2, 0], device="cuda"))
    theirs = here.step([0, 1, 2, 0])
    np.testing.assert_allclose(ours[0].cpu().numpy(), theirs[0], rtol=1e-3, atol=1e-3)
    ends = [env.step([0, 1, 2, 0])[3].tolist() for _ in range(2)]
    assert ends == [[True] * 4, [False] * 4]
    env.keep([1, 2])
    env.set_temperature(0.5)
    observations, *rest, infos = env.step(torch.tensor([1, 2]))
    assert all(x.device.type == "cuda" for x in (observations, *rest, *infos.values()))
    assert env.frames().shape == (2, 64, 64, 3)
