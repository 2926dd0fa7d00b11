"""How well a world knows reward and termination, measured on worlds of which that is known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_world import write_random_world

from genie_env._core import EpisodeStore, EpisodeWriter
from genie_env.cli.app import APP
from genie_env.data.datasets import held_out
from genie_env.evaluation.outcomes import Returns, bins_of, drawn_episodes, dreamed_bins_of, measure
from genie_env.families.model_card import put_section

META = {
    "format_version": 1,
    "game": "doom-take-cover",
    "frame_skip": 1,
    "actions": ["left", "stay", "right"],
}


def write_episodes(directory: Path, lengths: list[int], terminates: list[bool]) -> EpisodeStore:
    """A step's reward is its action, 0, 1 or 2; a frame shows how many steps were taken."""
    random = np.random.default_rng(3)
    with EpisodeWriter(directory, 64, 64, json.dumps(META)) as writer:
        for length, terminated in zip(lengths, terminates, strict=True):
            frames = np.broadcast_to(
                np.arange(length, dtype=np.uint8)[:, None, None, None], (length, 64, 64, 3)
            )
            actions = random.integers(0, 3, length)
            last = np.arange(length) == length - 1
            ended = last & terminated
            writer.append(frames, actions, actions.astype(np.float32), ended, last & ~ended)
    return EpisodeStore(directory)


class State:
    def __init__(self, steps: torch.Tensor) -> None:
        self.steps = steps

    def clone(self) -> State:
        return State(self.steps.clone())


class Given:
    def __init__(
        self, reward: torch.Tensor, probability: torch.Tensor, ended: torch.Tensor
    ) -> None:
        self.reward, self.termination_probability, self.terminated = reward, probability, ended


class Counting:
    """Pays what the action says, times `pays`; ends every episode after `ends` steps, and gives
    that a probability of `sure`, every other step one of 0.01."""

    def __init__(self, pays: float = 1, ends: int = 10**6, sure: float = 1.0) -> None:
        self.pays, self.ends, self.sure = pays, ends, sure

    def make_state(self, rows: int) -> State:
        return State(torch.zeros(rows))

    def begin(self, state: State, mask: torch.Tensor, rng: Any, frames: torch.Tensor) -> None:
        assert not frames.any()

    def step(self, state: State, actions: torch.Tensor, *rest: Any) -> Given:
        state.steps = state.steps + 1
        ended = state.steps == self.ends
        probability = torch.where(ended, self.sure, 0.01)
        return Given(self.pays * actions.float(), probability, ended)

    def follow(
        self, state: State, actions: torch.Tensor, frames: torch.Tensor, rng: Any, kind: None
    ) -> Given:
        return self.step(state, actions)


def found(
    world: Counting, directory: Path, lengths: list[int], ends: list[bool], horizon: int
) -> Any:
    store = write_episodes(directory, lengths, ends)
    episodes = drawn_episodes([store], [held_out(store)], [store.actions], horizon, 1000, seed=0)
    return measure(world, episodes, horizon=horizon, temperature=1.0, seed=0), store  # type: ignore[arg-type]


def test_windows_are_cut_where_episodes_end(tmp_path: Path) -> None:
    lengths = [1] * 19 + [12] + [1] * 19 + [7]  # every twentieth is held out
    outcomes, store = found(Counting(), tmp_path / "d", lengths, [False] * 40, horizon=5)
    rewards = store.rewards
    first, second = rewards[19:31], rewards[50:57]
    expected = [
        second[:5].sum(),
        first[:5].sum(),
        second[5:].sum(),
        first[5:10].sum(),
        first[10:].sum(),
    ]
    assert sorted(outcomes.windows[:, 0]) == sorted(float(e) for e in expected)
    np.testing.assert_allclose(outcomes.windows[:, 1], outcomes.windows[:, 0])
    np.testing.assert_allclose(outcomes.windows[:, 2], outcomes.windows[:, 0])
    assert len(outcomes.steps) == 12 + 7 and not outcomes.steps[:, 1].any()


def test_dreams_end_by_themselves_and_go_on_behind_a_death(tmp_path: Path) -> None:
    lengths = [1] * 19 + [4] + [1] * 19 + [8]
    ends = [True] * 40
    early, store = found(Counting(ends=2), tmp_path / "early", lengths, ends, horizon=8)
    four, eight = store.rewards[19:23], store.rewards[42:50]
    assert sorted(early.windows[:, 2]) == sorted([four[:2].sum(), eight[:2].sum()])
    late, _ = found(Counting(), tmp_path / "late", lengths, ends, horizon=8)
    # By the step of the window: both dreams end at the second, the episodes at the fourth and eighth.
    recorded, ended, dreaming, told = early.by_step.T
    assert recorded.tolist() == [2] * 4 + [1] * 4 and ended.tolist() == [0, 0, 0, 1, 0, 0, 0, 1]
    assert dreaming.tolist() == [2, 2] + [0] * 6 and told[:2] == pytest.approx([0.02, 2])
    assert [each.steps for each in dreamed_bins_of(early.by_step)] == [2, 2]
    lived_on = four.sum() + 4 * store.actions[22]  # the last action again, until the window is full
    assert sorted(late.windows[:, 2]) == sorted([lived_on, eight.sum()])
    assert late.steps[:, 1].sum() == late.by_step[:, 1].sum() == 2
    assert late.by_step[:, 0].sum() == len(late.steps) == 12 and late.by_step[:, 2].sum() == 16


def test_the_measures_are_those_of_their_definitions() -> None:
    recorded = np.array([1.0, 2.0, 3.0, 6.0])
    told = np.array([1.5, 2.0, 2.0, 5.0])
    returns = Returns.of(recorded, told)
    assert returns.r2 == pytest.approx(1 - (0.25 + 0 + 1 + 1) / (4 + 1 + 0 + 9))
    assert returns.error == pytest.approx(2.5 / 4) and returns.mean == 3
    assert Returns.of(np.full(3, 0.1), np.zeros(3)).r2 is None


def test_a_bin_agrees_where_its_probability_is_in_wilsons_interval() -> None:
    steps = np.zeros((100, 2))
    steps[:50, 0], steps[50:, 0] = 0.1, 0.5
    steps[50:75, 1] = 1  # 25 of 50: 0.366 to 0.634 by published tables
    low, high = bins_of(steps, 2)
    assert (low.low, low.high) == (0, pytest.approx(0.0714, abs=1e-4)) and not low.agrees
    assert (high.low, high.high) == pytest.approx((0.3664, 0.6336), abs=1e-4) and high.agrees
    assert [each.steps for each in bins_of(steps[:3], 10)] == [1, 1, 1]
    for count in range(1, 300):  # in spite of rounding, so that it can be drawn
        for share in (0, 1):
            (only,) = bins_of(np.full((count, 2), share), 1)
            assert only.low <= only.observed <= only.high


def test_dreams_that_end_as_often_as_the_recordings_agree() -> None:
    """Of episodes and dreams of one law, whose hazard rises within a window: 95 % of bins agree."""
    random, horizon = np.random.default_rng(0), 20
    agreed = made = 0
    for _ in range(40):
        by_step = np.zeros((horizon, 4))
        for column in (0, 2):
            alive = np.full(3000, True)
            frailty = random.gamma(1.0, 1.0, 3000)
            for step in range(horizon):
                hazard = np.minimum(frailty * 0.002 * (1 + step), 1)
                by_step[step, column] = alive.sum()
                ended = alive & (random.random(3000) < hazard)
                by_step[step, column + 1] = hazard[alive].sum() if column else ended.sum()
                alive &= ~ended
        bins = dreamed_bins_of(by_step)
        agreed, made = agreed + sum(each.agrees for each in bins), made + len(bins)
    assert made == 400 and agreed / made > 0.9
    by_step[:, 3] *= 1.5
    assert sum(each.agrees for each in dreamed_bins_of(by_step)) < 7


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        APP.main([str(word) for word in words], prog_name="genie-env")
    assert ended.value.code == 0


def test_the_command_writes_figures_a_picture_and_the_card(tmp_path: Path) -> None:
    world = write_random_world(tmp_path / "world")
    (world / "README.md").write_text("# mine\n\n## Where it is wrong\n\nhere\n")
    write_episodes(tmp_path / "data", [15] * 80, [True] * 80)
    line = ("--world", world, "--data", tmp_path / "data", "--horizon", 5, "--seed", 1)
    for name in ("a", "b"):
        file = tmp_path / f"{name}.json"
        run("outcomes", *line, "--out", tmp_path / name, "--json", file, "--card")
    first, second = ((tmp_path / f"{name}.json").read_text() for name in ("a", "b"))
    assert first == second
    facts = json.loads(first)
    assert facts["windows"] == 12 and facts["steps"] == 60 and len(facts["bins"]) == 10
    assert 0 < len(facts["dreamed_bins"]) <= 10
    assert (tmp_path / "a" / "outcomes.png").stat().st_size > 10_000
    card = (world / "README.md").read_text()
    assert card.startswith("# mine\n\n## Reward and termination\n\n12 windows of at most 5 steps")
    assert card.count("## Reward") == 1 and card.endswith("\n\n## Where it is wrong\n\nhere\n")


def test_every_episode_of_a_new_recording_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = write_random_world(tmp_path / "world")
    write_episodes(tmp_path / "data", [15] * 30, [True] * 30)
    told = tmp_path / "told.json"
    line = ["outcomes", "--world", world, "--data", tmp_path / "data", "--every-episode"]
    run(*line, "--json", told)
    facts = json.loads(told.read_text())
    assert facts["episodes"] == 30 and facts["every_episode"]
    assert "whether the recordings are new is unknown" in capsys.readouterr().out

    def trained_on(meta: dict[str, Any]) -> None:
        config = json.loads((world / "config.json").read_text())
        config["training"] = {"data": {"memory": [{**meta, "versions": {"numpy": "1"}}]}}
        (world / "config.json").write_text(json.dumps(config))

    played = {**META, "seed": 3, "policies": ["random"]}
    (tmp_path / "data" / "meta.json").write_text(json.dumps(played))
    trained_on({**played, "seed": 4})
    run(*line)
    assert "new episodes" in capsys.readouterr().out
    trained_on({**played, "format_version": 2, "actions": {}, "score": {}})  # of another version
    with pytest.raises(SystemExit) as ended:
        APP.main([str(word) for word in line], prog_name="genie-env")
    message = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 1 and "record with another --seed" in message


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        (
            {**META, "actions": ["a", "b", "c"]},
            "the recordings have .*give recordings of its game",
        ),
        ({**META, "actions": None}, "has no actions, as it was decoded from video"),
        (
            {**META, "game": "other"},
            "are of other, but the game of the world random is doom-take-cover: give",
        ),
        ({**META, "frame_skip": 2}, '"frame_skip" is 2, but a step of the world'),
    ],
)
def test_other_recordings_are_refused(
    meta: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = write_random_world(tmp_path / "world")
    write_episodes(tmp_path / "data", [5] * 20, [True] * 20)
    (tmp_path / "data" / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(SystemExit) as ended:
        words_given = ["outcomes", "--world", str(world), "--data", str(tmp_path / "data")]
        APP.main(words_given, prog_name="genie-env")
    assert ended.value.code == 1
    message = " ".join(capsys.readouterr().err.split())
    assert re.search(words, message), message


def test_a_section_takes_the_place_of_its_older_self(tmp_path: Path) -> None:
    put_section(tmp_path, "New", ["one"])
    assert (tmp_path / "README.md").read_text() == "## New\n\none\n"
    (tmp_path / "README.md").write_text("# a\n\n## New\n\nold\n\nolder\n\n## Next\n\nb\n")
    put_section(tmp_path, "New", ["two"])
    assert (tmp_path / "README.md").read_text() == "# a\n\n## New\n\ntwo\n\n## Next\n\nb\n"
