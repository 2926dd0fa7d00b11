"""Losses and gradients of V and M in C++ against an independent re-computation in PyTorch.

The reference runs in float64, with the noise re-computed by `philox.py`, so what is left over is
the float32 rounding of ours.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import philox
import pytest
import torch
from torch import Tensor

from genie_env import _core

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from plain_torch_models import PlainMemory, PlainVision  # noqa: E402

SEED = 7


def trainer(kind: str, seed: int = SEED, bf16: bool = False) -> _core.Trainer:
    network = {"vision": _core.Vision, "memory": _core.Memory}[kind](seed=seed)
    return _core.Trainer(network, seed=seed, bf16=bf16)


def noise(shape: tuple[int, ...], step: int = 0) -> Tensor:
    """What a training step draws, in float64."""
    values = philox.training_noise(SEED, step, math.prod(shape))
    return torch.from_numpy(values).reshape(shape)


def memory_noise(rows: int, frames: int, step: int = 0) -> tuple[Tensor, Tensor]:
    """What a training step of M draws: z's noise, and which units the termination reads."""
    draws = noise((rows * frames * 64 + rows * 512,), step)
    z, units = draws.split([rows * frames * 64, rows * 512])
    return z.reshape(rows, frames, 64), units.reshape(rows, 512) > 0


def doubles(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in tensors.items()}


def check_gradients(
    ours: dict[str, Tensor], reference: dict[str, Tensor | None], tolerance: float = 1e-4
) -> None:
    assert ours.keys() == reference.keys()
    for name, expected in reference.items():
        assert expected is not None
        scale = expected.abs().max().item()
        assert scale > 0, f"the reference has no gradient for {name}"
        difference = (ours[name].double() - expected).abs().max().item()
        assert difference < tolerance * scale, f"{name}: off by {difference:.2e} of {scale:.2e}"


def random_frames(count: int) -> Tensor:
    """Smooth pictures: noise at 8 x 8, enlarged."""
    generator = np.random.default_rng(count)
    small = generator.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return torch.from_numpy(small.repeat(8, axis=1).repeat(8, axis=2))


def memory_batch(
    rows: int, frames: int, ends: list[tuple[int, int, bool]], finals: bool = False
) -> dict[str, Tensor]:
    """Windows out of a stream of episodes. `ends`: row, last frame of an episode, whether by death
    (the time limit ends the others). The first window begins with an episode. `finals`: a final
    frame follows each end, where there is room."""
    generator = np.random.default_rng(rows + frames)
    restarts, terminations, final = np.zeros((3, rows, frames))
    restarts[0, 0] = 1
    for row, last, died in ends:
        terminations[row, last] = died
        if last + 1 < frames:
            final[row, last + 1] = finals
        if last + 1 + finals < frames:
            restarts[row, last + 1 + finals] = 1
    batch = {
        "mu": generator.normal(size=(rows, frames, 64)),
        "logvar": generator.normal(-1, 0.5, size=(rows, frames, 64)),
        "actions": generator.integers(-1, 2, (rows, frames))[..., None],
        "restarts": restarts,
        "terminations": terminations,
        "finals": final,
        "rewards": generator.normal(0, 2, (rows, frames)).clip(-3, 5),
    }
    return {name: torch.from_numpy(array.astype(np.float32)) for name, array in batch.items()}


def plain_vision(ours: _core.Trainer, beta: float = 1) -> PlainVision:
    reference = PlainVision(beta=beta).double()
    reference.load_state_dict(doubles(ours.weights()))
    return reference


def plain_memory(ours: _core.Trainer) -> PlainMemory:
    reference = PlainMemory().double()
    reference.load_ours(doubles(ours.weights()))
    return reference


@pytest.mark.parametrize(("kind", "count"), [("vision", 4_446_915), ("memory", 1_678_785)])
def test_parameter_counts_are_the_papers(kind: str, count: int) -> None:
    assert sum(weight.numel() for weight in trainer(kind).weights().values()) == count


@pytest.mark.parametrize("images", [1, 3])
def test_vision_loss_and_gradients(images: int) -> None:
    ours = trainer("vision")
    reference = plain_vision(ours)
    frames = random_frames(images)
    report = ours.backward({"frames": frames})
    loss, terms = reference.loss(frames, noise((images, 64)))
    loss.backward()  # type: ignore[no-untyped-call]
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name, term in terms.items():
        assert report[name] == pytest.approx(term.item(), rel=1e-4, abs=1e-5)
    gradients = {name: parameter.grad for name, parameter in reference.named_parameters()}
    # A fresh V's KL is below its floor, so that no gradient of it flows; the next test raises it.
    assert terms["kl"].item() < 32
    check_gradients(ours.gradients(), gradients)


@pytest.mark.parametrize("frame", [(48, 64), (80, 112), (48, 48)])
def test_vision_of_other_sizes(frame: tuple[int, int]) -> None:
    height, width = frame
    ours = _core.Trainer(_core.Vision(latents=6, height=height, width=width, seed=SEED), seed=SEED)
    reference = PlainVision(latents=6, frame=frame).double()
    reference.load_state_dict(doubles(ours.weights()))
    random = np.random.default_rng(2)
    frames = torch.from_numpy(random.integers(0, 256, (2, height, width, 3), dtype=np.uint8))
    report = ours.backward({"frames": frames})
    loss, _ = reference.loss(frames, noise((2, 6)))
    loss.backward()  # type: ignore[no-untyped-call]
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)
    gradients = {name: parameter.grad for name, parameter in reference.named_parameters()}
    check_gradients(ours.gradients(), gradients)


@pytest.mark.parametrize("frame", [(64, 64), (48, 64)])
def test_vision_with_an_emphasis(frame: tuple[int, int]) -> None:
    height, width = frame
    sizes = {"latents": 6, "height": height, "width": width}
    ours = _core.Trainer(_core.Vision(**sizes, emphasis=3.5, seed=SEED), seed=SEED)
    reference = PlainVision(latents=6, frame=frame, emphasis=3.5).double()
    reference.load_state_dict(doubles(ours.weights()))
    frames = random_frames(5)[:, :height]
    frames[3, 20:24, 30:34] = 255  # a small thing that is not always there
    report = ours.backward({"frames": frames})
    loss, terms = reference.loss(frames, noise((5, 6)))
    loss.backward()  # type: ignore[no-untyped-call]
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert report["squared_error"] == pytest.approx(terms["squared_error"].item(), rel=1e-5)
    assert abs(report["loss"] / report["squared_error"] - 1) > 0.05
    gradients = {name: parameter.grad for name, parameter in reference.named_parameters()}
    check_gradients(ours.gradients(), gradients)


def test_an_emphasis_weighs_equal_frames_as_none_does() -> None:
    frames = random_frames(1).expand(2, -1, -1, -1)
    plain, emphasised = (
        _core.Trainer(_core.Vision(emphasis=e, seed=SEED), seed=SEED).backward({"frames": frames})
        for e in (0, 4)
    )
    assert emphasised["loss"] == pytest.approx(plain["loss"], rel=1e-6)


@pytest.mark.parametrize("emphasis", [-1, math.nan, math.inf])
def test_vision_refuses_an_emphasis_that_is_no_weight(emphasis: float) -> None:
    with pytest.raises(ValueError, match=r"emphasis is -?[\w.]+; expected a finite number, 0 or"):
        _core.Vision(emphasis=emphasis)


@pytest.mark.parametrize("beta", [1, 0.1])
def test_vision_kl_above_its_floor_in_some_images(beta: float) -> None:
    ours = _core.Trainer(_core.Vision(seed=SEED, beta=beta), seed=SEED)
    weights = ours.weights()
    # Distances from the prior that grow with an image's brightness.
    weights["mu.weight"] *= 110
    ours.load_weights(weights)
    reference = plain_vision(ours, beta)
    brightness = torch.tensor([0.02, 0.3, 0.7, 1.0])[:, None, None, None]
    frames = (random_frames(4) * brightness).byte()
    report = ours.backward({"frames": frames})
    loss, terms = reference.loss(frames, noise((4, 64)))
    loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        mu, logvar = reference.encode(frames.permute(0, 3, 1, 2).double() / 255)
        kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1)
    assert 0 < (kl > 32).sum() < 4, kl
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert report["kl"] == pytest.approx(terms["kl"].item(), rel=1e-4)
    gradients = {name: parameter.grad for name, parameter in reference.named_parameters()}
    check_gradients(ours.gradients(), gradients)


def test_vision_encodes_and_decodes_as_the_reference() -> None:
    ours = trainer("vision")
    weights = ours.weights()
    weights["deconv4.weight"] *= 30  # as after training: more than one shade
    ours.load_weights(weights)
    reference, vision = plain_vision(ours), ours.model
    assert isinstance(vision, _core.Vision)
    frames = random_frames(3)
    latents = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 64)))
    with torch.no_grad():
        expected = reference.encode(frames.permute(0, 3, 1, 2).double() / 255)
        pixels = reference.decode(latents).permute(0, 2, 3, 1) * 255
    for got, wanted in zip(vision.encode(frames), expected, strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=1e-5)
    decoded = vision.decode(latents.float())
    assert decoded.dtype == torch.uint8 and pixels.std() > 1
    assert (decoded.double() - pixels).abs().max().item() < 0.5 + 1e-2  # rounding


@pytest.mark.parametrize("beta", [0, -1, math.nan, math.inf])
def test_vision_refuses_a_beta_that_is_no_weight(beta: float) -> None:
    with pytest.raises(ValueError, match=r"beta is -?[\w.]+; expected a finite number above 0"):
        _core.Vision(beta=beta)


@pytest.mark.parametrize(
    ("rows", "frames", "ends"),
    [
        pytest.param(3, 9, [(1, 8, True)], id="a death at the end of a window"),
        pytest.param(3, 9, [(0, 3, True), (1, 0, True), (2, 7, False)], id="ends within windows"),
        pytest.param(2, 9, [(0, 1, True), (0, 2, True), (0, 6, False)], id="several in one"),
        pytest.param(2, 9, [], id="no deaths"),
        pytest.param(1, 2, [(0, 1, True)], id="one transition"),
        pytest.param(70, 3, [(row, 2, True) for row in range(0, 70, 9)], id="many rows"),
    ],
)
def test_memory_loss_and_gradients(
    rows: int, frames: int, ends: list[tuple[int, int, bool]]
) -> None:
    ours = trainer("memory")
    reference = plain_memory(ours)
    batch = memory_batch(rows, frames, ends)
    report = ours.backward(batch)
    loss, terms = reference.loss(doubles(batch), *memory_noise(rows, frames))
    loss.backward()  # type: ignore[no-untyped-call]
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name, term in terms.items():
        assert report[name] == pytest.approx(term.item(), rel=1e-5)
    check_gradients(ours.gradients(), reference.gradients_as_ours())


@pytest.mark.parametrize(
    ("rewards", "judges"), [((-3.0, 5.0), True), ((-3.0, 5.0), False), (None, True)]
)
@pytest.mark.parametrize(
    ("rows", "frames", "ends"),
    [
        pytest.param(3, 9, [(0, 3, True), (1, 0, True), (2, 7, False)], id="ends within windows"),
        pytest.param(2, 9, [(0, 1, True), (0, 8, True)], id="an end without room for its frame"),
        pytest.param(2, 3, [], id="no ends"),
    ],
)
def test_memory_judges_outcomes_with_the_next_frame(
    rows: int,
    frames: int,
    ends: list[tuple[int, int, bool]],
    rewards: tuple[float, float] | None,
    judges: bool,
) -> None:
    sizes = {"actions": 1, "rewards": rewards, "judges_termination": judges}
    ours = _core.Trainer(_core.Memory(seed=SEED, **sizes), seed=SEED)
    reference = PlainMemory(**sizes).double()
    reference.load_ours(doubles(ours.weights()))
    batch = memory_batch(rows, frames, ends, finals=True)
    report = ours.backward(batch)
    loss, terms = reference.loss(doubles(batch), *memory_noise(rows, frames))
    loss.backward()  # type: ignore[no-untyped-call]
    assert ("reward" in report) == (rewards is not None)
    for name, term in {"loss": loss, **terms}.items():
        assert report[name] == pytest.approx(term.item(), rel=1e-5), name
    check_gradients(ours.gradients(), reference.gradients_as_ours())


def test_memory_expects_rewards_between_those_it_was_given() -> None:
    memory = _core.Memory(seed=SEED, rewards=(-3.0, 5.0))
    batch = memory_batch(2, 9, [(1, 4, True)])
    found = memory.judge_windows(batch, noise_step=3)
    assert found["followed"].sum() == 2 * 8 - 1 and found["judged"].all()
    rewards = found["rewards"][found["followed"]]
    assert -3 < rewards.min() and rewards.max() < 5
    for wrong in ((1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="expected finite numbers, the second above the first"):
            _core.Memory(rewards=wrong)


def test_memory_far_from_its_initial_weights() -> None:
    """Sharp and lopsided mixtures, as after training: the closed form of their gradient holds."""
    ours = trainer("memory")
    weights = ours.weights()
    weights["output.weight"] *= 60
    ours.load_weights(weights)
    reference = plain_memory(ours)
    batch = memory_batch(3, 9, [(1, 4, True)])
    report = ours.backward(batch)
    loss, _ = reference.loss(doubles(batch), *memory_noise(3, 9))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() > 3
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-4)
    check_gradients(ours.gradients(), reference.gradients_as_ours(), tolerance=1e-3)


def test_memory_counts_deaths_found_and_false_alarms_at_logit_zero() -> None:
    ours = trainer("memory")
    batch = memory_batch(3, 9, [(0, 3, True), (1, 8, True), (2, 5, False)])
    weights = ours.weights()
    for bias, found, alarms in [(50.0, 2, 25), (-50.0, 0, 0)]:
        weights["output.bias"][-1] = bias
        ours.load_weights(weights)
        report = ours.backward(batch)
        assert (report["deaths"], report["survivals"]) == (2, 25)
        assert (report["deaths_found"], report["false_alarms"]) == (found, alarms)
    assert ours.backward(memory_batch(3, 9, []))["deaths"] == 0


def test_memory_is_evaluated_whole() -> None:
    """Outside training the termination reads every unit, and training goes on as if nothing was."""
    ours, unbroken = trainer("memory"), trainer("memory")
    batch = memory_batch(3, 9, [(1, 4, True)])
    reference = plain_memory(ours)
    report = ours.evaluate(batch, noise_step=4)
    draws = philox.training_noise(2**64 - 1 - SEED, 4, 3 * 9 * 64)
    _, terms = reference.loss(doubles(batch), torch.from_numpy(draws).reshape(3, 9, 64))
    assert report["termination"] == pytest.approx(terms["termination"].item(), rel=1e-5)
    assert ours.backward(batch) == unbroken.backward(batch)


def test_memorys_termination_logits_are_the_references() -> None:
    ours = trainer("memory")
    reference, memory = plain_memory(ours), ours.model
    assert isinstance(memory, _core.Memory)
    batch = memory_batch(3, 9, [(1, 4, True)])
    draws = torch.from_numpy(philox.training_noise(0, 5, 3 * 9 * 64)).reshape(3, 9, 64)
    told = doubles(batch)
    z = told["mu"] + torch.exp(told["logvar"] / 2) * draws
    extra = torch.cat([told["actions"], told["restarts"][..., None]], dim=-1)
    with torch.no_grad():
        expected = reference.output(reference.lstm(torch.cat([z, extra], dim=-1))[0])[..., -1]
    got = memory.judge_windows(batch, noise_step=5)["termination_logits"]
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-6)


def test_lstm_gates_written_out() -> None:
    """The reference's LSTM is torch's own; this one is the textbook's equations."""
    ours = trainer("memory")
    reference = plain_memory(ours)
    weights = doubles(ours.weights())
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 4, 66)))
    h = c = torch.zeros(2, 512, dtype=torch.float64)
    outputs = []
    for t in range(x.shape[1]):
        sums = x[:, t] @ weights["weight_ih"].T + h @ weights["weight_hh"].T + weights["bias"]
        i, f, g, o = sums.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    torch.testing.assert_close(reference.lstm(x)[0], torch.stack(outputs, dim=1))


@pytest.mark.parametrize("kind", ["vision", "memory"])
def test_noise_follows_the_step(kind: str) -> None:
    """The second step draws what the key (seed, 1) says, from the updated weights."""
    ours = trainer(kind)
    vision = kind == "vision"
    batch = {"frames": random_frames(2)} if vision else memory_batch(2, 5, [(1, 2, True)])
    ours.backward(batch)
    ours.update()
    report = ours.backward(batch)
    reference = plain_vision(ours) if vision else plain_memory(ours)
    if isinstance(reference, PlainVision):
        loss, _ = reference.loss(batch["frames"], noise((2, 64), step=1))
    else:
        loss, _ = reference.loss(doubles(batch), *memory_noise(2, 5, step=1))
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_update_is_adam() -> None:
    """Kingma & Ba 2015, algorithm 1, with the gradients that ours reports."""
    ours = trainer("memory")
    batch = memory_batch(2, 6, [(1, 3, True)])
    rate, beta1, beta2 = 0.01, 0.9, 0.999
    ours.set_learning_rate(rate)
    weight = ours.weights()["weight_hh"].double()
    before = weight.clone()
    first = second = torch.zeros_like(weight)
    for step in range(1, 4):
        ours.backward(batch)
        gradient = ours.gradients()["weight_hh"].double()
        ours.update()
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient.square()
        unbiased = first / (1 - beta1**step), second / (1 - beta2**step)
        weight = weight - rate * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
    difference = (ours.weights()["weight_hh"].double() - weight).abs().max().item()
    assert difference < 1e-4 * (weight - before).abs().max().item()


@pytest.mark.parametrize("kind", ["vision", "memory"])
def test_bf16_stays_close(kind: str) -> None:
    vision = kind == "vision"
    batch = {"frames": random_frames(4)} if vision else memory_batch(2, 9, [(1, 4, True)])
    exact, rounded = trainer(kind), trainer(kind, bf16=True)
    assert rounded.backward(batch)["loss"] == pytest.approx(exact.backward(batch)["loss"], rel=2e-2)
    for name, gradient in rounded.gradients().items():
        expected = exact.gradients()[name]
        a, b = gradient.flatten(), expected.flatten()
        assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.98, name
