"""Mapping latent actions to real ones: the dictionary, the classifier beside it, the command."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genie_env._core import EpisodeStore, EpisodeWriter
from genie_env.data import midway
from genie_env.data.datasets import transitions
from genie_env.data.midway import Midway
from genie_env.data.recording_metadata import action_meanings
from genie_env.evaluation import action_classifier
from genie_env.evaluation import action_mapping as mapping
from genie_env.evaluation.action_classifier import (
    ActionClassifier,
    Classified,
    PieceData,
    classify,
    train_classifier,
)
from genie_env.data.action_dictionary import (
    accuracy,
    count_together,
    labelled_transitions,
    most_frequent,
)
from genie_env.evaluation.action_mapping import dictionary_entries, map_actions
from genie_env.families.genie.commands import train_latent_actions
from genie_env.training.latent_actions import load_latent_actions

MEANINGS = ["left", "stay", "right"]
NAMED = json.dumps({"format_version": 1, "actions": MEANINGS})
NAMELESS = '{"format_version": 1}'


def record(directory: Path, meta: str = NAMED, episodes: int = 40, actions: int = 3) -> Path:
    """Episodes of 1 to 12 frames, 16 x 16: action 0 moves a bar left, 1 leaves it, 2 moves it
    right. The first pixel tells the episode and the time."""
    rng = np.random.default_rng(0)
    with EpisodeWriter(str(directory), 16, 16, meta) as writer:
        for episode in range(episodes):
            length = 1 if episode in (0, 3) else int(rng.integers(5, 13))
            chosen = np.minimum(rng.integers(0, 3, length), actions - 1)
            frames = np.full((length, 16, 16, 3), 40, np.uint8)
            place = int(rng.integers(0, 16))
            for time in range(length):
                frames[time, 2:, [place, (place + 1) % 16]] = 220
                place = (place + int(chosen[time]) - 1) % 16
            frames[:, 0, 0, 0] = episode
            frames[:, 0, 0, 1] = np.arange(length)
            ends = np.arange(length) == length - 1
            writer.append(frames, chosen, np.ones(length, np.float32), ends, ends & False)
    return directory


def trained(stores: list[EpisodeStore], **settings: int) -> Classified:
    return train_classifier(stores, **settings, midway=Midway(None, {}))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "data")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A latent action model: two layers of three frames, so it looks at three."""
    out = tmp_path_factory.mktemp("runs") / "actions"
    sizes: dict[str, Any] = {"width": 8, "heads": 2, "window": 3}
    blocks: dict[str, Any] = {"encoder_blocks": 1, "decoder_blocks": 1}
    train_latent_actions([data], out, steps=3, batch=2, clip=4, bf16=False, **sizes, **blocks)
    return out


@pytest.fixture(scope="module")
def mapped(data: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mapped") / "out"
    map_actions(run, [data], out, labelled=30, steps=2, seed=5)
    return out


def read(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "mapping.json").read_text())
    return found


def told(data: Path, run: Path, held_out: bool) -> list[tuple[int, int, int | None]]:
    """(code, action, action before) of every transition of one part, in order, without this package's
    help."""
    starts, frames = np.load(data / "episode_starts.npy"), np.load(data / "frames.npy")
    actions = np.load(data / "actions.npy")
    model = load_latent_actions(run)
    found = []
    for episode in range(len(starts) - 1):
        start, stop = int(starts[episode]), int(starts[episode + 1])
        if (episode % 20 == 19) == held_out and stop - start > 1:
            codes = model.encode(torch.from_numpy(frames[None, start:stop]))[0].tolist()
            taken = actions[start : stop - 1].tolist()
            found += list(zip(codes, taken, [None, *taken[:-1]], strict=True))
    return found


def by_hand(labels: list[tuple[int, int, int | None]], code: int) -> int:
    """The most frequent action of a code, ties and a code without labels as documented."""
    overall = Counter(action for _, action, _ in labels)
    here = Counter(action for c, action, _ in labels if c == code) or overall
    return min(here, key=lambda action: (-here[action], -overall[action], action))


def after_by_hand(labels: list[tuple[int, int, int | None]], code: int, before: int | None) -> int:
    """The same after an action: its labels, and two of what the code means alone."""
    alone = by_hand(labels, code)
    if before is None:
        return alone
    here = [action for c, action, b in labels if (c, b) == (code, before)]
    every = [action for c, action, _ in labels if c == code]
    worth = [here.count(a) + 2 * every.count(a) / max(len(every), 1) for a in range(3)]
    return min(range(3), key=lambda a: (-worth[a] if a != alone else -worth[a] - 1e-6, a))


def test_dictionary_and_accuracy_are_those_of_counting_by_hand(
    data: Path, run: Path, mapped: Path
) -> None:
    found = read(mapped)
    trained, unseen = told(data, run, held_out=False), told(data, run, held_out=True)
    assert found["transitions"] == {"training": len(trained), "held_out": len(unseen)}

    def labels(number: int, draw: int) -> list[tuple[int, int, int | None]]:
        order = np.random.Generator(np.random.Philox(key=[5, draw])).permutation(len(trained))
        return [trained[i] for i in order[:number]]

    for code in range(6):
        known = [action for c, action, _ in labels(30, 0) if c == code]
        action = by_hand(labels(30, 0), code)
        assert found["dictionary"][str(code)] == {
            "action": action,
            "meaning": MEANINGS[action],
            "share": known.count(action) / len(known) if known else None,
            "count": len(known),
        }
        for before in range(3):
            after = after_by_hand(labels(30, 0), code, before)
            assert found["after"][str(before)][str(code)] == after

    for action in range(3):
        known = [code for code, a, _ in labels(30, 0) if a == action]
        overall = Counter(code for code, *_ in labels(30, 0))
        code = min(set(known), key=lambda code: (-known.count(code), -overall[code], code))
        share = known.count(code) / len(known)
        assert found["codes"][str(action)] == {"code": code, "share": share, "count": len(known)}

    def alone(known: list[tuple[int, int, int | None]]) -> float:
        return float(np.mean([by_hand(known, code) == action for code, action, _ in unseen]))

    def right(known: list[tuple[int, int, int | None]]) -> float:
        named = [after_by_hand(known, code, before) == action for code, action, before in unseen]
        return float(np.mean(named))

    assert list(found["accuracy"]) == ["20", "30", "50", "200"]  # there are not 1,000
    for number, summary in found["accuracy"].items():
        shares = [right(labels(int(number), draw)) for draw in range(20)]
        assert summary["mean"] == pytest.approx(np.mean(shares))
        assert summary["ci95"][0] <= summary["mean"] <= summary["ci95"][1]
        assert summary["n"] == 20
        shares = [alone(labels(int(number), draw)) for draw in range(20)]
        by_code = found["accuracy_by_code_alone"][number]["mean"]
        assert by_code == pytest.approx(np.mean(shares))
    assert found["dictionary_accuracy"] == right(labels(30, 0))
    assert found["every_label"] == right(trained)
    commonest = Counter(action for _, action, _ in trained).most_common(1)[0][0]
    assert found["chance"] == np.mean([action == commonest for _, action, _ in unseen])
    assert found["ratio"] == pytest.approx(
        found["accuracy"]["200"]["mean"] / found["supervised"]["accuracy"]
    )
    table = np.zeros((6, 3), int)
    for code, action, _ in unseen:
        table[code, action] += 1
    assert found["confusion"] == table.tolist()
    assert Image.open(mapped / "mapping.png").size == (840, 576)


def test_a_code_without_labels_gets_the_most_frequent_action() -> None:
    counts = count_together(np.array([0, 0, 2, 2, 2]), np.array([1, 1, 2, 2, 2]), (4, 3))
    assert counts.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 3], [0, 0, 0]]
    assert most_frequent(counts).tolist() == [1, 2, 2, 2]
    entries = dictionary_entries(counts, MEANINGS)
    assert entries["1"] == {"action": 2, "meaning": "right", "share": None, "count": 0}
    assert entries["2"] == {"action": 2, "meaning": "right", "share": 1.0, "count": 3}
    # An unseen code counts as wrong where its action was another.
    unseen = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 0, 0]])
    assert accuracy(most_frequent(counts), unseen) == 0.5


def test_labels_are_drawn_from_seed_and_draw_alone() -> None:
    few, many = (labelled_transitions(100, number, 3, 7) for number in (10, 60))
    assert np.array_equal(few, many[:10]) and len(set(many.tolist())) == 60
    assert not np.array_equal(few, labelled_transitions(100, 10, 3, 8))
    assert not np.array_equal(few, labelled_transitions(100, 10, 4, 7))


def test_transitions_stay_within_an_episode(data: Path) -> None:
    store = EpisodeStore(str(data))
    for part in (False, True):
        rows = transitions(store, held_out_part=part)
        episodes, times = store.frames[:, 0, 0, 0], store.frames[:, 0, 0, 1].astype(int)
        assert np.array_equal(episodes[rows], episodes[rows + 1])
        assert np.array_equal(times[rows] + 1, times[rows + 1])
        assert set((episodes[rows] % 20 == 19).tolist()) == {part}
    lengths = np.diff(store.episode_starts)
    count = sum(len(transitions(store, held_out_part=part)) for part in (False, True))
    assert count == (lengths - 1).sum()


def test_what_is_said(
    data: Path, run: Path, mapped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(mapped / "supervised", tmp_path / "out" / "supervised")
    map_actions(run, [data], tmp_path / "out", labelled=1, steps=2, seed=5)
    said = " ".join(capsys.readouterr().out.split())
    assert "none: the most frequent" in said
    assert "No code means" in said  # one label names one action
    assert "200 labels" in said and "supervised classifier" in said and "95 % interval" in said
    assert "With 200 labels, latent actions reach" in said
    assert list(read(tmp_path / "out")["accuracy"]) == ["1", "20", "50", "200"]


def test_a_trained_classifier_is_kept(
    data: Path, run: Path, mapped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(mapped, out)

    def trained_again(*args: Any, **changes: Any) -> None:
        raise RuntimeError("trained again")

    monkeypatch.setattr(mapping, "train_classifier", trained_again)
    map_actions(run, [data], out, labelled=40, steps=2, seed=5)
    assert read(out)["supervised"] == read(mapped)["supervised"]
    with pytest.raises(RuntimeError, match="trained again"):
        map_actions(run, [data], out, labelled=40, steps=3, seed=5)


def test_wrong_numbers_say_so(data: Path, run: Path, tmp_path: Path) -> None:
    known = len(told(data, run, held_out=False))
    with pytest.raises(ValueError, match="labelled is 0; expected 1 or more: nothing maps without"):
        map_actions(run, [data], tmp_path / "out", labelled=0)
    with pytest.raises(
        ValueError,
        match=f"{known + 1} labelled transitions were asked for, but the training part of the "
        f"recordings has {known}: give a smaller --labelled, or record more",
    ):
        map_actions(run, [data], tmp_path / "out", labelled=known + 1)
    with pytest.raises(ValueError, match="steps is 0; expected 1 or more"):
        map_actions(run, [data], tmp_path / "out", labelled=20, steps=0)
    with pytest.raises(ValueError, match="seed is -1; expected 0 or more"):
        map_actions(run, [data], tmp_path / "out", labelled=20, seed=-1)
    few = record(tmp_path / "few", episodes=19)
    with pytest.raises(ValueError, match="too few episodes: the held-out part, every 20th episode"):
        map_actions(run, [few], tmp_path / "out", labelled=20)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("meta", "why"),
    [
        (NAMELESS, "every one is 0"),
        (NAMED, "every one is 0"),
        ('{"format_version": 1, "actions": []}', "its meta.json names none"),
    ],
)
def test_recordings_of_a_video_are_refused(meta: str, why: str, run: Path, tmp_path: Path) -> None:
    video = record(tmp_path / "video", meta, actions=1)
    with pytest.raises(
        ValueError, match=f"video holds no actions to learn from: {why}, as in recordings of a vid"
    ):
        map_actions(run, [video], tmp_path / "out", labelled=20)
    assert not (tmp_path / "out").exists()


def test_an_unfinished_model_is_refused(data: Path, run: Path, tmp_path: Path) -> None:
    """It would say something else later."""
    shutil.copytree(run, tmp_path / "run")
    settings = tmp_path / "run" / "settings.json"
    settings.write_text(settings.read_text().replace('"steps": 3', '"steps": 4'))
    with pytest.raises(ValueError, match="not finished: .* `train latent-actions` command again"):
        map_actions(tmp_path / "run", [data], tmp_path / "out")
    with pytest.raises(ValueError, match="holds no settings.json: give the --out of a `train lat"):
        map_actions(tmp_path / "nowhere", [data], tmp_path / "out")


def test_meanings_are_those_of_the_recordings(data: Path, tmp_path: Path) -> None:
    def meanings(*metas: str) -> tuple[str | None, ...]:
        recorded = len(list(tmp_path.iterdir()))
        directories = [
            record(tmp_path / str(recorded + i), meta, episodes=3) for i, meta in enumerate(metas)
        ]
        return action_meanings(directories, [EpisodeStore(str(d)) for d in directories])

    assert meanings(NAMED, NAMED) == tuple(MEANINGS)
    assert meanings(NAMELESS) == (None, None, None)
    with pytest.raises(
        ValueError, match="not have the same actions: left, stay, right in .* but n"
    ):
        meanings(NAMED, NAMELESS)
    with pytest.raises(
        ValueError, match=r"action \d is 2, expected 0 to 1: .*meta.json names 2 act"
    ):
        meanings('{"format_version": 1, "actions": ["left", "right"]}')
    with pytest.raises(ValueError, match="\"actions\" is 'left', expected a list .each a text. or null"):
        meanings('{"format_version": 1, "actions": "left"}')


def test_actions_that_are_no_numbers_of_buttons_are_refused(tmp_path: Path) -> None:
    directory = record(tmp_path / "far", NAMELESS, episodes=1)
    with EpisodeWriter(str(directory), 16, 16, NAMELESS) as writer:
        frames = np.zeros((1, 16, 16, 3), np.uint8)
        true, false = np.ones(1, bool), np.zeros(1, bool)
        writer.append(frames, np.array([10**9]), np.ones(1, np.float32), true, false)
    with pytest.raises(
        ValueError, match="holds action 1000000000, expected 0 to 1023: record disc"
    ):
        action_meanings([directory], [EpisodeStore(str(directory))])


def test_actions_without_meanings_are_numbered(run: Path, tmp_path: Path) -> None:
    nameless = record(tmp_path / "nameless", NAMELESS)
    map_actions(run, [nameless], tmp_path / "out", labelled=20, steps=1)
    assert {entry["meaning"] for entry in read(tmp_path / "out")["dictionary"].values()} == {None}


def test_the_classifier_learns_what_the_frames_show(data: Path) -> None:
    before = torch.random.get_rng_state()
    found = trained([EpisodeStore(str(data))], actions=3, window=3, steps=200, seed=0)
    assert torch.equal(before, torch.random.get_rng_state())
    assert found.accuracy > 0.9 and found.validation_accuracy > 0.9
    assert found.transitions == len(transitions(EpisodeStore(str(data)), held_out_part=True))


def test_the_classifier_is_reproducible_and_never_trains_on_held_out_episodes(
    data: Path, tmp_path: Path
) -> None:
    one, again = (
        trained([EpisodeStore(str(data))], actions=3, window=2, steps=30, seed=1) for _ in range(2)
    )
    assert one == again
    # Turned labels in held-out episodes: what was learned stays, what is right turns.
    turned = tmp_path / "turned"
    shutil.copytree(data, turned)
    actions, starts = np.load(turned / "actions.npy"), np.load(turned / "episode_starts.npy")
    for episode in (19, 39):
        actions[starts[episode] : starts[episode + 1]] = 1
    np.save(turned / "actions.npy", actions)
    other = trained([EpisodeStore(str(turned))], actions=3, window=2, steps=30, seed=1)
    assert (other.validation_accuracy, other.step) == (one.validation_accuracy, one.step)


def test_a_classifier_that_is_stopped_goes_on_to_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, the optimiser's moments, the order of batches and the best weights so far."""
    monkeypatch.setattr(midway, "SECONDS_A_CHECKPOINT", 0)
    stores = [EpisodeStore(str(data))]
    settings = {"actions": 3, "window": 3, "steps": 40, "seed": 2}
    ended: list[dict[str, torch.Tensor]] = []
    fit = action_classifier._fit

    def noted(network: ActionClassifier, *rest: Any) -> Any:
        best = fit(network, *rest)
        ended.append({k: v.clone() for k, v in network.state_dict().items()})
        return best

    monkeypatch.setattr(action_classifier, "_fit", noted)
    expected, fitted = trained(stores, **settings), []
    batches = action_classifier._batch

    def stopped(pieces: Any, seed: int, step: int) -> Any:
        fitted.append(step)
        if len(fitted) == 26:
            raise KeyboardInterrupt
        return batches(pieces, seed, step)

    monkeypatch.setattr(action_classifier, "_batch", stopped)
    with pytest.raises(KeyboardInterrupt), Midway(tmp_path / "figures.json", settings) as first:
        train_classifier(stores, **settings, midway=first)
    assert len(list(tmp_path.iterdir())) == 1
    with Midway(tmp_path / "figures.json", settings) as again:
        assert train_classifier(stores, **settings, midway=again) == expected
    assert fitted == [*range(26), *range(25, 40)]
    uninterrupted, resumed = ended
    assert all(weight.equal(resumed[name]) for name, weight in uninterrupted.items())
    assert list(tmp_path.iterdir()) == []


def test_the_classifier_sees_its_window_whatever_the_pieces(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EpisodeStore(str(data))
    torch.manual_seed(0)
    network = ActionClassifier((16, 16), 3, window=4).eval()
    logits = []
    for size in (64, 3, 1):
        monkeypatch.setattr(action_classifier, "PIECE", size)
        pieces = PieceData([store], window=4)
        with torch.no_grad():
            logits.append(classify(network, pieces, pieces.held_out))
        expected = store.actions[transitions(store, held_out_part=True)]
        assert np.array_equal(pieces.actions(pieces.held_out), expected)
        assert all(piece.last - piece.reads_from <= size + 2 for piece in pieces.held_out)
    assert torch.allclose(logits[0], logits[1], atol=1e-5)
    assert torch.allclose(logits[0], logits[2], atol=1e-5)


def test_the_classifier_validates_on_whole_training_episodes(data: Path) -> None:
    store = EpisodeStore(str(data))
    pieces = PieceData([store], window=3)

    def episodes(part: list[action_classifier.Piece]) -> set[int]:
        return {int(store.frames[piece.first, 0, 0, 0]) for piece in part}

    trained, validation = episodes(pieces.trained), episodes(pieces.validation)
    assert validation == {1, 23}  # episodes 0 and 3 have no transition
    assert not trained & validation and episodes(pieces.held_out) == {19, 39}
    assert trained | validation == set(range(40)) - {0, 3, 19, 39}
