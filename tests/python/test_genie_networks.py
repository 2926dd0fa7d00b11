"""Genie's networks: who sees whom, the life of codes, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import philox
import pytest
import torch
from test_genie_reference import ACTION_CODES, SEED, VIDEO, plain, token_batch
from torch import Tensor
from torch.nn.functional import normalize

from genie_env._core import Dynamics, LatentAction, Tokenizer, Trainer

FRAMES = 16


def video(count: int, frames: int = FRAMES) -> Tensor:
    generator = np.random.default_rng(count)
    small = generator.integers(0, 256, (count, frames, 2, 3, 3))
    return torch.from_numpy(small.repeat(4, 2).repeat(4, 3).astype(np.uint8))


def changed(frames: Tensor, t: int) -> Tensor:
    copy = frames.clone()
    copy[:, t] = 255 - copy[:, t]
    return copy


def differs(a: Tensor, b: Tensor) -> list[int]:
    """At which places of the second dimension, time, two tensors differ."""
    return torch.unique((a != b).nonzero()[:, 1]).tolist()


@pytest.mark.parametrize("t", [0, 4, 9, FRAMES - 1])
def test_tokens_see_the_past_within_reach_and_nothing_else(t: int) -> None:
    tokenizer = Tokenizer(codes=900, seed=1, **VIDEO)
    frames = video(40)
    reach = tokenizer.receptive_field
    assert reach == 2 * (3 - 1) + 1
    seen_from = differs(tokenizer.encode(frames), tokenizer.encode(changed(frames, t)))
    assert seen_from == list(range(t, min(t + reach, FRAMES)))


def test_tokens_do_not_know_when_a_clip_began() -> None:
    """Time is relative: what is beyond reach, even that nothing was there, makes no difference."""
    tokenizer = Tokenizer(codes=900, seed=1, **VIDEO)
    frames, late = video(10), 5
    tokens = tokenizer.encode(frames)
    beyond = tokenizer.receptive_field - 1
    assert torch.equal(tokenizer.encode(frames[:, late:])[:, beyond:], tokens[:, late + beyond :])


def test_a_frame_is_decoded_by_itself() -> None:
    tokenizer = Tokenizer(codes=9, seed=1, **VIDEO)
    tokens = tokenizer.encode(video(3))
    other = tokens.clone()
    other[:, 4] = (other[:, 4] + 1) % 9
    whole = tokenizer.decode(tokens)
    assert differs(whole, tokenizer.decode(other)) == [4]
    assert torch.equal(tokenizer.decode(tokens[:, 2:3]), whole[:, 2:3])


def lam(actions: int = 4, seed: int = 1) -> LatentAction:
    return LatentAction(actions=actions, seed=seed, **VIDEO)


@pytest.mark.parametrize("t", [0, 5, FRAMES - 1])
def test_an_action_code_sees_both_frames_of_its_transition_and_those_before(t: int) -> None:
    model = lam(actions=256)
    frames = video(60)
    seen_from = differs(model.encode(frames), model.encode(changed(frames, t)))
    # Code i is of the transition from frame i to frame i + 1.
    assert seen_from == list(range(max(t - 1, 0), min(t - 1 + model.receptive_field, FRAMES - 1)))


def test_a_prediction_sees_one_frame_and_its_code() -> None:
    """Of frames and codes before, it would learn what a held action does, and not need the code."""
    model = lam()
    frames, actions = video(4), torch.randint(4, (4, FRAMES))
    predicted = model.predict(frames, actions)
    assert differs(predicted, model.predict(changed(frames, 6), actions)) == [6]
    other = actions.clone()
    other[:, 6] = (other[:, 6] + 1) % 4
    assert differs(predicted, model.predict(frames, other)) == [6]


def test_a_flash_is_no_action() -> None:
    """A tint over the whole screen changes neither codes nor what the model is trained on."""
    frames = (video(6).double() * 0.4).byte()  # leaves room above
    tinted = frames.clone()
    tinted[:, 3:, ..., 0] += 130
    model = lam(actions=50)
    assert torch.equal(model.encode(frames), model.encode(tinted))
    trainer = Trainer(model)
    one, other = (trainer.evaluate({"frames": f}, 0)["loss"] for f in (frames, tinted))
    assert one == pytest.approx(other, rel=1e-4)


DYNAMICS: dict[str, Any] = {"positions": 3, "codes": 11, "width": 16, "heads": 2, "blocks": 2}


def test_dynamics_see_clean_frames_before_and_themselves() -> None:
    dynamics = Dynamics(ACTION_CODES, window=3, seed=1, **DYNAMICS)
    tokens, actions = token_batch(2, FRAMES).values()
    masked = tokens[:, 1:].clone()
    masked[..., 0] = dynamics.mask_token
    logits = dynamics.logits(tokens, masked, actions)

    def after(**change: Tensor) -> list[int]:
        """At which frames the logits differ."""
        given = {"tokens": tokens, "masked": masked, "actions": actions} | change
        return [i + 1 for i in differs(logits, dynamics.logits(**given))]

    def other(values: Tensor, t: int) -> Tensor:
        copy = values.clone()
        copy[:, t] = (copy[:, t] + 1) % 4
        return copy

    # Two layers, each of which looks two frames back.
    assert after(tokens=other(tokens, 5)) == [6, 7, 8, 9]
    assert after(tokens=other(tokens, FRAMES - 1)) == []
    assert after(masked=other(masked, 5)) == [6]  # the masked copy of frame 6: seen by itself alone
    assert after(actions=other(actions, 5)) == [6, 7, 8, 9, 10]


def test_dynamics_keep_the_action_codes_as_they_are() -> None:
    dynamics = Dynamics(ACTION_CODES, seed=1, **DYNAMICS)
    trainer = Trainer(dynamics, learning_rate=0.1)
    for _ in range(3):
        trainer.backward(token_batch(2, 4))
        trainer.update()
    assert torch.equal(trainer.state()["buffer.action_codes"], ACTION_CODES)
    assert "action_codes" not in trainer.weights()


def with_idle(trainer: Trainer, idle: Tensor) -> None:
    trainer.load_state(trainer.state() | {"buffer.quantizer.idle": idle})


def test_dead_codes_split_those_that_lose_most() -> None:
    trainer = Trainer(Tokenizer(codes=9, seed=SEED, **VIDEO), seed=SEED, learning_rate=1e-3)
    frames = video(1, 2)
    latents = _latents(trainer, frames)
    book = normalize(trainer.weights()["quantizer.codebook"].double(), dim=1)
    codes = (latents @ book.T).argmax(1)
    errors = (latents - book[codes]).square().sum(1)
    lost = torch.zeros(9, dtype=torch.float64).index_add(0, codes, errors)
    chosen = torch.bincount(codes, minlength=9)
    unused = (chosen == 0).nonzero().flatten()
    assert 0 < len(unused) < 9
    with_idle(trainer, torch.where(chosen > 0, 1000, 99))

    trainer.backward({"frames": frames})
    trainer.update()
    after = trainer.weights()["quantizer.codebook"].double()
    worst = torch.argsort(lost, descending=True)[: len(chosen) - len(unused)]
    draws = torch.from_numpy(philox.training_noise(SEED, 0, len(unused) * 3)).view(-1, 3)
    for i, dead in enumerate(unused):
        source = worst[i % len(worst)]
        spread = (lost[source] / chosen[source] / 3).sqrt()
        expected = normalize(after[source], dim=0) + spread * draws[i]
        torch.testing.assert_close(after[dead], expected, rtol=1e-4, atol=1e-5)
    assert trainer.state()["buffer.quantizer.idle"].tolist() == [0] * 9


def test_latents_of_transitions_are_centred() -> None:
    """Every update takes a tenth of the last batch's mean from the bias."""
    trainer = Trainer(lam(), seed=SEED, learning_rate=0)
    reference: Any = plain("latent actions", trainer)[0]
    frames = video(3, 6)
    with torch.no_grad():
        mean = reference.latents(reference.standardised(frames)[0]).mean((0, 1))
    before = trainer.weights()["to_code.bias"]
    trainer.backward({"frames": frames})
    trainer.update()
    torch.testing.assert_close(
        trainer.weights()["to_code.bias"].double(), before - 0.1 * mean, rtol=1e-4, atol=1e-6
    )


def _latents(trainer: Trainer, frames: Tensor) -> Tensor:
    """What the encoder makes of frames, in float64, by the reference: [tokens, dimensions]."""
    reference: Any = plain("tokenizer", trainer)[0]
    from plain_torch_genie import to_patches

    with torch.no_grad():
        patches = to_patches(frames.double() / 255 - 0.5, 4)
        return normalize(reference.latents(patches).flatten(0, -2), dim=1)


def test_codes_die_after_a_hundred_batches_without_use() -> None:
    trainer = Trainer(Tokenizer(codes=9, seed=SEED, **VIDEO), seed=SEED, learning_rate=0)
    frames = {"frames": video(1, 1)}
    before = trainer.weights()["quantizer.codebook"]
    for step in range(100):
        assert torch.equal(trainer.weights()["quantizer.codebook"], before), step
        trainer.backward(frames)
        trainer.update()
    moved = (trainer.weights()["quantizer.codebook"] != before).any(1)
    assert 0 < moved.sum() < 9


@pytest.mark.parametrize("kind", ["tokenizer", "latent actions"])
def test_a_resumed_run_restarts_the_same_codes(kind: str) -> None:
    def fresh() -> Trainer:
        tokenizer = kind == "tokenizer"
        model = Tokenizer(codes=40, seed=1, **VIDEO) if tokenizer else lam(actions=20)
        trainer = Trainer(model, seed=3, learning_rate=1e-3)
        with_idle(trainer, torch.full((40 if tokenizer else 20,), 95))
        return trainer

    def steps(trainer: Trainer, first: int, last: int) -> list[float]:
        losses = []
        for step in range(first, last):
            losses.append(trainer.backward({"frames": video(2 + step, 4)[:2]})["loss"])
            trainer.update()
        return losses

    unbroken = fresh()
    expected = steps(unbroken, 0, 9)
    broken = fresh()
    losses = steps(broken, 0, 3)
    saved = broken.state()
    resumed = fresh()
    resumed.load_state(saved)
    losses += steps(resumed, 3, 9)
    assert losses == expected
    ends = unbroken.state(), resumed.state()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    idle = saved["buffer.quantizer.idle"].max(), ends[0]["buffer.quantizer.idle"].max()
    assert idle[0] > 95 and idle[1] < 10, "no code was restarted"


def test_looking_at_held_out_clips_leaves_the_codes_alone() -> None:
    trainer = Trainer(lam(actions=20), seed=3)
    before = trainer.state()
    trainer.evaluate({"frames": video(3)}, 0)
    trainer.backward({"frames": video(4)})
    one = trainer.evaluate({"frames": video(3)}, 0)
    trainer.update()
    other = Trainer(lam(actions=20), seed=3)
    other.load_state(before)
    other.backward({"frames": video(4)})
    other.update()
    ends = trainer.state(), other.state()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert one["codes_used"] > 0


@pytest.mark.parametrize("model", [Tokenizer(codes=200, **VIDEO), lam(actions=200)])
def test_encodes_in_the_precision_asked_for_whatever_the_caller_uses(
    model: Tokenizer | LatentAction,
) -> None:
    """Among so many codes, rounding to bfloat16 changes some, and few."""
    frames = video(8, 12)
    exact, rounded = model.encode(frames), model.encode(frames, bf16=True)
    assert 0.5 < (exact == rounded).double().mean().item() < 1
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.encode(frames), exact)


@pytest.mark.parametrize("model", [Tokenizer(codes=9, **VIDEO), lam(actions=9)])
def test_a_collapse_shows(model: Tokenizer | LatentAction) -> None:
    trainer = Trainer(model, learning_rate=0)
    for _ in range(40):  # centres the latents of transitions
        trainer.backward({"frames": video(30)})
        trainer.update()
    weights = trainer.weights()
    healthy = trainer.evaluate({"frames": video(30)}, 0)
    assert healthy["codes_used"] > 0.4 and healthy["perplexity"] > 2.5
    weights["to_code.weight"] *= 0
    trainer.load_weights(weights)
    collapsed = trainer.evaluate({"frames": video(30)}, 0)
    assert collapsed["codes_used"] == pytest.approx(1 / 9)
    assert collapsed["perplexity"] == pytest.approx(1)


@pytest.mark.parametrize("model", ["tokenizer", "latent actions", "dynamics"])
def test_losses_fall(model: str) -> None:
    if model == "dynamics":
        trainer = Trainer(Dynamics(ACTION_CODES, **DYNAMICS), learning_rate=1e-2)
        tokens = torch.arange(6)[None, :, None] + torch.arange(3) + torch.arange(4)[:, None, None]
        batch = {"tokens": tokens, "actions": torch.zeros(4, 5, dtype=torch.long)}
    else:
        network = Tokenizer(codes=9, **VIDEO) if model == "tokenizer" else lam()
        trainer, batch = Trainer(network, learning_rate=3e-3), {"frames": video(2, 4)}
    first = trainer.backward(batch)["loss"]
    for _ in range(60):
        trainer.backward(batch)
        trainer.update()
    assert trainer.evaluate(batch, 0)["loss"] < first - 0.5


def test_torchs_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    trainer = Trainer(Tokenizer(codes=9, **VIDEO))
    trainer.backward({"frames": video(1)})
    trainer.update()
    Trainer(Dynamics(ACTION_CODES, **DYNAMICS)).backward(token_batch(1, 3))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 18, "heads": 4}, "width is 18 and heads is 4; expected a width that is an even"),
        ({"width": 6, "heads": 2}, "width is 6 and heads is 2; expected a width that is an even"),
        ({"heads": 0}, "heads is 0, expected 1 to 8192"),
        ({"patch": 5}, "frames of 8 x 12 cannot be cut into patches of 5 x 5; expected a patch"),
        ({"patch": 0}, "cannot be cut into patches of 0 x 0"),
        ({"encoder_blocks": 0}, "encoder_blocks is 0, expected 1 to 64"),
        ({"decoder_blocks": 0}, "decoder_blocks is 0, expected 1 to 64"),
        ({"code_dimensions": 1}, "code_dimensions is 1, expected 2 to 1024"),
    ],
)
def test_sizes_that_make_no_network(change: dict[str, Any], words: str) -> None:
    for network in (Tokenizer, LatentAction):
        with pytest.raises(ValueError, match=re.escape(words)):
            network(**VIDEO | change)


def test_sizes_of_one_network() -> None:
    with pytest.raises(ValueError, match="codes is 1, expected 2 to 65536"):
        Tokenizer(codes=1)
    with pytest.raises(ValueError, match="codes is 65537, expected 2 to 65536"):
        Tokenizer(codes=65537)
    with pytest.raises(ValueError, match="window is 0, expected 1 to 1024"):
        Tokenizer(window=0)
    with pytest.raises(ValueError, match="actions is 1, expected 2 to 256"):
        LatentAction(actions=1)
    with pytest.raises(ValueError, match="window is 1, expected 2 to 1024"):
        LatentAction(window=1)
    for wrong in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="action_decay is .*, expected at least 0 and less than 1"):
            LatentAction(action_decay=wrong)
    with pytest.raises(ValueError, match="passes is 0, expected 1 to 64"):
        Dynamics(ACTION_CODES, passes=0)
    with pytest.raises(ValueError, match="window is 1, expected 2 to 1024"):
        Dynamics(ACTION_CODES, window=1)
    with pytest.raises(ValueError, match=r"action_codes: got float32 \[4\], expected float32"):
        Dynamics(ACTION_CODES[:, 0])
    with pytest.raises(ValueError, match=r"action_codes: got float64 \[4, .*\], expected float32"):
        Dynamics(ACTION_CODES.double())
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="action_codes holds a value that is not finite: give"):
            Dynamics(ACTION_CODES.clone().fill_(wrong))
        with pytest.raises(ValueError, match="token_codes holds a value that is not finite: give"):
            Dynamics(ACTION_CODES, codes=9, token_codes=torch.full((9, 2), wrong))
    with pytest.raises(ValueError, match=r"token_codes: got float32 \[8, 2\], expected float32 \[9, a"):
        Dynamics(ACTION_CODES, codes=9, token_codes=torch.ones(8, 2))


def test_tokens_that_look_alike_begin_alike() -> None:
    """What begins as a linear map of the codes, and how large; all else is as without them."""
    codes = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)) * 7 + 3
    sizes: dict[str, Any] = {"codes": 500, "columns": 8, "seed": 5}
    strangers = Trainer(Dynamics(ACTION_CODES, **sizes)).weights()
    alike = Trainer(Dynamics(ACTION_CODES, token_codes=codes, **sizes)).weights()
    again = Trainer(Dynamics(ACTION_CODES, token_codes=codes, **sizes)).weights()
    changed = {name for name in alike if not torch.equal(alike[name], strangers[name])}
    assert changed == {"embedding", "previous", "to_logits.weight"}
    assert all(torch.equal(alike[name], again[name]) for name in alike)
    for name in changed:
        begun = alike[name][:500]  # the mask's embedding is no token's
        assert begun.std() == pytest.approx(strangers[name].std().item(), rel=0.1)
        centred = torch.linalg.matrix_rank(begun - begun.mean(0), rtol=1e-4)
        assert centred == 8
        solved = torch.linalg.lstsq(codes - codes.mean(0), begun).solution
        torch.testing.assert_close((codes - codes.mean(0)) @ solved, begun, atol=1e-4, rtol=1e-4)
    assert torch.equal(alike["embedding"][500], strangers["embedding"][500])
    one = Trainer(Dynamics(ACTION_CODES, codes=9, token_codes=torch.ones(9, 2))).weights()
    assert all(weight.isfinite().all() for weight in one.values())


def test_clips_that_do_not_fit() -> None:
    tokenizer, model = Tokenizer(codes=9, **VIDEO), lam()
    expected = r"expected uint8 \[any, any, 8, 12, 3\]|the tokenizer expects clips of at least 1 f"
    for frames in (
        video(2).float(),
        video(2)[0],
        video(2)[:, :0],
        video(2).transpose(2, 3),
        video(2)[..., :2],
    ):
        with pytest.raises(ValueError, match=rf"frames: got \w+ \[.*\], (but )?({expected})"):
            tokenizer.encode(frames)
        with pytest.raises(ValueError, match=expected):
            Trainer(tokenizer).backward({"frames": frames})
    with pytest.raises(
        ValueError,
        match=r"frames: got uint8 \[2, 1, 8, 12, 3\], but the latent action model expects clips of "
        "at least 2 frames",
    ):
        Trainer(model).backward({"frames": video(2)[:, :1]})
    with pytest.raises(ValueError, match='the batch has no "frames"'):
        Trainer(model).backward({})


def test_tokens_and_actions_that_do_not_fit() -> None:
    tokenizer, dynamics = Tokenizer(codes=9, **VIDEO), Dynamics(ACTION_CODES, **DYNAMICS)
    with pytest.raises(ValueError, match=r"tokens: got int64 \[2, 6\], expected int64 \[any, "):
        tokenizer.decode(torch.zeros(2, 6, dtype=torch.long))
    for wrong in (9, -1):
        with pytest.raises(ValueError, match=r"a token is outside 0 .. 8: the tokens are of"):
            tokenizer.decode(torch.full((1, 1, 6), wrong))
    with pytest.raises(ValueError, match=r"an action is outside 0 .. 3"):
        lam().predict(video(1, 1), torch.tensor([[4]]))
    with pytest.raises(ValueError, match=r"actions: got int64 \[1, 2\], expected int64 \[1, 1\]"):
        lam().predict(video(1, 1), torch.tensor([[0, 0]]))

    trainer = Trainer(dynamics)
    batch = token_batch(2, 4)
    for change, words in (
        ({"tokens": batch["tokens"].int()}, r"tokens: got int32 \[2, 4, 3\], expected int64"),
        ({"tokens": batch["tokens"] + 1}, r"a token is outside 0 .. 10: the tokens are of another"),
        (
            {"tokens": batch["tokens"][:, :1]},
            r"tokens: got int64 \[2, 1, 3\], but the dynamics expect clips of at least 2 frames",
        ),
        ({name: t[:0] for name, t in batch.items()}, r"tokens: got int64 \[0, 4, 3\], but the dyn"),
        (
            {"actions": batch["actions"][:, 1:]},
            r"actions: got int64 \[2, 2\], expected int64 \[2, 3\]",
        ),
        ({"actions": batch["actions"] + 1}, r"an action is outside 0 .. 3: the actions are of"),
    ):
        with pytest.raises(ValueError, match=words):
            trainer.backward(batch | change)
    with pytest.raises(ValueError, match=r"masked: got int64 \[2, 4, 3\], expected .* \[2, 3, 3\]"):
        dynamics.logits(batch["tokens"], batch["tokens"], batch["actions"])
    with pytest.raises(ValueError, match='the batch has no "actions"'):
        trainer.backward({"tokens": batch["tokens"]})


def test_a_state_of_other_sizes() -> None:
    trainer = Trainer(lam(actions=4))
    state = trainer.state()
    with pytest.raises(ValueError, match=r"idle: got int64 \[5\], expected int64 \[4\]"):
        trainer.load_state(state | {"buffer.quantizer.idle": torch.zeros(5, dtype=torch.long)})
    del state["buffer.quantizer.idle"]
    with pytest.raises(ValueError, match='the state has no "buffer.quantizer.idle"'):
        trainer.load_state(state)
