"""Continuity: worlds of which the answers are known, figures against naive ones, words of errors."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dot_worlds import STEP, WIDTH, WIND, export_dot, frames_of, record_dot
from numpy.typing import NDArray
from random_world import write_random_world

from genie_env import World
from genie_env._core import EpisodeStore
from genie_env.cli.continuity import continuity
from genie_env.evaluation.continuity import (
    drift,
    errors,
    networks,
    objects,
    reading,
)
from genie_env.evaluation.continuity.drift import Frames, drift_figures
from genie_env.evaluation.continuity.episodes import drawn_pasts, every_episode, long_enough
from genie_env.evaluation.continuity.networks import Network
from genie_env.evaluation.statistics import auc_of_groups, r2_of_groups
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

AGES = [1, 2, 4]
BURN_IN = 2
KINDS: dict[str, dict[str, bool]] = {
    "perfect": {},
    "forgets": {"forgets": True},
    "windy": {"windy": True},
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings `still` and `windy`, and a world of each of KINDS."""
    folder = tmp_path_factory.mktemp("dots")
    record_dot(folder / "still", 44, length=12)
    record_dot(folder / "wind", 200, length=4, windy=True, without=50, starts=(24, 34))
    for name, kind in KINDS.items():
        export_dot(folder / name, **kind)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dot is soon learned."""
    for kind, steps in (("vectors", 300), ("pictures", 150)):
        monkeypatch.setitem(networks.STEPS, kind, steps)
    monkeypatch.setattr(networks, "BATCH", 32)
    monkeypatch.setattr(drift, "FRAMES", 300)
    monkeypatch.setattr(objects, "PASTS", 4)


def measure(
    places: Path, world: str, results: Path, data: str = "still", **change: Any
) -> dict[str, Any]:
    options: dict[str, Any] = {"ages": AGES, "burn_in": BURN_IN, "every_episode": True, **change}
    file = results / "figures.json"
    continuity(str(places / world), [places / data], json_file=file, **options)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def means(figures: dict[str, Any]) -> list[float]:
    return [figure["mean"] for figure in figures.values()]


def error_of(places: Path, other: str = "frozen") -> NDArray[np.float64]:
    """[pasts, ages], from the frames: of the last frame held, of a dot that is gone, or of the next
    episode's frame."""
    store = EpisodeStore(places / "still")
    episodes = every_episode([store], [np.ones(44, bool)], [store.actions], 0)
    frames, dark = frames_of(store), 20 / 255
    found = []
    for past in errors.error_pasts(episodes, BURN_IN, max(AGES), 0):
        first = episodes[past.episode].first + past.frame
        following = episodes[(past.episode + 1) % 44].first + past.frame
        for age in AGES:
            told = {"frozen": frames[first], "gone": dark, "other": frames[following + age]}[other]
            found.append(np.square(frames[first + age] - told).mean())
    return np.array(found).reshape(-1, len(AGES))


def with_a_dot(places: Path) -> float:
    """The share of the measured episodes of `still` that have one: all but every fourth."""
    store = EpisodeStore(places / "still")
    episodes = every_episode([store], [np.ones(44, bool)], [store.actions], 0)
    return float(np.mean([episode.index % 4 > 0 for episode in episodes[:22]]))


def test_of_a_perfect_world_dreams_are_what_followed_and_objects_stay(
    places: Path, tmp_path: Path
) -> None:
    found = measure(places, "perfect", tmp_path, labels=True, drift=[1, 4])
    erred = found["errors"]
    assert means(erred["dream"]) == means(erred["round_trip"]) == [0, 0, 0]
    for baseline in ("frozen", "other"):
        assert means(erred[baseline]) == pytest.approx(error_of(places, baseline).mean(0), rel=1e-5)
    assert erred["pasts"] == 44 * 4 and erred["episodes"] == 44

    for kind in ("columns", "pixels"):
        for age in AGES:
            read = found["objects"]["read"][kind][str(age)]
            assert read["shows"]["dream"] == read["shows"]["reality"]
            assert read["shows"]["label"]["mean"] == pytest.approx(with_a_dot(places))
            assert read["seen"]["dream"]["mean"] > 0.9
            for quantity in ("x", "size"):
                of = read[quantity]
                assert of["mean"]["mean"] == pytest.approx(of["reality"]["mean"], abs=1e-6)
                assert of["single"]["mean"] == pytest.approx(of["reality"]["mean"], abs=1e-6)
                assert of["reality"]["mean"] > 0.4, (kind, age, quantity)
            # The last frame tells of the size what the present one does.
            assert read["size"]["frozen"]["mean"] == pytest.approx(
                read["size"]["reality"]["mean"], abs=0.15
            )
    x = found["objects"]["read"]["pixels"]["4"]["x"]
    assert x["frozen"]["mean"] < x["reality"]["mean"] - 0.02
    assert set(found["objects"]["read"]["recorded frame"]["1"]["x"]) == {"reality", "frozen"}
    assert [auc["mean"] for auc in found["drift"]["auc"].values()] == [0.5, 0.5, 0.5]


def test_of_a_world_that_forgets_no_dream_shows_the_object(places: Path, tmp_path: Path) -> None:
    found = measure(places, "forgets", tmp_path, labels=True, drift=[1, 4])
    assert means(found["errors"]["dream"]) == pytest.approx(
        error_of(places, "gone").mean(0), rel=1e-5
    )
    for age in AGES:
        read = found["objects"]["read"]["pixels"][str(age)]
        assert read["shows"]["dream"]["mean"] == 0 and read["seen"]["dream"]["mean"] == 0
        assert read["shows"]["reality"]["mean"] == pytest.approx(with_a_dot(places), abs=0.1)
        assert read["x"]["mean"]["mean"] < 0.1 < read["x"]["reality"]["mean"]
    # A dream is told from a real frame that shows a dot; of the others, half are.
    auc = found["drift"]["auc"]
    assert auc["0"]["mean"] == 0.5
    assert auc["1"]["mean"] > 0.75 and auc["4"]["mean"] > 0.75


def test_of_an_honest_world_the_mean_of_dreams_is_better_than_single_ones(
    places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wind moves the dot by -1, 0 or 1 times 3 steps, a variance of 6 steps squared, in dreams and
    in reality: a mean of dreams is off by that, and a single one by twice as much."""
    monkeypatch.setitem(networks.STEPS, "pictures", 500)
    found = measure(places, "windy", tmp_path, "wind", labels=True, ages=[1])
    x = found["objects"]["read"]["pixels"]["1"]["x"]
    # Where the dots are that a dream of one frame is compared with.
    truth = np.load(places / "wind" / "labels.npy")[3::4, 0, 1].astype(np.float64)
    lost = float(2 / 3 * (WIND * STEP / WIDTH) ** 2 / np.nanvar(truth))
    assert x["reality"]["mean"] - x["mean"]["mean"] == pytest.approx(lost, rel=0.25)
    assert x["mean"]["mean"] - x["single"]["mean"] == pytest.approx(lost, rel=0.25)
    # Three outcomes that are equally likely: an 80 % interval holds them all, but for the reader.
    assert 0.5 < x["inside"]["mean"] <= 1


def test_what_was_found_is_kept_and_the_card_has_it(
    places: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = tmp_path / "world"
    shutil.copytree(places / "perfect", world)
    options: dict[str, Any] = {"out": tmp_path / "out", "ages": [1, 2], "labels": True}
    found = measure(places, str(world), tmp_path, drift=[2], **options)

    def again(*_: Any, **__: Any) -> None:
        raise AssertionError("this was measured before")

    for module, name in (
        (errors, "measure_errors"),
        (reading, "measure_objects"),
        (drift, "drift_frames"),
    ):
        monkeypatch.setattr(module, name, again)
    assert measure(places, str(world), tmp_path, drift=[2], card=True, **options) == found
    with pytest.raises(AssertionError, match="measured before"):
        measure(places, str(world), tmp_path, seed=1, **options)

    card = (world / "README.md").read_text()
    for title in ("Error by age", "Labelled objects", "Drift"):
        assert card.count(f"## {title}\n") == 1
    assert "The nearest dot, read from columns:" in card and "read from pixels:" in card
    assert "| 0 | 0.500 |" in card
    for picture in ("continuity.png", "continuity-dreams.png"):
        assert (world / picture).stat().st_size > 1000 and f"]({picture})" in card
        assert (tmp_path / "out" / picture).read_bytes() == (world / picture).read_bytes()
    assert "nearest dot, read from recorded frame" in capsys.readouterr().out


def test_figures_against_naive_ones() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(5), 8)
    real, told = random.normal(size=40), random.normal(size=(40, 3))
    found = r2_of_groups(real, told, groups)
    naive = (
        1
        - np.mean([np.square(told[:, s] - real).sum() for s in range(3)])
        / np.square(real - real.mean()).sum()
    )
    assert found.mean == pytest.approx(naive)
    assert found.ci95 is not None and found.ci95[0] < naive < found.ci95[1]
    with pytest.raises(ValueError, match="does not vary at all"):
        r2_of_groups(np.ones(40), told, groups)
    assert r2_of_groups(real, real, groups * 0).ci95 is None

    higher, lower = random.integers(4, size=40) + 1.0, random.integers(4, size=40) * 1.0
    wins = [(h > low) + (h == low) / 2 for h in higher for low in lower]
    auc = auc_of_groups(higher, lower, groups)
    assert auc.mean == pytest.approx(np.mean(wins))
    assert auc.ci95 is not None and auc.ci95[0] < auc.mean < auc.ci95[1]


def test_the_nearest_object_is_the_largest_of_its_class() -> None:
    labels = np.full((3, 8, 6), np.nan, np.float32)
    labels[0, :3] = [
        (0, 0.1, 0.5, 0.1, 0.1, 4),
        (1, 0.9, 0.5, 0.9, 0.9, 5),
        (0, 0.3, 0.5, 0.2, 0.8, 6),
    ]
    labels[1, 0] = (1, 0.9, 0.5, 0.9, 0.9, 5)
    found = objects.nearest(labels, 0)
    assert found.present.tolist() == [True, False, False]
    assert found.quantities[0] == pytest.approx([0.3, 0.4])
    assert found.identities[0] == 6 and np.isnan(found.quantities[1:]).all()


def test_networks_move_no_global_generator_and_repeat() -> None:
    import torch

    before = torch.get_rng_state()
    random = np.random.default_rng(0)
    inputs = random.normal(size=(200, 5)).astype(np.float32)
    targets = (inputs[:, :1] * 2).astype(np.float32)

    def train(seed: int) -> NDArray[np.float32]:
        loss = torch.nn.functional.mse_loss
        network = networks.fitted(inputs, targets, np.arange(200) // 10, loss, 1, seed=seed)
        return network.read(inputs)

    first = train(0)
    assert (first == train(0)).all() and (first != train(1)).any()
    assert np.corrcoef(first[:, 0], targets[:, 0])[0, 1] > 0.95
    assert (torch.get_rng_state() == before).all()


def test_drift_is_refused_where_real_frames_are_told_apart(tmp_path: Path) -> None:
    frames = np.zeros((2, 20, 8, 8, 3), np.uint8)
    network = Network.of(frames[0], 1, 0)
    pasts = [*drawn_pasts([np.arange(1)] * 20, 1, 0, 0)]
    bright = Frames(frames, frames + 200)
    score = network.read(bright.dreamed[0])[:, 0] - network.read(bright.real[0])[:, 0]
    wanted = "1.000" if score[0] > 0 else "0.000"
    with pytest.raises(
        ValueError,
        match=r"the drift of fog cannot be measured: at age 0, .* told apart with an AUC of "
        rf"{re.escape(wanted)}, expected 0.45 to 0.55; give more episodes, or see whether",
    ):
        drift_figures(network, bright, pasts, (0, 1), "fog")
    auc = drift_figures(network, Frames(frames, frames), pasts, (0, 1), "fog")["auc"]
    assert auc["0"]["mean"] == auc["1"]["mean"] == 0.5


def changed(places: Path, out: Path, **files: Any) -> Path:
    """A copy of the recording `still` with other files."""
    shutil.copytree(places / "still", out)
    for name, array in files.items():
        np.save(out / f"{name}.npy", array)
    return out


def test_words_of_bad_labels(places: Path, tmp_path: Path) -> None:
    labels = np.load(places / "still" / "labels.npy")
    other = record_dot(tmp_path / "other", 44, length=12, seed=9)
    of_other = {name: np.load(other / f"{name}.npy") for name in ("labels", "labelled_frames")}
    wrong = labels.copy()
    wrong[:, 0, 0] = 3
    rows = {
        "another": (
            of_other,
            r"labels\.npy labels another recording: the frames of episode \d+ are",
        ),
        "short": (
            {"labels": labels[:100]},
            r"labels 100 frames, but the recording has 528: they are",
        ),
        "shape": (
            {"labels": labels[:, :4]},
            r"holds float32 \[528, 4, 6\], expected float32 \[528,",
        ),
        "classes": (
            {"labels": wrong},
            r"an object of frame \d+ is \[3.0, .*; expected a class from 0 to 0,",
        ),
    }
    for name, (files, words) in rows.items():
        changed(places, tmp_path / name, **files)
        with pytest.raises(ValueError, match=words):
            measure(places, "perfect", tmp_path, str(tmp_path / name), labels=True, ages=[1])
    missing = changed(places, tmp_path / "missing")
    (missing / "labels.npy").unlink()
    with pytest.raises(ValueError, match=r"labels\.npy is missing, though meta\.json declares it"):
        measure(places, "perfect", tmp_path, str(missing), labels=True)
    bare = record_dot(tmp_path / "bare", 40, labelled=False)
    with pytest.raises(ValueError, match=r"bare has no labels: record it with --labels, of a game"):
        measure(places, "perfect", tmp_path, str(bare), labels=True)
    odd = changed(places, tmp_path / "odd")
    meta = json.loads((odd / "meta.json").read_text())
    (odd / "meta.json").write_text(json.dumps({**meta, "labels": {"classes": []}}))
    with pytest.raises(ValueError, match=r'"labels" is .*, expected {"dtype": "float32", "shape"'):
        measure(places, "perfect", tmp_path, str(odd), labels=True)


def test_words_of_bad_arguments(places: Path, tmp_path: Path) -> None:
    for words, change in (
        (
            r"no object of the class 'imp' is labelled; expected one of dot",
            {"labels": True, "object": "imp"},
        ),
        (r"--object is a class of labels: give --labels as well", {"object": "dot"}),
        (r"ages are 1, 1; expected different numbers from 1 on", {"ages": [1, 1]}),
        (
            r"too short for age 30: it takes episodes of 33 frames \(the first, 2 of the burn-in, 30 of "
            r"a dream\), which 0 of 44 have \(the longest: 12\), and at least 2 are needed: give smaller "
            r"ages \(--ages\)",
            {"ages": [1, 30]},
        ),
        (
            r"too short for age 10: .*, which 0 of 44 have .* at least 20 are needed: .* \(--drift\)",
            {"ages": [1], "drift": [1, 10]},
        ),
    ):
        with pytest.raises(ValueError, match=words):
            measure(places, "perfect", tmp_path, **change)
    with pytest.raises(ValueError, match="too short for age 1: .* which 0 of 0 have"):
        long_enough([], 0, 1, 1, "--ages")


def test_a_world_without_recorded_or_inferred_actions_is_refused(
    places: Path, tmp_path: Path
) -> None:
    unknown = record_dot(tmp_path / "unknown", 40, labelled=False, known_actions=False)
    with pytest.raises(ValueError, match=r"unknown has no actions"):
        measure(places, "perfect", tmp_path, str(unknown))
    sizes = GenieSizes.parse("T=4,S=64,d=16,blocks=1,heads=2,codes=8,K=2")
    latent = random_genie_world(tmp_path / "latent", sizes)
    spec = World.load(latent).spec
    assert spec.frame is not None
    data = tmp_path / "squares"
    from test_fidelity import noise, write_episodes

    write_episodes(data, [12] * 40, noise)
    with pytest.raises(
        ValueError,
        match=r"the actions of the world .* are latent, no recording holds them, and it has no "
        r"latent-actions/ that infers them: give --latent-actions",
    ):
        continuity(str(latent), [data], ages=[1], burn_in=1)


def test_held_out_episodes_alone_are_measured_unless_all_are_new(
    places: Path, tmp_path: Path
) -> None:
    found = measure(places, "perfect", tmp_path, every_episode=False)
    assert found["errors"]["episodes"] == 2  # 19 and 39 of 44


def test_a_shipped_family_is_read_by_its_latents(tmp_path: Path) -> None:
    from genie_env.evaluation.continuity.readers import readable

    world = World.load(write_random_world(tmp_path / "world"))
    kinds = readable(world)
    assert next(iter(kinds)) == "z" and [*kinds][-1] == "pixels"
    state = world.make_state(3)
    sizes = {each.name: each.shape[0] for each in world.spec.observations}
    assert kinds["z"](state, None).shape == (3, 2 * sizes["zh"] - sizes["zch"])
