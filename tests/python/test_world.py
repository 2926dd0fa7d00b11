"""A frozen world, step by step, against a re-computation in NumPy and PyTorch (float64).

The draws are re-computed by `philox.py`. Every step starts from the same state, so what differs is
one step's rounding."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import philox
import pytest
import torch
from random_world import STARTS, write_random_world
from safetensors.torch import load_file
from torch import Tensor

from genie_env._core import FormatError, RowCounters, World, WorldState, WorldStep

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from plain_torch_models import PlainVision  # noqa: E402

# The numbers of genie_env/core/random.h.
START, VISION, MIXTURE, GAUSSIAN, TERMINATION = range(5)

LATENTS, HIDDEN, COMPONENTS = 24, 40, 4
ROWS = 9
SEEDS = np.arange(100, 100 + ROWS, dtype=np.uint64) * 2**40
EPISODE = 2


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("worlds") / "random"
    return write_random_world(directory, LATENTS, HIDDEN, COMPONENTS)


@pytest.fixture(scope="module")
def world(path: Path) -> World:
    return World.load(path, dtype="float32")


def counters(step: int, rows: int = ROWS) -> RowCounters:
    return RowCounters(SEEDS[:rows], np.full(rows, EPISODE), np.full(rows, step))


def draws(kind: str, stream: int, step: int, size: int) -> Tensor:
    function = {"uniform": philox.uniforms, "normal": philox.normals}[kind]
    rows = [function(int(seed), EPISODE, step, stream, size) for seed in SEEDS]
    return torch.from_numpy(np.stack(rows))


def frames(seed: int = 0) -> Tensor:
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (ROWS, 8, 8, 3), dtype=np.uint8)
    return torch.from_numpy(small.repeat(8, axis=1).repeat(8, axis=2))


def begun(world: World) -> WorldState:
    state = world.make_state(ROWS)
    world.begin(state, torch.ones(ROWS, dtype=torch.bool), counters(0))
    return state


class Reference:
    """The formulas of World Models, on copies of a world's state, in float64."""

    def __init__(self, path: Path) -> None:
        weights = {k: v.double() for k, v in load_file(path / "model.safetensors").items()}
        self.m = {k.removeprefix("memory."): v for k, v in weights.items() if "memory." in k}
        self.vision = PlainVision(LATENTS).double()
        self.vision.load_state_dict(
            {k.removeprefix("vision."): v for k, v in weights.items() if "vision." in k}
        )
        self.starts = load_file(path / "starts.safetensors")

    def lstm(self, state: WorldState, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c, h and the output after reading the state and the actions."""
        fields = {name: tensor.double() for name, tensor in state.fields.items()}
        inputs = torch.cat(
            [fields["z"], actions[:, None].double() - 1, fields["restart"][:, None]], 1
        )
        gates = inputs @ self.m["weight_ih"].T + fields["h"] @ self.m["weight_hh"].T
        i, f, g, o = (gates + self.m["bias"]).chunk(4, 1)
        c = torch.sigmoid(f) * fields["c"] + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return c, h, h @ self.m["output.weight"].T + self.m["output.bias"]

    @staticmethod
    def mixture(output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and log standard deviations: [N, latents, components]."""
        parts = output[:, :-1].reshape(-1, 3, LATENTS, COMPONENTS)
        return parts[:, 0], parts[:, 1], parts[:, 2]

    def surprise(self, output: Tensor, z: Tensor) -> Tensor:
        logits, means, log_stds = self.mixture(output)
        components = torch.distributions.Normal(means, log_stds.exp())
        mixture = torch.distributions.Categorical(logits=logits)
        density = torch.distributions.MixtureSameFamily(mixture, components)
        log_density: Tensor = density.log_prob(z)  # type: ignore[no-untyped-call]
        return -log_density.mean(1)

    def encode(self, given: Tensor, noise: Tensor) -> Tensor:
        with torch.no_grad():
            mu, logvar = self.vision.encode(given.permute(0, 3, 1, 2).double() / 255)
        return mu + torch.exp(logvar / 2) * noise


@pytest.fixture(scope="module")
def reference(path: Path) -> Reference:
    return Reference(path)


def close(ours: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(ours.double(), expected, rtol=tolerance, atol=tolerance)


def check_end(step: WorldStep, output: Tensor, at: int) -> None:
    """Reward, and termination sampled from its probability."""
    uniform = draws("uniform", TERMINATION, at, 1)[:, 0]
    probability = torch.sigmoid(output[:, -1])
    certain = (uniform - probability).abs() > 1e-5
    assert torch.equal(step.terminated[certain], (uniform < probability)[certain])
    assert torch.equal(step.reward, torch.ones(ROWS))


def test_begin_draws_a_stored_start(world: World, reference: Reference) -> None:
    fields = begun(world).fields
    index = (draws("uniform", START, 0, 1)[:, 0] * STARTS).long()
    mu, logvar = (reference.starts[name].double()[index] for name in ("mu", "logvar"))
    close(fields["z"], mu + torch.exp(logvar / 2) * draws("normal", VISION, 0, LATENTS))
    assert torch.equal(fields["restart"], torch.ones(ROWS))
    assert not fields["h"].any() and not fields["c"].any()


def test_begin_encodes_given_frames(world: World, reference: Reference) -> None:
    state = world.make_state(ROWS)
    mask = torch.arange(ROWS) % 3 != 1
    world.begin(state, mask, counters(0), frames())
    expected = reference.encode(frames(), draws("normal", VISION, 0, LATENTS))
    close(state.fields["z"], torch.where(mask[:, None], expected, 0))
    assert torch.equal(state.fields["restart"], mask.float())


def test_step_samples_the_mixture(world: World, reference: Reference) -> None:
    state = begun(world)
    temperature = torch.linspace(0.1, 1.3, ROWS)
    stable = 0
    for at in range(1, 30):
        actions = (torch.arange(ROWS) + at) % 3
        c, h, output = reference.lstm(state, actions)
        step = world.step(state, actions, temperature, counters(at))
        fields = state.fields
        close(fields["c"], c)
        close(fields["h"], h)

        logits, means, log_stds = reference.mixture(output)
        tau = temperature[:, None].double()
        reached = torch.softmax(logits / tau[..., None], 2).cumsum(2)
        uniform = draws("uniform", MIXTURE, at, LATENTS)[..., None]
        component = (reached[..., :-1] < uniform).sum(2, keepdim=True)
        mean, log_std = (x.gather(2, component)[..., 0] for x in (means, log_stds))
        noise = draws("normal", GAUSSIAN, at, LATENTS)
        z = mean + log_std.exp() * tau.sqrt() * noise
        # Rounding decides where a draw lies on the border of two components.
        certain = (reached[..., :-1] - uniform).abs().amin(2) > 1e-5
        close(fields["z"][certain], z[certain])
        stable += int(certain.sum())

        close(step.surprise, reference.surprise(output, fields["z"].double()), 1e-3)
        check_end(step, output, at)
        assert not fields["restart"].any()
    assert stable > 0.99 * 29 * ROWS * LATENTS


def test_follow_takes_the_given_frame(world: World, reference: Reference) -> None:
    state = begun(world)
    for at in range(1, 6):
        actions = (torch.arange(ROWS) * at) % 3
        given = frames(at)
        c, h, output = reference.lstm(state, actions)
        step = world.follow(state, actions, given, counters(at))
        fields = state.fields
        close(fields["c"], c)
        close(fields["h"], h)
        close(fields["z"], reference.encode(given, draws("normal", VISION, at, LATENTS)))
        close(step.surprise, reference.surprise(output, fields["z"].double()), 1e-3)
        check_end(step, output, at)


def test_what_is_observed(world: World, reference: Reference) -> None:
    state = begun(world)
    actions, tau = torch.ones(ROWS, dtype=torch.int64), torch.ones(ROWS)
    step = world.step(state, actions, tau, counters(1))
    assert torch.equal(step.observation, world.observe(state, "zch")), "by default the first"
    step = world.step(state, actions, tau, counters(2), "zh")
    assert torch.equal(step.observation, world.observe(state, "zh"))
    step = world.step(state, actions, tau, counters(3), "zch")
    z, c, h = (state.fields[name] for name in "zch")
    assert torch.equal(step.observation, torch.cat([z, c, h], 1))
    assert torch.equal(world.observe(state, "zch"), step.observation)
    assert torch.equal(world.observe(state, "zh"), torch.cat([z, h], 1))
    with torch.no_grad():
        decoded = reference.vision.decode(z.double()).permute(0, 2, 3, 1) * 255
    pixels = world.observe(state, "pixels")
    assert pixels.dtype == torch.uint8
    assert (pixels.double() - decoded).abs().max() < 0.51
    rows = torch.tensor([8, 0, 0])
    assert torch.equal(world.observe(state, "pixels", rows), pixels[rows])


def test_bfloat16_is_near_float32(path: Path) -> None:
    try:
        low = World.load(path, dtype="bfloat16")
    except ValueError as error:
        pytest.skip(str(error))
    high = World.load(path, dtype="float32")
    state, other = begun(high), begun(low)
    for at in range(1, 4):
        high.follow(state, torch.zeros(ROWS, dtype=torch.int64), frames(at), counters(at))
        low.follow(other, torch.zeros(ROWS, dtype=torch.int64), frames(at), counters(at))
    difference = high.observe(state, "zch") - low.observe(other, "zch")
    assert 0 < difference.abs().max() < 0.05


def test_spec(world: World) -> None:
    spec = world.spec
    assert (spec.name, spec.family, spec.dtype) == ("random", "vision-memory", "float32")
    assert spec.actions.meanings == ["left", "stay", "right"]
    shapes = {o.name: (tuple(o.shape), o.dtype) for o in spec.observations}
    assert shapes == {
        "zch": ((LATENTS + 2 * HIDDEN,), "float32"),
        "zh": ((LATENTS + HIDDEN,), "float32"),
        "pixels": ((64, 64, 3), "uint8"),
    }
    assert spec.frame is not None
    assert (spec.frame.low, spec.frame.high) == (0, 255)
    assert spec.state_bytes_per_row == 4 * (LATENTS + 2 * HIDDEN + 1)
    assert spec.temperature == 1.15
    assert list(spec.options) == ["termination"]
    termination = spec.options["termination"]
    assert (termination.value, termination.default) == ("sampled", "sampled")
    assert (termination.type, termination.choices) == ("choice", ["sampled", "thresholded"])
    assert (spec.frame_skip, spec.max_episode_steps) == (1, 100)
    assert world.device == torch.device("cpu")


def test_observations_can_be_trained_on(world: World) -> None:
    weight = torch.zeros(LATENTS + 2 * HIDDEN, requires_grad=True)
    value = (world.observe(begun(world), "zch") @ weight).sum()
    value.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None and weight.grad.any()


def test_autocast_of_the_caller_changes_nothing(world: World) -> None:
    state, other = begun(world), begun(world)
    actions = torch.zeros(ROWS, dtype=torch.int64)
    world.follow(state, actions, frames(), counters(1))
    with torch.autocast("cpu", torch.bfloat16):
        world.follow(other, actions, frames(), counters(1))
    assert torch.equal(state.fields["z"], other.fields["z"])


def test_copies_of_states(world: World) -> None:
    state = begun(world)
    fork = state.clone()
    world.step(state, torch.zeros(ROWS, dtype=torch.int64), torch.ones(ROWS), counters(1))
    assert not torch.equal(fork.fields["z"], state.fields["z"])
    some = state.select(torch.tensor([3, 3]))
    assert some.rows == 2
    assert torch.equal(some.fields["z"][1], state.fields["z"][3])
    WorldState.copy_rows(state, torch.tensor([0]), fork, torch.tensor([5]))
    assert torch.equal(fork.fields["h"][5], state.fields["h"][0])


def wrong_counters() -> Iterator[tuple[tuple[object, object, object], str]]:
    zeros = np.zeros(2, np.int64)
    yield (zeros, zeros, zeros[:1]), "2 seeds, 2 episodes and 1 steps"
    yield (np.array([0.5]), zeros, zeros), "seeds is no array of integers"
    yield (zeros, np.array([-1, 0]), zeros), "episodes holds -1, expected 0 to 4294967295"
    yield (zeros, zeros, np.array([2**32, 0])), "steps holds 4294967296, expected 0 to"
    yield (zeros, zeros[None], zeros), "episodes is no array of integers"


@pytest.mark.parametrize(("arguments", "words"), list(wrong_counters()))
def test_wrong_counters(arguments: tuple[object, object, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RowCounters(*arguments)


def test_counters_of_torch_and_numpy() -> None:
    assert len(RowCounters(torch.arange(3), np.arange(3, dtype=np.uint8), [0, 1, 2])) == 3


def test_errors(world: World, path: Path, tmp_path: Path) -> None:
    state = world.make_state(2)
    one = torch.ones(2)
    with pytest.raises(gymnasium.error.InvalidAction, match=r"actions\[1\] is 3, expected 0 to 2"):
        world.step(state, torch.tensor([0, 3]), one, counters(0, 2))
    with pytest.raises(ValueError, match=r"temperature: got float64 \[2\], expected float32 \[2\]"):
        world.step(state, torch.tensor([0, 2]), one.double(), counters(0, 2))
    for wrong, error, words in (
        ({"termination": "maybe"}, ValueError, 'is "maybe", expected "sampled" or "thresholded"'),
        ({"termination": None}, TypeError, "'termination' is None, expected a bool, an integer"),
        ({"termination": 2**70}, ValueError, "expected an integer that 64 bits can hold"),
        ({"passes": 4}, ValueError, r"random \(vision-memory\) has no option 'passes'"),
    ):
        with pytest.raises(error, match=words):
            World.load(path, options=wrong)
    with pytest.raises(FormatError, match="config.json"):
        World.load(tmp_path)
