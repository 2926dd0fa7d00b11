"""Losses and gradients of Genie's networks in C++ against an independent re-computation in PyTorch.

The reference runs in float64, with the noise re-computed by `philox.py`, so what is left over is
the float32 rounding of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import philox
import pytest
import torch
from torch import Tensor, nn

from genie_env import _core

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from plain_torch_genie import (  # noqa: E402
    PlainDynamics,
    PlainLatentAction,
    PlainTokenizer,
    to_patches,
)

SEED = 7
VIDEO: dict[str, Any] = {
    "frame": (8, 12),
    "patch": 4,
    "width": 16,
    "heads": 2,
    "encoder_blocks": 2,
    "decoder_blocks": 2,
    "code_dimensions": 3,
    "window": 3,
}
TOKENS: dict[str, Any] = {
    "positions": 3,
    "codes": 11,
    "width": 16,
    "heads": 2,
    "blocks": 2,
    "window": 3,
    "passes": 4,
}
ACTION_CODES = torch.nn.functional.normalize(torch.arange(12.0).view(4, 3).cos(), dim=1)

Loss = Callable[[dict[str, Tensor], int], tuple[Tensor, dict[str, Tensor]]]


MOMENTUM = {"latent actions": 0.0, "latent actions with momentum": 0.6}


def network(kind: str) -> _core.Model:
    if kind == "tokenizer":
        return _core.Tokenizer(codes=9, seed=SEED, **VIDEO)
    if kind in MOMENTUM:
        return _core.LatentAction(actions=4, action_decay=MOMENTUM[kind], seed=SEED, **VIDEO)
    return _core.Dynamics(ACTION_CODES, seed=SEED, **TOKENS)


def trainer(kind: str, bf16: bool = False) -> _core.Trainer:
    return _core.Trainer(network(kind), seed=SEED, bf16=bf16)


def plain(kind: str, ours: _core.Trainer) -> tuple[nn.Module, Loss]:
    """The reference with the weights of ours, and its loss of a batch at a step."""
    reference: nn.Module
    if kind == "dynamics":
        dynamics = PlainDynamics(ACTION_CODES.double(), **TOKENS)

        def dynamics_loss(batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
            count = dynamics.draws(*batch["tokens"].shape)
            draws = philox.uniforms(SEED, 0, step, philox.TRAINING_NOISE, count)
            return dynamics.loss(batch["tokens"], batch["actions"], torch.from_numpy(draws))

        reference, loss = dynamics, dynamics_loss
    else:
        video: PlainTokenizer | PlainLatentAction
        if kind == "tokenizer":
            video = PlainTokenizer(codes=9, **VIDEO)
        else:
            video = PlainLatentAction(actions=4, action_decay=MOMENTUM[kind], **VIDEO)

        def video_loss(batch: dict[str, Tensor], _: int) -> tuple[Tensor, dict[str, Tensor]]:
            return video.loss(batch["frames"])

        reference, loss = video, video_loss
    reference.double().load_state_dict(ours.weights())
    return reference, loss


def clips(count: int, frames: int, height: int = 8, width: int = 12) -> Tensor:
    """Smooth pictures that drift."""
    generator = np.random.default_rng(count + frames)
    small = generator.integers(0, 256, (count, 1, height // 4, width, 3)).repeat(4, axis=2)
    moved = [np.roll(small, t * generator.integers(1, 3), axis=3) for t in range(frames)]
    lit = np.concatenate(moved, axis=1) * generator.uniform(0.3, 1, (count, frames, 1, 1, 1))
    return torch.from_numpy(lit.astype(np.uint8))


def token_batch(count: int, frames: int, codes: int = 11, positions: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(count + frames)
    return {
        "tokens": torch.randint(codes, (count, frames, positions), generator=generator),
        "actions": torch.randint(4, (count, frames - 1), generator=generator),
    }


def batch_of(kind: str, count: int, frames: int) -> dict[str, Tensor]:
    return token_batch(count, frames) if kind == "dynamics" else {"frames": clips(count, frames)}


def check_gradients(ours: dict[str, Tensor], reference: nn.Module, tolerance: float = 1e-4) -> None:
    expected = dict(reference.named_parameters())
    assert ours.keys() == expected.keys()
    for name, parameter in expected.items():
        assert parameter.grad is not None
        scale = parameter.grad.abs().max().item()
        assert scale > 0, f"the reference has no gradient for {name}"
        difference = (ours[name].double() - parameter.grad).abs().max().item()
        assert difference < tolerance * scale, f"{name}: off by {difference:.2e} of {scale:.2e}"


KINDS = ["tokenizer", *MOMENTUM, "dynamics"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("count", "frames"),
    [
        pytest.param(2, 7, id="longer than the window"),
        pytest.param(1, 3, id="the window itself"),
    ],
)
def test_loss_and_gradients(kind: str, count: int, frames: int) -> None:
    ours = trainer(kind)
    reference, reference_loss = plain(kind, ours)
    batch = batch_of(kind, count, frames)
    report = ours.backward(batch)
    loss, terms = reference_loss(batch, 0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert report.keys() == {"loss", *terms}
    for name, term in terms.items():
        assert report[name] == pytest.approx(term.item(), rel=1e-4, abs=1e-6), name
    check_gradients(ours.gradients(), reference)


@pytest.mark.parametrize(("noise", "emphasis"), [(0.05, 0), (0, 3.5), (0.05, 3.5)])
def test_a_tokenizer_with_noise_and_emphasis(noise: float, emphasis: float) -> None:
    """What moves counts more, and the encoder sees noise that the decoder does not show."""
    model = _core.Tokenizer(codes=9, seed=SEED, noise=noise, emphasis=emphasis, **VIDEO)
    ours = _core.Trainer(model, seed=SEED)
    reference = PlainTokenizer(codes=9, noise=noise, emphasis=emphasis, **VIDEO).double()
    reference.load_state_dict(ours.weights())
    batch = {"frames": clips(2, 7)}
    draws = philox.training_noise(SEED, 0, batch["frames"].numel()) if noise else None
    report = ours.backward(batch)
    loss, terms = reference.loss(
        batch["frames"], None if draws is None else torch.from_numpy(draws)
    )
    loss.backward()  # type: ignore[no-untyped-call]
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name, term in terms.items():
        assert report[name] == pytest.approx(term.item(), rel=1e-4, abs=1e-6), name
    check_gradients(ours.gradients(), reference)
    without, _ = reference.loss(batch["frames"])
    assert ours.evaluate(batch, 0)["loss"] == pytest.approx(without.item(), rel=1e-5)


def test_dynamics_with_weights() -> None:
    ours = trainer("dynamics")
    reference = plain("dynamics", ours)[0]
    assert isinstance(reference, PlainDynamics)
    batch = token_batch(2, 7)
    shape = batch["tokens"][:, 1:].shape
    weights = 3 * torch.rand(shape, generator=torch.Generator().manual_seed(0))
    draws = philox.uniforms(SEED, 0, 0, philox.TRAINING_NOISE, reference.draws(2, 7, 3))
    report = ours.backward({**batch, "weights": weights})
    loss, terms = reference.loss(*batch.values(), torch.from_numpy(draws), weights)
    loss.backward()  # type: ignore[no-untyped-call]
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert report["cross_entropy"] == pytest.approx(terms["cross_entropy"].item(), rel=1e-5)
    assert abs(report["loss"] / report["cross_entropy"] - 1) > 0.01
    check_gradients(ours.gradients(), reference)
    with pytest.raises(ValueError, match=r'weights.*expected float32 \[2, 6, 3\]'):
        ours.backward({**batch, "weights": weights[:, 1:]})


def test_dynamics_that_are_given_what_is_near() -> None:
    """6 tokens a frame in rows of 3. Where it is zero it changes nothing, and has gradients."""
    sizes: dict[str, Any] = {**TOKENS, "positions": 6, "columns": 3}
    ours = _core.Trainer(_core.Dynamics(ACTION_CODES, seed=SEED, **sizes), seed=SEED)
    without = _core.Trainer(_core.Dynamics(ACTION_CODES, seed=SEED, **{**sizes, "columns": 0}))
    weights = ours.weights()
    added = [name for name in weights if name not in without.weights()]
    assert added == ["previous", *(f"transformer.block{i}.neighbours" for i in range(2))]
    assert all(weights[name].any() for name in added)
    weights |= {name: torch.zeros_like(weights[name]) for name in added}
    ours.load_weights(weights)
    without.load_weights({name: w for name, w in weights.items() if name not in added})
    batch = token_batch(2, 7, positions=6)
    hidden = torch.full_like(batch["tokens"][:, 1:], 11)
    arguments = (batch["tokens"], hidden, batch["actions"])
    assert torch.equal(ours.model.logits(*arguments), without.model.logits(*arguments))
    generator = torch.Generator().manual_seed(0)
    for step in range(2):
        reference = PlainDynamics(ACTION_CODES.double(), **sizes).double()
        reference.load_state_dict(ours.weights())
        draws = philox.uniforms(SEED, 0, 0, philox.TRAINING_NOISE, reference.draws(2, 7, 6))
        report = ours.backward(batch)
        loss, _ = reference.loss(*batch.values(), torch.from_numpy(draws))
        loss.backward()  # type: ignore[no-untyped-call]
        assert report["loss"] == pytest.approx(loss.item(), rel=1e-5), step
        check_gradients(ours.gradients(), reference)
        for name in added:
            weights[name] = torch.randn(weights[name].shape, generator=generator)
        ours.load_weights(weights)
    with pytest.raises(ValueError, match="columns is 4; expected a divisor of the 6 positions"):
        _core.Dynamics(ACTION_CODES, **{**sizes, "columns": 4})


@pytest.mark.parametrize(("kind", "frames"), list(zip(KINDS, (1, 2, 2, 2), strict=True)))
def test_the_shortest_clips(kind: str, frames: int) -> None:
    ours = trainer(kind)
    batch = batch_of(kind, 3, frames)
    assert ours.backward(batch)["loss"] == pytest.approx(
        plain(kind, ours)[1](batch, 0)[0].item(), rel=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_far_from_the_initial_weights(kind: str) -> None:
    """Sharp attention and large differences, as after training."""
    ours = trainer(kind)
    weights = ours.weights()
    generator = torch.Generator().manual_seed(0)
    for name, weight in weights.items():
        if name.endswith("gain"):
            weights[name] = 3 * torch.rand(weight.shape, generator=generator)
        else:
            weights[name] = weight * 2
    ours.load_weights(weights)
    reference, reference_loss = plain(kind, ours)
    batch = batch_of(kind, 2, 7)
    report = ours.backward(batch)
    loss, _ = reference_loss(batch, 0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-4)
    check_gradients(ours.gradients(), reference, tolerance=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_step_has_noise_and_weights_of_its_own(kind: str) -> None:
    ours = trainer(kind)
    batch = batch_of(kind, 2, 5)
    ours.backward(batch)
    ours.update()
    report = ours.backward(batch)
    loss, _ = plain(kind, ours)[1](batch, 1)
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_stays_close(kind: str) -> None:
    batch = batch_of(kind, 3, 6)
    exact, rounded = trainer(kind), trainer(kind, bf16=True)
    a, b = exact.backward(batch), rounded.backward(batch)
    assert b["loss"] == pytest.approx(a["loss"], rel=5e-2)
    pairs = [(rounded.gradients()[name], value) for name, value in exact.gradients().items()]
    one, other = (torch.cat([p[i].flatten() for p in pairs]) for i in (0, 1))
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.9


def test_two_streams_are_every_frame_after_its_clean_past() -> None:
    """The masked frame t, alone after the clean frames before it, says the same: what is trained is
    what a temporal cache serves."""
    ours = trainer("dynamics")
    reference, _ = plain("dynamics", ours)
    assert isinstance(reference, PlainDynamics)
    batch = token_batch(2, 8)
    hidden = torch.rand(2, 7, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    masked = batch["tokens"][:, 1:].masked_fill(hidden, 11)
    arguments = (batch["tokens"], masked, batch["actions"])
    dynamics = ours.model
    assert isinstance(dynamics, _core.Dynamics)
    with torch.no_grad():
        expected = reference.logits_frame_by_frame(*arguments)
        torch.testing.assert_close(reference.logits(*arguments), expected)
    torch.testing.assert_close(dynamics.logits(*arguments).double(), expected, rtol=1e-4, atol=1e-4)


def test_cross_entropy_by_frame_hides_everything() -> None:
    ours = trainer("dynamics")
    reference, _ = plain("dynamics", ours)
    assert isinstance(reference, PlainDynamics)
    batch = token_batch(3, 6)
    following = batch["tokens"][:, 1:]
    with torch.no_grad():
        logits = reference.logits(
            batch["tokens"], torch.full_like(following, 11), batch["actions"]
        )
    every = nn.functional.cross_entropy(logits.permute(0, 3, 1, 2), following, reduction="none")
    dynamics = ours.model
    assert isinstance(dynamics, _core.Dynamics)
    got = dynamics.cross_entropy_by_frame(batch["tokens"], batch["actions"])
    torch.testing.assert_close(got.double(), every.mean((0, 2)), rtol=1e-5, atol=1e-5)


def check_pixels(ours: Tensor, reference: Tensor) -> None:
    """Bytes, against numbers in [0, 1] that round to them but where both are nearly as near."""
    assert ours.dtype == torch.uint8
    expected = (reference.detach() * 255).clamp(0, 255)
    assert expected.std() > 1, "the reference shows nothing"
    assert (ours.double() - expected).abs().max().item() < 0.5 + 1e-2


def test_tokens_are_decoded_as_the_reference_decodes_them() -> None:
    ours = trainer("tokenizer")
    reference, _ = plain("tokenizer", ours)
    assert isinstance(reference, PlainTokenizer) and isinstance(ours.model, _core.Tokenizer)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(9, (3, 4, 6), generator=generator)
    check_pixels(to_patches(ours.model.decode(tokens), 4), reference.decode(tokens))


def test_tokens_and_action_codes_are_the_references() -> None:
    for kind in ("tokenizer", *MOMENTUM):
        ours = trainer(kind)
        reference, _ = plain(kind, ours)
        assert isinstance(reference, PlainTokenizer | PlainLatentAction)
        assert isinstance(ours.model, _core.Tokenizer | _core.LatentAction)
        frames = clips(3, 7)
        codes = reference.encode(frames)
        assert len(codes.unique()) > 1
        assert torch.equal(ours.model.encode(frames), codes), kind


@pytest.mark.parametrize("kind", MOMENTUM)
def test_predictions_are_the_references(kind: str) -> None:
    ours = trainer(kind)
    reference, _ = plain(kind, ours)
    assert isinstance(reference, PlainLatentAction)
    assert isinstance(ours.model, _core.LatentAction)
    frames = clips(3, 4)
    actions = torch.arange(12).view(3, 4) % 4
    got = to_patches(ours.model.predict(frames, actions), 4)
    check_pixels(got, reference.predict(frames, actions))


def test_masks_and_mistakes_are_as_many_as_the_schedule_says() -> None:
    """The rates themselves, of the reference that ours is equal to, counted over many draws."""
    dynamics = PlainDynamics(ACTION_CODES, **TOKENS)
    seen: dict[str, Tensor] = {}

    def logits(tokens: Tensor, masked: Tensor, actions: Tensor) -> Tensor:
        seen.update(tokens=tokens, masked=masked)
        return torch.zeros(*masked.shape, dynamics.codes)

    dynamics.logits = logits  # type: ignore[method-assign]
    tokens = torch.zeros(200, 9, 20, dtype=torch.long)
    actions = torch.zeros(200, 8, dtype=torch.long)
    count = dynamics.draws(200, 9, 20)
    dynamics.loss(tokens, actions, torch.rand(count, generator=torch.Generator().manual_seed(0)))
    # The mean of cos(pi / 2 u) for u in 0 .. 3/4, and of half of 10 %, 10 in 11 of which show.
    expected = np.sin(np.pi / 2 * 0.75) / (np.pi / 2 * 0.75)
    assert (seen["masked"] == 11).double().mean().item() == pytest.approx(expected, abs=0.02)
    assert (seen["tokens"] != 0).double().mean().item() == pytest.approx(0.05 * 10 / 11, abs=0.005)
