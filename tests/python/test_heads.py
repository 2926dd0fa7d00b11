"""Heads that judge reward and termination on a genie world's features: the network, its training on a
labelled part, the world that has them, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dots import dots_world, record_dots
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from test_genie_reference import PlainDynamics, check_gradients
from torch import Tensor, nn
from torch.nn import functional

import genie_env
from genie_env import RealEnv
from genie_env._core import EpisodeStore, Heads, RowCounters, Trainer, World
from genie_env.agents.dreams import Dreams
from genie_env.agents.evolution import ControllerSettings, train_controller
from genie_env.cli.app import APP
from genie_env.cli.worlds import describe
from genie_env.data.datasets import held_out
from genie_env.families.genie.commands import freeze_heads_command, train_heads
from genie_env.families.genie.costs import genie_costs
from genie_env.families.genie.random_world import GenieSizes, random_genie_world
from genie_env.families.world_files import part
from genie_env.training import heads as training_heads
from genie_env.training.heads import labelled_steps, load_follower
from genie_env.training.labelled import codes_of_steps, labelled_parts, pressed_codes
from genie_env.training.latent_actions import actions_of_episodes, load_latent_actions
from genie_env.training.runs import read_reports

FEATURES, ACTIONS, LOW, HIGH = 12, 3, -2.0, 5.0
HEADS: dict[str, Any] = {"steps": 40, "batch": 32, "dtype": "float32"}


def lengths_of(store: EpisodeStore) -> NDArray[np.int64]:
    return np.diff(store.episode_starts)


def run(*words: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        APP.main([str(word) for word in words], prog_name="genie-env")
    assert ended.value.code == code


def symlog(x: Tensor) -> Tensor:
    return x.sign() * x.abs().log1p()


class PlainHead(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.units = nn.Linear(inputs, 256)
        self.output = nn.Linear(256, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.units(x).relu())  # type: ignore[no-any-return]


class PlainHeads(nn.Module):
    """As the documentation describes them."""

    def __init__(self, rewards: bool, terminates: bool, judges: bool) -> None:
        super().__init__()
        self.rewards, self.terminates, self.judges = rewards, terminates, judges
        before = FEATURES + ACTIONS
        if outputs := 63 * rewards + (terminates and judges):
            self.outcome = PlainHead(before + FEATURES, outputs)
        if terminates and not judges:
            self.ending = PlainHead(before, 1)
        ends = symlog(torch.tensor([LOW, HIGH]).double())
        even = torch.linspace(*ends.tolist(), 63, dtype=torch.float64)
        self.bins = even.sign() * even.abs().expm1()

    def judge(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The logits of rewards, and of terminations."""
        action = functional.one_hot(batch["actions"], ACTIONS).double()
        before = torch.cat([batch["before"].double(), action], 1)
        whole = torch.cat([before, batch["after"].double()], 1)
        outcome = self.outcome(whole) if hasattr(self, "outcome") else torch.zeros(len(before), 1)
        ending = outcome[:, -1] if self.judges else None
        if ending is None:
            ending = self.ending(before)[:, 0] if self.terminates else outcome[:, 0]
        return outcome[:, :63], ending

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        reward_logits, logits = self.judge(batch)
        followed, ends = batch["followed"].double(), batch["terminations"].double()
        total = torch.zeros((), dtype=torch.float64)
        if self.terminates:
            each = -10 * ends * functional.logsigmoid(logits) - (1 - ends) * functional.logsigmoid(
                -logits
            )
            counted = followed if self.judges else torch.ones_like(followed)
            total = total + (each * counted).sum() / counted.sum()
        if self.rewards:
            wanted = torch.zeros(len(ends), 63, dtype=torch.float64)
            for row, reward in zip(wanted, batch["rewards"].double(), strict=True):
                above = int((self.bins < reward).sum().clamp(1, 62))
                share = (reward - self.bins[above - 1]) / (self.bins[above] - self.bins[above - 1])
                row[above - 1], row[above] = 1 - share, share
            each = -(wanted * reward_logits.log_softmax(1)).sum(1)
            total = total + (each * followed).sum() / followed.sum()
        return total


def batch_of(steps: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(steps)
    numbers = torch.randn(2, steps, FEATURES, generator=generator)
    flags = torch.rand(2, steps, generator=generator)
    rewards = LOW + (HIGH - LOW) * torch.rand(steps, generator=generator)
    return {
        "before": numbers[0],
        "after": numbers[1],
        "actions": torch.randint(ACTIONS, (steps,), generator=generator),
        "followed": (flags[0] < 0.8).float(),
        "rewards": rewards,
        "terminations": (flags[1] < 0.3).float(),
    }


def heads_of(rewards: bool, terminates: bool, judges: bool) -> Heads:
    return Heads(
        features=FEATURES,
        actions=ACTIONS,
        rewards=(LOW, HIGH) if rewards else None,
        termination=terminates,
        judges_termination=judges,
        seed=3,
    )


KINDS = [
    (True, True, True),
    (True, True, False),
    (False, True, True),
    (False, True, False),
    (True, False, True),
]


@pytest.mark.parametrize("kind", KINDS)
def test_loss_gradients_and_outputs(kind: tuple[bool, bool, bool]) -> None:
    rewards, terminates, judges = kind
    ours = Trainer(heads_of(*kind), seed=3)
    reference = PlainHeads(*kind).double()
    reference.load_state_dict(ours.weights())
    batch = batch_of(50)
    report = ours.backward(batch)
    loss = reference.loss(batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)
    check_gradients(ours.gradients(), reference)
    model = ours.model
    assert isinstance(model, Heads)
    found = model.judge(batch["before"], batch["actions"], batch["after"])
    assert set(found) == {*["rewards"] * rewards, *["termination_logits"] * terminates}
    with torch.no_grad():
        reward_logits, logits = reference.judge(batch)
    if terminates:
        torch.testing.assert_close(
            found["termination_logits"].double(), logits, rtol=1e-4, atol=1e-5
        )
        alarms = logits > 0
        counted = batch["followed"] > 0 if judges else torch.ones(50, dtype=torch.bool)
        deaths = counted & (batch["terminations"] > 0)
        assert (report["deaths"], report["survivals"]) == (deaths.sum(), (counted & ~deaths).sum())
        assert report["deaths_found"] == (alarms & deaths).sum()
        assert report["false_alarms"] == (alarms & counted & ~deaths).sum()
    if rewards:
        expected = (reward_logits.softmax(1) * reference.bins).sum(1)
        torch.testing.assert_close(found["rewards"].double(), expected, rtol=1e-4, atol=1e-4)


def test_a_network_that_cannot_be_and_batches_that_cannot() -> None:
    with pytest.raises(ValueError, match="heads learn rewards, terminations or both"):
        Heads(features=4, actions=2)
    with pytest.raises(ValueError, match="rewards from 2 to 1 were given"):
        Heads(features=4, actions=2, rewards=(2, 1))
    with pytest.raises(ValueError, match="actions is 257"):
        Heads(features=4, actions=257, termination=True)
    trainer = Trainer(heads_of(True, True, True))
    for name, wrong, words in (
        ("before", torch.zeros(3, 2), "before: got"),
        ("actions", torch.full((50,), ACTIONS), "an action is outside 0 .. 2"),
        ("followed", torch.zeros(49), "followed: got"),
    ):
        with pytest.raises(ValueError, match=words):
            trainer.backward(batch_of(50) | {name: wrong})
    without = {name: tensor for name, tensor in batch_of(50).items() if name != "rewards"}
    with pytest.raises(ValueError, match="rewards"):
        trainer.backward(without)


@pytest.mark.parametrize(("positions", "local"), [(12, 0), (15, 0), (15, 1)])
def test_features_are_what_the_dynamics_make_of_the_history(
    positions: int, local: int, tmp_path: Path
) -> None:
    """Frames are 3 x 4 and 3 x 5 patches."""
    sizes = GenieSizes(T=3, S=positions, d=16, blocks=3, heads=2, codes=20, K=2, local=local)
    directory = random_genie_world(tmp_path / "world", sizes)
    weights = {n: w.double() for n, w in load_file(directory / "model.safetensors").items()}
    plain = PlainDynamics(
        weights["action_codes"], positions, 20, 16, 2, 3, window=3, columns=local * positions // 3
    ).double()
    plain.load_state_dict(part("dynamics", weights))
    world = World.load(directory, dtype="float32")
    state, rows = world.make_state(2), np.arange(2)

    def counters(step: int) -> RowCounters:
        return RowCounters(rows, 0 * rows, 0 * rows + step)

    world.begin(state, torch.ones(2, dtype=torch.bool), counters(0))
    tokens, taken = [world.observe(state, "tokens")], []
    seen = [world.observe(state, "features")]
    for step in range(1, 7):  # the window is 3 frames
        taken.append(torch.tensor([step % 6, 2]))
        seen.append(
            world.step(state, taken[-1], torch.ones(2), counters(step), "features").observation
        )
        tokens.append(world.observe(state, "tokens"))
    history = torch.stack(tokens, 1)
    x = plain.embed(history, torch.stack(taken, 1), history[:, :-1])
    mask = torch.ones(7, 7).tril().bool() & torch.ones(7, 7).triu(-2).bool()
    with torch.no_grad():
        for block in ("block0", "block1"):
            x = plain.transformer.get_submodule(block)(x, list(range(7)), mask)
        last = plain.transformer.get_submodule("block2")
        x = last.with_neighbours(x)
        clean = last.time.norm(x + last.space(x))
    grid = clean.unflatten(2, (3, positions // 3)).flatten(0, 1).permute(0, 3, 1, 2)
    areas = functional.adaptive_avg_pool2d(grid, (2, 2)).flatten(2).transpose(1, 2)
    expected = areas.flatten(1).unflatten(0, (2, 7))
    assert world.spec.observations[1].name == "features"
    torch.testing.assert_close(torch.stack(seen, 1).double(), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_dots(tmp_path_factory.mktemp("dots") / "data")


@pytest.fixture(scope="module")
def world(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dots_world(tmp_path_factory.mktemp("worlds"), data)


@pytest.fixture(scope="module")
def heads(data: Path, world: Path) -> Path:
    out = world.parent / "heads"
    train_heads(world=str(world), data=[data], out=out, **HEADS)
    return out


@pytest.fixture(scope="module")
def judging(heads: Path) -> Path:
    """The world with heads."""
    out = heads.parent / "judging"
    freeze_heads_command(heads, out)
    return out


def test_steps_are_what_was_recorded(data: Path, world: Path) -> None:
    store = EpisodeStore(data)
    parts = labelled_parts([data], [store], 21)
    trained, unseen = labelled_steps(load_follower(world), parts, pressed=True)
    lengths = np.diff(store.episode_starts)[:21]
    assert (len(trained), len(unseen)) == (lengths[:19].sum() + lengths[20], lengths[19])
    assert [part.starts[-1] for part in parts] == [lengths.sum() + 21]
    batch = trained.take(slice(None))
    rows = np.flatnonzero(np.repeat(np.arange(21) != 19, lengths))
    np.testing.assert_array_equal(batch["rewards"], store.rewards[rows])
    np.testing.assert_array_equal(batch["terminations"], store.terminations[rows])
    assert batch["followed"].all()
    # What comes after a step is what comes before the next, but at an episode's end.
    inside = np.ones(len(rows) - 1, bool)
    inside[np.cumsum(np.delete(lengths, 19))[:-1] - 1] = False
    torch.testing.assert_close(batch["after"][:-1][inside], batch["before"][1:][inside])

    # The same as following one episode by itself.
    loaded = World.load(world)
    state, one = loaded.make_state(1), np.zeros(1, np.int64)
    counters = RowCounters(one, one, one)
    shown = torch.from_numpy(np.array(store.frames[: lengths[0]]))
    loaded.begin(state, torch.ones(1, dtype=torch.bool), counters, frames=shown[:1])
    for index in range(1, int(lengths[0])):
        taken = batch["actions"][index - 1 : index]
        step = loaded.follow(state, taken, shown[index : index + 1], counters, "features")
        expected = step.observation.half().float()
        torch.testing.assert_close(batch["before"][index : index + 1], expected)


def test_actions_that_no_frame_shows_are_drawn_among_alike(tmp_path: Path) -> None:
    directory = record_dots(tmp_path / "data", finals=False)
    parts = labelled_parts([directory], [EpisodeStore(directory)], None)
    (part,) = parts
    assert part.starts[-1] == part.store.num_frames
    # A model that infers 3 + the recorded action, or now and then 5, which none shows at an end.
    codes = (3 + part.store.actions).astype(np.uint8)
    codes[~part.followed] = 0
    codes[np.flatnonzero(part.followed)[::4]] = 5
    (filled,) = codes_of_steps(parts, [codes])
    np.testing.assert_array_equal(filled[part.followed], codes[part.followed])
    ends = filled[~part.followed]
    assert set(ends.tolist()) == {3, 4, 5}
    told = ends != 5
    np.testing.assert_array_equal(ends[told], 3 + part.store.actions[~part.followed][told])
    (again,) = codes_of_steps(parts, [codes])
    np.testing.assert_array_equal(filled, again)


def test_half_of_the_episodes_are_followed_as_agents_act(tmp_path: Path) -> None:
    directory = record_dots(tmp_path / "data")
    parts = labelled_parts([directory], [EpisodeStore(directory)], None)
    (part,) = parts
    commonest = 3 + part.recorded
    codes = commonest.copy()
    codes[::4] = 5
    codes[part.held_out] = 9  # which says nothing of what is trained on
    (pressed,) = pressed_codes(parts, [codes])
    kinds = []
    starts = part.store.episode_starts
    for first, last in zip(starts[:-1], starts[1:], strict=True):
        inferred, meant = (
            np.array_equal(pressed[first:last], kind[first:last]) for kind in (codes, commonest)
        )
        assert inferred or meant
        kinds += [meant] * (inferred != meant)
    assert 0.25 < np.mean(kinds) < 0.75
    (again,) = pressed_codes(parts, [codes])
    np.testing.assert_array_equal(pressed, again)


def test_heads_learn_from_steps_as_agents_take_them(
    data: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = labelled_parts([data], [EpisodeStore(data)], None)
    (part,) = parts

    def others(parts: Any, codes: Any) -> Any:
        return [(own + 1) % 3 for own in codes]

    monkeypatch.setattr(training_heads, "pressed_codes", others)
    follower, trained = load_follower(world), np.flatnonzero(~part.held_out)
    (inferred, _), (pressed, _) = (
        labelled_steps(follower, parts, pressed=which) for which in (False, True)
    )
    as_inferred, as_pressed = (each.take(slice(None)) for each in (inferred, pressed))
    assert len(as_pressed["actions"]) == len(trained)
    assert torch.equal(as_pressed["actions"], (as_inferred["actions"] + 1) % 3)
    assert not torch.equal(as_pressed["after"], as_inferred["after"])  # the world followed them


def test_a_killed_run_goes_on_to_the_same_heads(
    data: Path, world: Path, heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_file(heads / "checkpoint.safetensors")
    out, update = tmp_path / "heads", Trainer.update
    made = 0

    def interrupted(trainer: Trainer) -> None:
        nonlocal made
        made += 1
        if made == 23:
            raise KeyboardInterrupt
        update(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_heads(world=str(world), data=[data], out=out, **HEADS)
    train_heads(world=str(world), data=[data], out=out, **HEADS)
    resumed = load_file(out / "checkpoint.safetensors")
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    losses = read_reports(out)[-1]["held_out"]
    assert losses.keys() == {"loss", "reward", "termination", "death_recall", "false_alarms"}


def test_a_world_with_heads_pays_and_ends(judging: Path, world: Path, heads: Path) -> None:
    config = json.loads((judging / "config.json").read_text())
    assert config["reward"] == {"type": "learned", "low": 0.0, "high": 1.0}
    assert (config["termination"], config["termination_reads"]) == ("sampled", "next_frame")
    trained = config["training"]
    assert trained["heads"]["settings"]["fingerprint"] == World.load(world).spec.fingerprint
    assert trained.keys() >= {"dynamics", "tokenizer", "termination_calibration", "labelled"}
    assert "## heads" in (judging / "README.md").read_text()
    old, new = (load_file(each / "model.safetensors") for each in (world, judging))
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert {name for name in new if name not in old} == {
        f"heads.outcome.{layer}.{kind}"
        for layer in ("units", "output")
        for kind in ("weight", "bias")
    }

    env = genie_env.make_vec(judging, 64, observation="features", seed=1)
    dreams, (rewards, ends) = World.load(judging), ([], [])
    env.reset(seed=0)
    for _ in range(10):
        _, reward, terminated, _, _ = env.step(env.action_space.sample())
        rewards.append(reward), ends.append(terminated)
    paid = np.stack(rewards)
    assert len(np.unique(paid)) > 100 and 0 <= paid.min() and paid.max() <= 1
    assert 0 < np.mean(ends) < 1
    assert dreams.spec.options["termination"].value == "sampled"
    strict = genie_env.make_vec(judging, 2, termination="thresholded")
    strict.reset(seed=0)
    strict.step(strict.action_space.sample())


def test_heads_learn_what_the_features_show(judging: Path, data: Path, tmp_path: Path) -> None:
    """On a world whose tokens say something, held-out rewards are known after some hundred steps."""
    sizes = GenieSizes(T=3, S=4, d=16, blocks=2, heads=2, codes=200, K=1, judges=1)
    directory = random_genie_world(tmp_path / "world", sizes)
    shutil.copytree(judging / "latent-actions", directory / "latent-actions")
    out = tmp_path / "heads"
    settings = HEADS | {"steps": 400, "learning_rate": 3e-3, "batch": 64}
    train_heads(world=str(directory), data=[data], out=out, **settings)
    report = read_reports(out)[-1]["held_out"]
    assert report["reward"] < 0.3 and report["death_recall"] > 0.9, report
    assert report["false_alarms"] < 0.1


@pytest.mark.parametrize("finals", [True, False])
def test_outcomes_are_measured_to_the_last_step(
    finals: bool, judging: Path, tmp_path: Path
) -> None:
    data = record_dots(tmp_path / "data", episodes=60, finals=finals)
    told = tmp_path / "told.json"
    run("outcomes", "--world", judging, "--data", data, "--horizon", 4, "--json", told)
    found, store = json.loads(told.read_text()), EpisodeStore(data)
    lengths = lengths_of(store)[19::20]
    assert found["steps"] == lengths.sum()
    assert found["windows"] == (-(-lengths // 4)).sum()
    ended = sum(round(each["observed"] * each["steps"]) for each in found["bins"])
    assert ended == store.terminations[np.repeat(np.arange(60) % 20 == 19, lengths_of(store))].sum()
    assert 1 <= len(found["dreamed_bins"]) <= 10 and found["followed"]["r2"] is not None


def test_a_final_frame_tells_the_last_latent_action(judging: Path, data: Path) -> None:
    inference = judging / "latent-actions"
    model, store = load_latent_actions(inference), EpisodeStore(data)
    (codes,) = actions_of_episodes(inference, model, [store], [held_out(store)])
    (part,) = labelled_parts([data], [store], 40)
    for episode in (19, 39):
        first, last = store.episode_starts[episode : episode + 2]
        seen = torch.from_numpy(part.pictures(episode))[None]
        np.testing.assert_array_equal(codes[first:last], model.encode(seen, bf16=False)[0].numpy())
    assert not codes[: store.episode_starts[19]].any()


def test_outcomes_of_a_world_without_heads_are_refused(
    world: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("outcomes", "--world", world, "--data", data, code=1)
    words = "has learned neither rewards nor ends: .* give it heads with `genie-env train heads`"
    assert re.search(words, " ".join(capsys.readouterr().err.split()))


def test_what_a_world_says_of_itself_knows_of_heads(world: Path, judging: Path) -> None:
    assert not describe(str(world))["knows_outcomes"]
    assert describe(str(judging))["knows_outcomes"]


def test_without_final_frames_the_action_decides(world: Path, tmp_path: Path) -> None:
    data = record_dots(tmp_path / "data", finals=False)
    train_heads(world=str(world), data=[data], out=tmp_path / "heads", **HEADS)
    freeze_heads_command(tmp_path / "heads", tmp_path / "world", termination="thresholded")
    config = json.loads((tmp_path / "world" / "config.json").read_text())
    assert (config["termination"], config["termination_reads"]) == ("thresholded", "action")
    assert any("heads.ending" in n for n in load_file(tmp_path / "world" / "model.safetensors"))


def test_without_terminations_dreams_never_end(world: Path, tmp_path: Path, capfd: Any) -> None:
    data = record_dots(tmp_path / "data", ends=False)
    train_heads(world=str(world), data=[data], out=tmp_path / "heads", **HEADS)
    assert "no labelled episode of dots terminates" in capfd.readouterr().out
    freeze_heads_command(tmp_path / "heads", tmp_path / "world")
    loaded = World.load(tmp_path / "world")
    assert "termination" not in loaded.spec.options
    config = json.loads((tmp_path / "world" / "config.json").read_text())
    assert config["termination"] == "never"


def test_agents_read_features_and_are_told_of_them(judging: Path) -> None:
    dreams = Dreams.load(judging, observation="features")
    assert dreams.num_features == 32
    settings = ControllerSettings(steps=200, population=4, dreams=2)
    assert next(iter(train_controller(dreams, settings))).controller.observation == "features"
    tokens = Dreams.load(judging, observation="tokens")
    with pytest.raises(ValueError, match="expected a vector of floats, of latents, features"):
        next(iter(train_controller(tokens, settings)))


TRAIN: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"actions": 1}, {}, r"nobody takes the action right, .* take every action"),
    ({"game": "lines"}, {}, "the recordings are of lines, but the game of the world world is dots"),
    ({"side": 32}, {}, r"holds frames of 32 x 32, but those of the world world are 16 x 16"),
    ({"frame_skip": 2}, {}, r'"frame_skip" is 2, but a step of the world world stands for 1'),
    ({"episodes": 19}, {}, "has 19, and none of them is held out, as every 20th of a directory is"),
    ({}, {"batch": 4096}, r"have \d+ steps, but one batch takes 4,096"),
    (
        {"episodes": 301},
        {},
        "hold 301 episodes, .* at most 300: give --episodes 300 to take the first",
    ),
    ({}, {"episodes": 41}, "--episodes is 41, but the recordings hold 40"),
    (
        {"pays": False, "ends": False},
        {},
        "there is nothing to learn: .* reward of 0, and no episode",
    ),
    ({}, {"world": "doom-take-cover"}, "has no observation 'features' that heads could learn on"),
]


@pytest.mark.parametrize(("recorded", "asked", "words"), TRAIN)
def test_what_cannot_be_learned_is_refused_at_the_start(
    recorded: dict[str, Any], asked: dict[str, Any], words: str, world: Path, tmp_path: Path
) -> None:
    data = record_dots(tmp_path / "data", **recorded)
    out = tmp_path / "heads"
    with pytest.raises(ValueError, match=words):
        train_heads(**({"world": str(world), "data": [data], "out": out} | HEADS | asked))
    assert not out.exists()


def test_a_world_that_infers_no_actions_is_refused(data: Path, tmp_path: Path) -> None:
    sizes = GenieSizes(T=3, S=4, d=16, blocks=1, heads=2, codes=20, K=1)
    directory = random_genie_world(tmp_path / "world", sizes)
    with pytest.raises(ValueError, match="has no latent-actions/ that infers its actions"):
        train_heads(world=str(directory), data=[data], out=tmp_path / "heads", **HEADS)


def test_heads_of_another_world_are_refused(heads: Path, world: Path, tmp_path: Path) -> None:
    run, other, out = tmp_path / "run", tmp_path / "other", tmp_path / "out"
    shutil.copytree(world, other)
    shutil.copytree(heads, run)
    weights = load_file(other / "model.safetensors")
    save_file(weights | {"action_codes": weights["action_codes"] + 1}, other / "model.safetensors")
    settings = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps(settings | {"world": str(other)}))
    with pytest.raises(ValueError, match="was trained for another world .*`train heads` again"):
        freeze_heads_command(run, out)
    with pytest.raises(ValueError, match="holds the world that the heads read: give another --out"):
        freeze_heads_command(heads, world)
    with pytest.raises(ValueError, match="the termination is 'soon'"):
        freeze_heads_command(heads, out, termination="soon")
    assert not out.exists()
    freeze_heads_command(heads, out, name="elsewhere")
    assert World.load(out).spec.name == "elsewhere"


def test_a_dictionary_stays_and_is_of_the_labelled_game(tmp_path: Path) -> None:
    """A world of video names no game, though it may have a dictionary of one; its labelled part does."""
    data = record_dots(tmp_path / "data", game="dots:Dots-v0")
    world = dots_world(tmp_path, data)
    frozen = world / "latent-actions" / "checkpoint.safetensors"
    weights = hashlib.sha256(frozen.read_bytes()).hexdigest()[:16]
    entries = {str(code): {"action": -(code % 2)} for code in range(6)}

    def dictionary(file: Path, **changes: Any) -> Path:
        file.write_text(json.dumps({"weights": weights, "dictionary": entries, **changes}))
        return file

    own = tmp_path / "own"
    shutil.copytree(world, own)
    dictionary(own / "mapping.json")
    train_heads(world=str(own), data=[data], out=tmp_path / "heads", **HEADS)
    out = tmp_path / "out"
    freeze_heads_command(tmp_path / "heads", out)
    assert (out / "mapping.json").read_bytes() == (own / "mapping.json").read_bytes()
    config = json.loads((out / "config.json").read_text())
    assert config["real_game"] == "dots:Dots-v0" and World.load(out).spec.game == "dots:Dots-v0"
    RealEnv(out, observation="features").close()
    genie_env.make_vec(out, 2, starts=[data], burn_in=2).close()  # which asks for the same game
    train_heads(world=str(out), data=[data], out=tmp_path / "again", **HEADS)

    given = dictionary(tmp_path / "given.json", labelled=7)
    freeze_heads_command(tmp_path / "heads", out, actions_map=given)
    assert (out / "mapping.json").read_bytes() == given.read_bytes()
    for changes, words in (
        ({"weights": "feed"}, "given.json is of the latent actions feed, but those of the world"),
        ({"dictionary": {"0": {"action": 0}}}, "has actions for 0, but those of the world"),
        (None, "nowhere.json.*give mapping.json, which `genie-env map-actions` wrote"),
    ):
        before = (out / "config.json").read_bytes()
        with pytest.raises(ValueError, match=words):
            file = tmp_path / "nowhere.json" if changes is None else dictionary(given, **changes)
            freeze_heads_command(tmp_path / "heads", out, actions_map=file)
        assert (out / "config.json").read_bytes() == before


def test_heads_can_be_learned_again_on_a_world_that_has_some(
    data: Path, judging: Path, tmp_path: Path
) -> None:
    train_heads(world=str(judging), data=[data], out=tmp_path / "heads", **HEADS, seed=5)
    freeze_heads_command(tmp_path / "heads", tmp_path / "world")
    old, new = (load_file(each / "model.safetensors") for each in (judging, tmp_path / "world"))
    assert old.keys() == new.keys()
    name = "heads.outcome.units.weight"
    assert not torch.equal(old[name], new[name])


def test_a_random_world_with_heads(tmp_path: Path) -> None:
    sizes = GenieSizes.parse("T=3,S=12,d=32,blocks=2,heads=2,codes=20,K=3,judges=1")
    directory = random_genie_world(tmp_path / "world", sizes)
    env = genie_env.make_vec(directory, 32)
    env.reset(seed=0)
    seen = [env.step(env.action_space.sample()) for _ in range(30)]
    assert np.std([each[1] for each in seen]) > 0
    assert 0 < np.mean([each[2] for each in seen]) < 0.2
    config = json.loads((directory / "config.json").read_text())
    added = [each for each in genie_costs(config, {}).step if each.layer.startswith("outcome")]
    # The features of two frames, 6 actions; 63 bins and the termination.
    shapes = [(each.rows, each.inner, each.outer) for each in added]
    assert shapes == [(1, 4 * 32 + 6 + 4 * 32, 256), (1, 256, 64)]
    with pytest.raises(ValueError, match="judges is 2, expected 0 or 1"):
        random_genie_world(
            tmp_path / "no", GenieSizes.parse("T=3,S=1,d=2,blocks=1,heads=1,codes=2,K=1,judges=2")
        )
