"""A joint mixture of M: losses, draws and surprise against torch.distributions in float64."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import philox
import pytest
import torch
from random_world import write_random_world
from safetensors.torch import load_file, save_file
from torch import Tensor, distributions

from genie_env import _core
from genie_env._core import RowCounters, World

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from plain_torch_models import PlainMemory  # noqa: E402
from plain_torch_world import PlainDream  # noqa: E402

MIXTURE, GAUSSIAN = 2, 3
"""Streams of genie_env/core/random.h."""

LATENTS, HIDDEN, COMPONENTS, ROWS = 19, 24, 4, 70


def density(output: Tensor, latents: int, components: int) -> distributions.Distribution:
    """What M's output, [..., outputs], says of the next z."""
    sizes = [components, latents * components, latents * components, 1]
    logits, means, log_stds, _ = output.split(sizes, dim=-1)
    shape = (latents, components)
    normals = distributions.Normal(
        means.unflatten(-1, shape).transpose(-1, -2),
        log_stds.unflatten(-1, shape).transpose(-1, -2).exp(),
    )
    return distributions.MixtureSameFamily(
        distributions.Categorical(logits=logits), distributions.Independent(normals, 1)
    )


@pytest.mark.parametrize("sharp", [1, 40])
@pytest.mark.parametrize(("rows", "frames", "components"), [(3, 9, 5), (40, 4, 1), (2, 5, 32)])
def test_loss_and_gradients(sharp: float, rows: int, frames: int, components: int) -> None:
    """`sharp`: of weights as after training, the closed form of the gradient holds too."""
    sizes = {"latents": LATENTS, "hidden": HIDDEN, "components": components}
    ours = _core.Trainer(_core.Memory(**sizes, mixture="joint", seed=3), seed=7)
    weights = ours.weights()
    assert weights["output.bias"].shape == (components * (2 * LATENTS + 1) + 1,)
    weights["output.weight"] *= sharp
    ours.load_weights(weights)
    generator = torch.Generator().manual_seed(rows)
    batch = {
        "mu": torch.randn(rows, frames, LATENTS, generator=generator),
        "logvar": torch.full((rows, frames, LATENTS), -1.0),
        "actions": torch.randn(rows, frames, 1, generator=generator).clip(-1, 1),
        **{name: torch.zeros(rows, frames) for name in ("restarts", "terminations", "finals")},
    }
    batch["restarts"][1, 2] = 1

    report = ours.backward(batch)
    reference = PlainMemory(**sizes, joint=True).double()
    reference.load_ours({name: weight.double() for name, weight in weights.items()})
    drawn = philox.training_noise(7, 0, rows * frames * LATENTS + rows * HIDDEN)
    noise, units = torch.from_numpy(drawn).split([rows * frames * LATENTS, rows * HIDDEN])
    noise, kept = noise.reshape(rows, frames, LATENTS), units.reshape(rows, HIDDEN) > 0
    doubles = {name: tensor.double() for name, tensor in batch.items()}
    z = doubles["mu"] + torch.exp(doubles["logvar"] / 2) * noise
    _, terms = reference.loss(doubles, noise, kept)
    inputs = torch.cat([z, doubles["actions"], doubles["restarts"][..., None]], dim=-1)
    output = reference.output(reference.lstm(inputs)[0])
    log_density = density(output[:, :-1], LATENTS, components).log_prob(z[:, 1:])
    nll = -log_density[doubles["restarts"][:, 1:] == 0].mean() / LATENTS
    assert terms["nll"].item() == pytest.approx(nll.item(), rel=1e-9)
    (nll + terms["termination"]).backward()
    assert report["nll"] == pytest.approx(nll.item(), rel=1e-4 if sharp > 1 else 1e-5)
    expected, found = reference.gradients_as_ours(), ours.gradients()
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        assert gradient is not None
        difference = (found[name].double() - gradient).abs().max()
        assert difference < 1e-3 * gradient.abs().max(), name


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("worlds") / "joint"
    return write_random_world(directory, LATENTS, HIDDEN, COMPONENTS, joint=True)


def counters(step: int, rows: int, first: int = 0) -> RowCounters:
    return RowCounters(range(first, first + rows), [0] * rows, [step] * rows)


def begun(world: World, rows: int, first: int = 0) -> _core.WorldState:
    state = world.make_state(rows)
    world.begin(state, torch.ones(rows, dtype=torch.bool), counters(0, rows, first))
    return state


def test_a_step_draws_one_component_a_row_and_scores_what_it_drew(path: Path) -> None:
    world = World.load(path, dtype="float32")
    weights = {k: v.double() for k, v in load_file(path / "model.safetensors").items()}
    state, tau = begun(world, ROWS), torch.linspace(0.2, 1.4, ROWS)
    actions, certain = torch.zeros(ROWS, dtype=torch.int64), 0
    for at in range(1, 12):
        step = world.step(state, actions, tau, counters(at, ROWS))
        z, h = state.fields["z"].double(), state.fields["h"].double()
        output = h @ weights["memory.output.weight"].T + weights["memory.output.bias"]
        mixture = density(output, LATENTS, COMPONENTS)
        surprise = -mixture.log_prob(z) / LATENTS
        torch.testing.assert_close(step.surprise.double(), surprise, rtol=1e-4, atol=1e-4)

        def drawn(fill: object, stream: int, size: int, at: int = at) -> Tensor:
            rows = [fill(seed, 0, at, stream, size) for seed in range(ROWS)]  # type: ignore[operator]
            return torch.from_numpy(np.stack(rows))

        reached = torch.softmax(output[:, :COMPONENTS] / tau[:, None].double(), 1).cumsum(1)[:, :-1]
        uniform = drawn(philox.uniforms, MIXTURE, 1)
        component = (reached < uniform).sum(1)
        normals = mixture.component_distribution.base_dist
        row = torch.arange(ROWS)
        noise = drawn(philox.normals, GAUSSIAN, LATENTS) * tau[:, None].double().sqrt()
        expected = normals.loc[row, component] + normals.scale[row, component] * noise
        clear = (reached - uniform).abs().amin(1) > 1e-5
        torch.testing.assert_close(z[clear], expected[clear], rtol=1e-4, atol=1e-4)
        certain += int(clear.sum())
    assert certain > 0.99 * 11 * ROWS


def write_two_clouds(directory: Path, joint: bool) -> Path:
    """A world of two latents that are -2 or 2, more often 2, whatever happened before."""
    write_random_world(directory, latents=2, hidden=3, components=2, joint=joint)
    file = directory / "model.safetensors"
    weights = load_file(file)
    logits = [np.log(0.3), np.log(0.7)] * (1 if joint else 2)
    bias = torch.tensor([*logits, *[-2, 2] * 2, *[np.log(0.5)] * 4, -9.0])
    weights["memory.output.bias"] = bias.half()
    weights["memory.output.weight"] = torch.zeros_like(weights["memory.output.weight"])
    save_file(weights, file)
    return directory


@pytest.mark.parametrize("joint", [True, False])
def test_dimensions_depend_on_each_other_in_joint_mixtures_alone(
    joint: bool, tmp_path: Path
) -> None:
    world, rows = World.load(write_two_clouds(tmp_path / "world", joint), dtype="float32"), 20_000
    state = begun(world, rows)
    for at, tau in enumerate((1.0, 0.5), start=1):
        actions = torch.zeros(rows, dtype=torch.int64)
        world.step(state, actions, torch.full((rows,), tau), counters(at, rows))
        z = state.fields["z"].double()
        share = 0.7 ** (1 / tau) / (0.7 ** (1 / tau) + 0.3 ** (1 / tau))
        assert (z > 0).double().mean(0).tolist() == pytest.approx([share] * 2, abs=0.015)
        assert (z - 2 * z.sign()).std(0).tolist() == pytest.approx([0.5 * tau**0.5] * 2, rel=0.03)
        between = 16 * share * (1 - share)
        correlation = between / (between + 0.25 * tau) if joint else 0
        assert torch.corrcoef(z.T)[0, 1].item() == pytest.approx(correlation, abs=0.03)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bits_of_a_row_depend_on_neither_batch_nor_threads(path: Path, dtype: str) -> None:
    try:
        world = World.load(path, dtype=dtype)  # type: ignore[arg-type]
    except ValueError as error:
        pytest.skip(str(error))
    threads = torch.get_num_threads()

    def dreamt(rows: int, first: int = 0) -> Tensor:
        state = begun(world, rows, first)
        steps = []
        for at in range(1, 6):
            actions = torch.ones(rows, dtype=torch.int64)
            step = world.step(state, actions, torch.ones(rows), counters(at, rows, first))
            steps.append(torch.cat([step.observation, step.surprise[:, None]], 1))
        return torch.stack(steps, 1)

    whole = dreamt(300)
    assert torch.equal(dreamt(1, 299), whole[299:])
    assert torch.equal(dreamt(7, 130), whole[130:137])
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert torch.equal(dreamt(300), whole)
    finally:
        torch.set_num_threads(threads)


def test_with_one_latent_both_mixtures_are_the_same(tmp_path: Path) -> None:
    path = write_random_world(tmp_path / "world", latents=1, hidden=5)
    file = path / "config.json"
    found = []
    for mixture in ("independent", "joint"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "mixture": mixture}))
        world = World.load(path, dtype="float32")
        state = begun(world, 50)
        actions = torch.zeros(50, dtype=torch.int64)
        step = world.step(state, actions, torch.ones(50), counters(1, 50))
        found.append(torch.cat([state.fields["z"], step.surprise[:, None]], 1))
    torch.testing.assert_close(*found)


def test_plain_pytorch_dreams_in_a_joint_world(path: Path) -> None:
    """Of the benchmark: its draws have the spread of the world's."""
    rows = 2000
    plain, world = PlainDream(path, rows, torch.float32), World.load(path, dtype="float32")
    state = world.make_state(rows)
    state.fields["restart"].fill_(1)
    actions = torch.zeros(rows, dtype=torch.int64)
    world.step(state, actions, torch.full((rows,), plain.temperature), counters(1, rows))
    plain.step(actions)
    torch.testing.assert_close(plain.h, state.fields["h"], rtol=1e-4, atol=1e-4)
    for dimension in range(LATENTS):
        ours, theirs = (z[:, dimension].sort()[0] for z in (state.fields["z"], plain.z))
        assert (ours - theirs).abs().mean() < 0.15 * ours.std()


def test_an_unknown_mixture_is_refused() -> None:
    with pytest.raises(ValueError, match='mixture is "both", expected "independent" or "joint"'):
        _core.Memory(mixture="both")
    assert _core.Memory(latents=2, hidden=2).mixture == "independent"
    assert _core.Memory(latents=2, hidden=2, mixture="joint").mixture == "joint"
