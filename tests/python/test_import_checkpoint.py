"""Published checkpoints as worlds: what these compute against what their repositories say that V and
M are, re-computed from the files' own tensors (published_checkpoints.py)."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import philox
import pytest
import torch
from published_checkpoints import (
    COMPONENTS,
    HIDDEN,
    LATENTS,
    Ctallec,
    Hardmaru,
    Networks,
    Sksq96,
    write_starts,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

import genie_env
from genie_env import _core
from genie_env._core import RowCounters, World
from genie_env.cli.app import APP
from genie_env.envs.actions import DiscreteActions
from genie_env.families.vision_memory.checkpoints.actions import read_actions
from genie_env.families.vision_memory.checkpoints.importing import Facts, import_checkpoint
from genie_env.families.vision_memory.costs import vision_memory_costs

VISION, MIXTURE, GAUSSIAN = 1, 2, 3
"""Streams of genie_env/core/random.h."""
ROWS = 40

CAR = read_actions([], [-1, 0, 0], [1, 1, 1])
LEFT_OR_RIGHT = read_actions(["left=-1", "stay=0", "right=1"], [], [])
NAMED = read_actions(["left", "gas", "brake"], [], [])


@dataclass(frozen=True)
class Imported:
    """A world, and what it was made of."""

    path: Path
    theirs: Networks
    facts: Facts

    @cached_property
    def world(self) -> World:
        return World.load(self.path, dtype="float32")

    def drawn(self, step: int) -> tuple[Tensor, Tensor]:
        """Actions of the world, and the numbers that their M reads of them, float64."""
        generator = np.random.default_rng(step)
        actions = self.facts.actions
        assert actions is not None
        taken = actions.actions.draw(generator, (ROWS,))
        if isinstance(actions.actions, DiscreteActions):
            numbers = np.eye(3) if actions.points is None else actions.points.numpy()
            read = numbers[taken]
        else:
            read = taken.astype(np.float64)
        return torch.from_numpy(taken), torch.from_numpy(read)


CASES: dict[str, tuple[Callable[[], Networks], Any, dict[str, Any]]] = {
    "ctallec": (Ctallec, CAR, {}),
    "ctallec-numbered": (Ctallec, NAMED, {"termination": "sampled"}),
    "ctallec-without-heads": (lambda: Ctallec(heads=False), CAR, {"reward_per_step": 0.5}),
    "hardmaru-doom": (Hardmaru, LEFT_OR_RIGHT, {"reward_per_step": 1.0}),
    "hardmaru-car": (lambda: Hardmaru(3, doom=False), CAR, {"reward_per_step": 0.0}),
    "sksq96": (Sksq96, CAR, {"reward_per_step": 0.0}),
}


def brought_in(folder: Path, case: str) -> Imported:
    make, actions, more = CASES[case]
    theirs = make()
    files = theirs.write(folder / "files")
    starts = write_starts(folder / "starts.npz")
    facts = Facts(starts=[starts], actions=actions, max_episode_steps=100, **more)
    import_checkpoint(theirs.layout, *files, folder / "world", facts)
    return Imported(folder / "world", theirs, facts)


@pytest.fixture(scope="module", params=CASES)
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    return brought_in(tmp_path_factory.mktemp("imported"), request.param)


@pytest.fixture(scope="module")
def ctallec(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The two files of the layout."""
    return Ctallec().write(tmp_path_factory.mktemp("ctallec"))


@pytest.fixture(scope="module")
def hardmaru(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same of Doom's."""
    return Hardmaru().write(tmp_path_factory.mktemp("hardmaru"))


def counters(step: int, rows: int = ROWS) -> RowCounters:
    return RowCounters(range(rows), [0] * rows, [step] * rows)


def draws(fill: Callable[..., Any], step: int, stream: int, size: int) -> Tensor:
    return torch.from_numpy(np.stack([fill(seed, 0, step, stream, size) for seed in range(ROWS)]))


def frames_like(theirs: Networks, count: int) -> Tensor:
    """uint8 [count, 64, 64, 3]"""
    z = torch.randn(count, LATENTS, generator=torch.Generator().manual_seed(3)).double()
    return (theirs.decode(z) * 255).round().byte().permute(0, 2, 3, 1).contiguous()


@torch.no_grad()
def test_steps_are_theirs(imported: Imported) -> None:
    """The LSTM, the mixture and its draws, the density, reward and termination of every step."""
    world, theirs, certain = imported.world, imported.theirs, 0
    state = world.make_state(ROWS)
    world.begin(state, torch.ones(ROWS, dtype=torch.bool), counters(0))
    tau = torch.linspace(0.3, 1.3, ROWS)
    for at in range(1, 9):
        z, h, c = (state.fields[name].double().clone() for name in "zhc")
        actions, read = imported.drawn(at)
        h, c = theirs.step(z, read, torch.full((ROWS,), at == 1), h, c)
        step = world.step(state, actions, tau, counters(at))
        for name, expected in (("h", h), ("c", c)):
            torch.testing.assert_close(state.fields[name].double(), expected, rtol=1e-5, atol=2e-5)

        log_weights, means, deviations = theirs.mixture(h)
        mixtures = log_weights.shape[1]
        reached = torch.softmax(log_weights / tau[:, None, None], 2).cumsum(2)[..., :-1]
        uniform = draws(philox.uniforms, at, MIXTURE, mixtures)[..., None]
        chosen = (reached < uniform).sum(2, keepdim=True).expand(-1, LATENTS, 1)
        noise = draws(philox.normals, at, GAUSSIAN, LATENTS) * tau[:, None].double().sqrt()
        expected = means.gather(2, chosen)[..., 0] + deviations.gather(2, chosen)[..., 0] * noise
        clear = ((reached - uniform).abs().amin(2) > 1e-5).expand(-1, LATENTS)
        found = state.fields["z"].double()
        torch.testing.assert_close(found[clear], expected[clear], rtol=1e-4, atol=1e-4)
        certain += int(clear.sum())

        normals = torch.distributions.Normal(means, deviations).log_prob(found[..., None])
        joint = log_weights + (normals.sum(1, keepdim=True) if mixtures == 1 else normals)
        density = joint.logsumexp(2).sum(1)
        torch.testing.assert_close(step.surprise.double(), -density / LATENTS, rtol=1e-4, atol=1e-4)
        reward = theirs.reward(h)
        if reward is None:
            reward = torch.full((ROWS,), imported.facts.reward_per_step, dtype=torch.float64)
        torch.testing.assert_close(step.reward.double(), reward, rtol=1e-5, atol=1e-5)
        logit = theirs.termination_logit(h)
        if logit is None:
            assert step.termination_probability is None and not step.terminated.any()
        else:
            assert step.termination_probability is not None
            probability = step.termination_probability.double()
            torch.testing.assert_close(probability, logit.sigmoid(), rtol=1e-4, atol=1e-5)
            if imported.facts.termination is None:
                sure = logit.abs() > 1e-4
                assert torch.equal(step.terminated[sure], (logit > 0)[sure])
    assert certain > 0.99 * 8 * ROWS * LATENTS


@torch.no_grad()
def test_pictures_are_theirs(imported: Imported) -> None:
    world, theirs = imported.world, imported.theirs
    state = world.make_state(ROWS)
    world.begin(state, torch.ones(ROWS, dtype=torch.bool), counters(0))
    rows = torch.arange(4)
    expected = 255 * theirs.decode(state.fields["z"][rows].double()).permute(0, 2, 3, 1)
    shown = world.observe(state, "pixels", rows)
    assert expected.max() - expected.min() > 100
    assert (shown.double() - expected).abs().max() < 0.51


@torch.no_grad()
def test_frames_are_encoded_as_theirs(imported: Imported) -> None:
    world, theirs = imported.world, imported.theirs
    frames = frames_like(theirs, 4).repeat(ROWS // 4, 1, 1, 1)
    state = world.make_state(ROWS)
    world.begin(state, torch.ones(ROWS, dtype=torch.bool), counters(0), frames)
    mu, deviation = theirs.encode(frames[:4].permute(0, 3, 1, 2) / 255)
    mu, deviation = mu.repeat(ROWS // 4, 1), deviation.repeat(ROWS // 4, 1)
    expected = mu + deviation * draws(philox.normals, 0, VISION, LATENTS)
    torch.testing.assert_close(state.fields["z"].double(), expected, rtol=1e-4, atol=1e-4)


def test_in_every_dtype_the_dreams_are_alike(imported: Imported) -> None:
    try:
        rounded = World.load(imported.path, dtype="bfloat16")
    except ValueError as error:
        pytest.skip(str(error))
    rewards = []
    for world in (imported.world, rounded):
        state = world.make_state(ROWS)
        world.begin(state, torch.ones(ROWS, dtype=torch.bool), counters(0))
        step = world.step(state, imported.drawn(1)[0], torch.full((ROWS,), 1e-3), counters(1))
        rewards.append(torch.cat([step.reward[:, None], state.fields["h"]], 1))
        pictures = world.observe(state, "pixels", torch.arange(4))
        assert pictures.shape == (4, 64, 64, 3)
    torch.testing.assert_close(*rewards, rtol=0.05, atol=0.05)


def test_environments_of_it_run(imported: Imported) -> None:
    env = genie_env.make_vec(imported.path, 3, seed=0)
    env.reset()
    for _ in range(5):
        env.step(env.action_space.sample())
    env.close()


def test_what_is_not_summed_keeps_its_bits(tmp_path: Path) -> None:
    made = brought_in(tmp_path, "ctallec")
    assert isinstance(made.theirs, Ctallec)
    v, m = (net.float().state_dict() for net in (made.theirs.v, made.theirs.m))
    stored = load_file(made.path / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    for ours, theirs, factor in (
        ("conv2.weight", "encoder.conv2.weight", 1),
        ("mu.bias", "encoder.fc_mu.bias", 1),
        ("logvar.weight", "encoder.fc_logsigma.weight", 2),
        ("expand.weight", "decoder.fc1.weight", 1),
        ("deconv4.bias", "decoder.deconv4.bias", 1),
    ):
        assert torch.equal(stored[f"vision.{ours}"], factor * v[theirs]), ours
    read, output = m["rnn.weight_ih_l0"], m["gmm_linear.weight"]
    assert torch.equal(stored["memory.weight_hh"], m["rnn.weight_hh_l0"])
    # [z, action, restart]: bounds -1 .. 1 change nothing, bounds 0 .. 1 halve.
    ours = torch.cat([read[:, 3:], read[:, :3] * torch.tensor([1, 0.5, 0.5])], 1)
    assert torch.equal(stored["memory.weight_ih"][:, :-1], ours)
    assert not stored["memory.weight_ih"][:, -1].any()
    biases = m["rnn.bias_ih_l0"].double() + m["rnn.bias_hh_l0"].double()
    biases += read[:, :3].double() @ torch.tensor([0, 0.5, 0.5]).double()
    assert torch.equal(stored["memory.bias"], biases.float())
    assert torch.equal(stored["memory.output.weight"][:COMPONENTS], output[-2 - COMPONENTS : -2])
    assert torch.equal(stored["memory.reward.weight"], output[-2:-1])
    assert torch.equal(stored["memory.output.weight"][-1:], output[-1:])
    config = json.loads((made.path / "config.json").read_text())
    assert config["mixture"] == "joint" and config["decoder_features"] == "rectified"
    assert config["sizes"] == {"latents": LATENTS, "hidden": HIDDEN, "components": COMPONENTS}
    assert config["imported"]["repository"] == "ctallec/world-models"
    assert config["imported"]["memory"]["file"] == "best.tar"
    products = vision_memory_costs(config, {}).decoding
    assert [p.layer for p in products] == ["expand", *(f"deconv{i}" for i in range(1, 5))]
    assert [p.inner * p.outer for p in products] == [
        stored[f"vision.{p.layer}.weight"].numel() for p in products
    ]
    assert "`best.tar` and `best.tar`" in (made.path / "README.md").read_text()


def test_a_world_that_is_damaged_is_refused_by_its_field(tmp_path: Path) -> None:
    path = brought_in(tmp_path, "ctallec").path
    file = path / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "decoder_features": "cubic"}))
    words = '"decoder_features" is "cubic", expected "rectified" or "linear"'
    with pytest.raises(_core.FormatError, match=words):
        World.load(path)
    file.write_text(json.dumps(config))
    weights = load_file(path / "model.safetensors")
    del weights["memory.reward.bias"]
    save_file(weights, path / "model.safetensors")
    with pytest.raises(_core.FormatError, match='has no tensor "memory.reward.bias"'):
        World.load(path)


def same_weights(one: Path, other: Path) -> bool:
    return (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


def test_the_same_tensors_in_other_files_are_the_same_world(
    ctallec: tuple[Path, Path], tmp_path: Path
) -> None:
    """A bare state dict, one of DataParallel, one of MDRNNCell, and safetensors."""
    facts = Facts(starts=[write_starts(tmp_path / "s.npz")], actions=CAR, max_episode_steps=9)
    import_checkpoint("ctallec", *ctallec, tmp_path / "first", facts)
    v, m = (torch.load(file, weights_only=True)["state_dict"] for file in ctallec)
    torch.save({f"module.{name}": tensor for name, tensor in v.items()}, tmp_path / "v.pt")
    torch.save({name.removesuffix("_l0"): t for name, t in m.items()}, tmp_path / "cell.pth")
    save_file(dict(v), tmp_path / "v.safetensors")
    save_file(dict(m), tmp_path / "m.safetensors")
    for vision, memory in (("v.pt", "cell.pth"), ("v.safetensors", "m.safetensors")):
        out = tmp_path / f"of {vision}"
        import_checkpoint("ctallec", tmp_path / vision, tmp_path / memory, out, facts)
        assert same_weights(out, tmp_path / "first")


def test_dreams_begin_from_recorded_frames(ctallec: tuple[Path, Path], tmp_path: Path) -> None:
    """And the recording says what the files do not."""
    theirs = Ctallec()
    frames = frames_like(theirs, 6).numpy()
    data = record(tmp_path / "data", frames)
    import_checkpoint("ctallec", *ctallec, tmp_path / "world", Facts(starts=[data]))
    world = World.load(tmp_path / "world")
    assert world.spec.frame_skip == 2 and world.spec.max_episode_steps == 3
    assert world.spec.actions.low == [-1, 0, 0]
    assert world.spec.game == "CarRacing-v3" and world.spec.frames_per_second == 25
    starts = load_file(tmp_path / "world" / "starts.safetensors")
    with torch.no_grad():
        first = torch.from_numpy(frames[[0, 3]]).permute(0, 3, 1, 2) / 255
        mu, deviation = theirs.encode(first)
    torch.testing.assert_close(starts["mu"].double(), mu, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        (starts["logvar"] / 2).exp().double(), deviation, rtol=1e-4, atol=1e-4
    )


def record(directory: Path, frames: np.ndarray) -> Path:
    """Two episodes of three frames."""
    kinds = {"frames": "uint8", "actions": "float32", "rewards": "float32"}
    shapes = {"frames": [64, 64, 3], "actions": [3]}
    flags = dict.fromkeys(("terminations", "truncations"), "bool")
    meta = {
        "format_version": 2,
        "columns": {
            name: {"dtype": kind, "shape": shapes.get(name, [])}
            for name, kind in {**kinds, **flags}.items()
        },
        "game": "CarRacing-v3",
        "frame_skip": 2,
        "frames_per_second": 25.0,
        "actions": {"type": "box", "shape": [3], "low": [-1, 0, 0], "high": [1, 1, 1]},
    }
    with _core.EpisodeWriter(directory, 64, 64, json.dumps(meta)) as writer:
        for episode in frames.reshape(2, 3, 64, 64, 3):
            last = np.arange(3) == 2
            actions = np.zeros((3, 3), np.float32)
            writer.append(episode, actions, np.ones(3, np.float32), last, last & False)
    return directory


def test_starts_without_a_spread_are_points(ctallec: tuple[Path, Path], tmp_path: Path) -> None:
    starts = write_starts(tmp_path / "starts.npz", count=1, logvar=None)
    facts = Facts(starts=[starts], actions=CAR, max_episode_steps=9)
    import_checkpoint("ctallec", *ctallec, tmp_path / "world", facts)
    world = World.load(tmp_path / "world")
    state = world.make_state(ROWS)
    world.begin(state, torch.ones(ROWS, dtype=torch.bool), counters(0))
    mu = torch.from_numpy(np.load(starts)["mu"])
    assert torch.equal(state.fields["z"], mu.expand(ROWS, -1))


def test_initial_z_json_is_taken(hardmaru: tuple[Path, Path], tmp_path: Path) -> None:
    starts = tmp_path / "initial_z.json"
    mu, logvar = np.random.default_rng(0).integers(-9999, 9999, (2, 4, LATENTS))
    starts.write_text(json.dumps([mu.tolist(), logvar.tolist()]))
    facts = Facts(
        starts=[starts], actions=LEFT_OR_RIGHT, max_episode_steps=2100, reward_per_step=1.0
    )
    import_checkpoint("hardmaru", *hardmaru, tmp_path / "world", facts)
    stored = load_file(tmp_path / "world" / "starts.safetensors")
    np.testing.assert_array_equal(stored["mu"], np.float32(mu / 10000))
    np.testing.assert_array_equal(stored["logvar"], np.float32(logvar / 10000))


def test_rewards_may_be_constant_all_the_same(ctallec: tuple[Path, Path], tmp_path: Path) -> None:
    facts = Facts(
        starts=[write_starts(tmp_path / "s.npz")],
        actions=CAR,
        max_episode_steps=9,
        reward_per_step=2.0,
        termination="never",
    )
    import_checkpoint("ctallec", *ctallec, tmp_path / "world", facts)
    config = json.loads((tmp_path / "world" / "config.json").read_text())
    assert config["reward"] == {"type": "constant", "per_step": 2.0}
    assert config["termination"] == "never"


# What is refused, and with which words.

Edit = Callable[[dict[str, Any]], Any]


def edited(file: Path, to: Path, edit: Edit) -> Path:
    state = dict(torch.load(file, weights_only=True)["state_dict"])
    edit(state)
    torch.save(state, to)
    return to


def refusal(out: Path, layout: str, vision: Path, memory: Path, facts: Facts) -> str:
    with pytest.raises(ValueError) as refused:
        import_checkpoint(layout, vision, memory, out, facts)
    assert not out.exists()
    return str(refused.value)


COMPLETE = Facts(starts=[Path("s")], actions=CAR, max_episode_steps=9)


def test_all_that_does_not_fit_is_listed_in_one_error(
    ctallec: tuple[Path, Path], tmp_path: Path
) -> None:
    def of_vision(state: dict[str, Any]) -> None:
        del state["encoder.conv1.bias"], state["decoder.fc1.weight"]
        state["encoder.fc_mu.weight"] = torch.zeros(5, 1024)

    def of_memory(state: dict[str, Any]) -> None:
        state["rnn.weight_ih_l1"] = torch.zeros(4 * HIDDEN, HIDDEN)
        state["gmm_linear.bias"] = torch.zeros(2, 3)
        state["rnn.bias_hh_l0"] = torch.zeros(4 * HIDDEN + 1)

    v = edited(ctallec[0], tmp_path / "v.pt", of_vision)
    m = edited(ctallec[1], tmp_path / "m.pt", of_memory)
    words = refusal(tmp_path / "out", "ctallec", v, m, COMPLETE)
    assert words == (
        f"this is no checkpoint of the layout ctallec: {v} lacks encoder.conv1.bias, "
        f"decoder.fc1.weight; in {v} encoder.fc_mu.bias is [{LATENTS}], expected [5], "
        f"encoder.fc_logsigma.weight is [{LATENTS}, 1024], expected [5, 1024], "
        f"encoder.fc_logsigma.bias is [{LATENTS}], expected [5]; "
        f"{m} has, but the layout has not, rnn.weight_ih_l1; "
        f"in {m} rnn.bias_hh_l0 is [{4 * HIDDEN + 1}], expected [{4 * HIDDEN}], "
        "gmm_linear.bias is [2, 3], expected [41]"
    )


def test_what_nobody_has_said_is_asked_for_in_one_error(
    ctallec: tuple[Path, Path], tmp_path: Path
) -> None:
    assert refusal(tmp_path / "out", "ctallec", *ctallec, Facts()) == (
        "files of the layout ctallec do not say all: give --starts (what dreams begin from); "
        "--actions, or --action-low and --action-high (what can be done, of which M reads 3 numbers); "
        "--max-episode-steps (after which an episode is truncated)"
    )
    files = Sksq96().write(tmp_path)
    assert refusal(tmp_path / "out", "sksq96", *files, COMPLETE).endswith(
        "give --reward-per-step (as this M predicts no reward)"
    )


def test_code_in_a_file_is_never_run(ctallec: tuple[Path, Path], tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    file = tmp_path / "best.tar"
    torch.save({"state_dict": {"encoder.conv1.weight": Harmful()}}, file)
    words = refusal(tmp_path / "out", "ctallec", file, ctallec[1], COMPLETE)
    begin = f"{file} holds no state dict that could be read without running code of its (Unpickling"
    assert words.startswith(begin)
    assert words.endswith(
        "save that alone where the file comes from, torch.save(model.state_dict(), ...), or as "
        "safetensors"
    )
    assert "weights_only=False" not in words
    file.write_bytes(pickle.dumps(Harmful()))
    assert "without running code" in refusal(
        tmp_path / "out", "ctallec", file, ctallec[1], COMPLETE
    )
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("v.pt", b"", r"that could be read without running code of its \(EOFError"),
        ("v.pt", b"what nobody expects", "that could be read without running code of its"),
        ("v.safetensors", b"what nobody expects", "is not a safetensors file"),
        ("v.pt", {"state_dict": {"a": 1}}, "'a' is a int, but a state dict of tensors is expected"),
        ("v.pt", [1], "holds a list, but a state dict is expected"),
        ("v.pt", {"a": torch.zeros(2).int()}, "'a' is of torch.int32, but floating point numbers"),
        ("v.pt", {"a": torch.tensor([np.inf])}, "'a' holds a value that is not a finite float32"),
    ],
)
def test_files_that_are_something_else(
    name: str, content: Any, words: str, ctallec: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(ValueError, match=words) as refused:
        import_checkpoint("ctallec", file, ctallec[1], tmp_path / "out", COMPLETE)
    assert str(refused.value).startswith(str(file)) and not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError, match="no.pt cannot be read: No such file"):
        import_checkpoint("ctallec", tmp_path / "no.pt", file, tmp_path / "out", COMPLETE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "holds a dict, but a JSON list of arrays is expected"),
        ("[[1, NaN]]", "is not JSON"),
        ('[["1"]]', "'enc_conv1/kernel' is not an array of numbers"),
        ("[[true]]", "'enc_conv1/kernel' is not an array of numbers"),
        ("[[1, [2]]]", "'enc_conv1/kernel' is not an array of numbers"),
        ("[[1e999]]", "'enc_conv1/kernel' holds a value that is not a finite float32"),
        (
            "[[1]]",
            r"v.json lacks enc_conv1/bias, .*enc_conv1/kernel is \[1\], expected \[4, 4, 3, 32\]",
        ),
        (str([[1]] * 23), "has, but the layout has not, array 23"),
    ],
)
def test_json_that_is_something_else(
    content: str, words: str, hardmaru: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "v.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=words):
        import_checkpoint("hardmaru", file, hardmaru[1], tmp_path / "out", COMPLETE)


def test_an_m_that_reads_no_action_is_no_world(tmp_path: Path) -> None:
    files = Sksq96(actions=0).write(tmp_path)
    words = refusal(tmp_path / "out", "sksq96", *files, COMPLETE)
    assert words == (
        f"M of {files[1]} reads no action beside the {LATENTS} latents of V, and what cannot be acted "
        "in is no world: give a checkpoint that was trained with actions"
    )


def test_v_and_m_must_be_of_one_size(ctallec: tuple[Path, Path], tmp_path: Path) -> None:
    def one_output_more(state: dict[str, Any]) -> None:
        for kind in ("weight", "bias"):
            old = state[f"gmm_linear.{kind}"]
            state[f"gmm_linear.{kind}"] = torch.cat([old, old[:1]])

    m = edited(ctallec[1], tmp_path / "m.pt", one_output_more)
    assert refusal(tmp_path / "out", "ctallec", ctallec[0], m, COMPLETE) == (
        f"this is no checkpoint of the layout ctallec: gmm_linear of {m} has 42 outputs, expected 13 "
        "for each component of the mixture over 6 latents, and 2 more where M predicts reward and "
        "termination"
    )


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            replace(COMPLETE, actions=LEFT_OR_RIGHT),
            r"M reads 3 numbers of an action, but was given 3 actions \(left, stay, right\), which are "
            "1 number each: name as many actions, or give each as NAME=NUMBER,NUMBER",
        ),
        (
            replace(COMPLETE, actions=read_actions([], [0], [1])),
            r"M reads 3 numbers of an action, but was given actions \[1\] from 0 to 1, which are 1 "
            "number each: give as many bounds",
        ),
        (replace(COMPLETE, temperature=0.0), "the temperature is 0.0; expected a number above 0"),
        (replace(COMPLETE, starts=[Path("a"), Path("b")]), "--starts are a, b: give directories"),
    ],
)
def test_facts_that_do_not_fit(
    facts: Facts, words: str, ctallec: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        import_checkpoint("ctallec", *ctallec, tmp_path / "out", facts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"z": np.zeros((2, LATENTS))}, "holds 'z'; expected 'mu'"),
        ({"mu": np.zeros((2, 5))}, rf"has 'mu' \[2, 5\] and .*; expected \[starts, {LATENTS}\]"),
        ({"mu": np.zeros((2, LATENTS)), "logvar": np.zeros((1, LATENTS))}, "and 'logvar' .1, 6."),
        ({"mu": np.zeros((0, LATENTS))}, r"has 'mu' \[0, 6\]"),
        ({"mu": np.full((2, LATENTS), np.nan)}, "not a finite float32"),
        ({"mu": np.array([object()])}, "is not a .npz file of numbers"),
    ],
)
def test_starts_that_do_not_fit(
    arrays: dict[str, Any], words: str, ctallec: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "starts.npz"
    np.savez(file, **arrays)
    with pytest.raises(ValueError, match=words) as refused:
        import_checkpoint("ctallec", *ctallec, tmp_path / "out", replace(COMPLETE, starts=[file]))
    assert str(refused.value).startswith(str(file)) and not (tmp_path / "out").exists()


def test_a_termination_that_m_does_not_predict(tmp_path: Path) -> None:
    files = Ctallec(heads=False).write(tmp_path)
    facts = replace(
        COMPLETE,
        starts=[write_starts(tmp_path / "s.npz")],
        termination="sampled",
        reward_per_step=0.0,
    )
    assert refusal(tmp_path / "out", "ctallec", *files, facts).startswith(
        f"--termination is sampled, but M of {files[1]} predicts no termination: leave it out"
    )


@pytest.mark.parametrize(
    ("names", "low", "high", "words"),
    [
        (["a"], [0.0], [1.0], "--actions names numbered actions, and --action-low"),
        (
            ["a=1", "b"],
            [],
            [],
            "--actions are a=1 b: give all of them as NAME=NUMBER,NUMBER or none",
        ),
        (["a=1", "b=1,2"], [], [], "--actions are a=1 b=1,2: give as many numbers for each"),
        (["a=x"], [], [], "--actions has a=x, expected finite numbers after the '='"),
        (["a=1e39"], [], [], "--actions has a=1e39, expected finite numbers"),
        ([], [0.0], [], "--action-low has 1 numbers and --action-high 0: give as many of each"),
        (
            [],
            [1.0],
            [0.0],
            "--action-low and --action-high: the bounds of an action are 1.0 and 0.0",
        ),
    ],
)
def test_actions_that_cannot_be(
    names: list[str], low: list[float], high: list[float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        read_actions(names, low, high)


def test_the_command_line_knows_it(
    ctallec: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts = write_starts(tmp_path / "starts.npz")
    line = f"--layout ctallec --vision {ctallec[0]} --memory {ctallec[1]} --out {tmp_path / 'out'}"
    facts = f"--starts {starts} --action-low -1 0 0 --action-high 1 1 1 --max-episode-steps 7"
    with pytest.raises(SystemExit) as ended:
        APP.main(["import", "checkpoint", *line.split(), *facts.split()])
    assert ended.value.code == 0, capsys.readouterr().err
    assert World.load(tmp_path / "out").spec.max_episode_steps == 7
    with pytest.raises(SystemExit) as ended:
        APP.main(["import", "checkpoint", *line.split()])
    assert ended.value.code == 1
    assert "genie-env: files of the layout ctallec do not say all" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        APP.main(["import", "checkpoint", "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and "--reward-per-step" in shown
