"""Calibration: the choice of a setting, the holes of a dream, the files it leaves."""

import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from random_world import write_random_world

from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.cli.app import APP
from genie_env.envs.registry import find_world
from genie_env.evaluation import calibrate as calibration
from genie_env.evaluation.calibrate import (
    Comparison,
    Setting,
    calibrate,
    choose,
    find_holes,
    hole_warning,
)
from genie_env.evaluation.statistics import Summary
from genie_env.games.base import Score
from genie_env.games.doom import DoomGame
from genie_env.games.registry import find_game

DOOM = find_game("doom-take-cover")


def lives(**means: float) -> dict[str, Summary]:
    return {policy: Summary(mean, 0.0, (mean, mean), 100) for policy, mean in means.items()}


REAL = lives(held=300, left=200, still=100)


def test_twice_as_long_is_as_wrong_as_half_as_long() -> None:
    longer = Setting("sampled", 1.0, lives(held=600, left=200, still=100))
    shorter = Setting("sampled", 1.0, lives(held=150, left=200, still=100))
    assert longer.error(REAL) == pytest.approx(math.log(2) / 3)
    assert shorter.error(REAL) == pytest.approx(longer.error(REAL))


def test_errors_do_not_cancel() -> None:
    both = Setting("sampled", 1.0, lives(held=600, left=100, still=100))
    assert both.error(REAL) == pytest.approx(2 * math.log(2) / 3)


def test_the_setting_closest_to_reality_is_chosen() -> None:
    far = Setting("thresholded", 0.5, lives(held=2000, left=2000, still=2000))
    near = Setting("sampled", 1.15, lives(held=310, left=190, still=110))
    assert choose([far, near], REAL) is near
    assert choose([near, Setting("sampled", 1.3, near.scores)], REAL) is near


def test_it_takes_evidence_to_leave_temperature_1() -> None:
    def dream(temperature: float, mean: float, std: float) -> Setting:
        return Setting("sampled", temperature, {"held": Summary(mean, std, None, 100)})

    real = {"held": Summary(300, 300.0, None, 100)}
    # A relative standard error of a tenth in the dream and in reality: sqrt(0.02) = 0.141 together.
    assert dream(1.3, 300, 300.0).standard_error(real) == pytest.approx(0.1414, abs=1e-4)
    assert choose([dream(1.3, 300, 300.0), dream(1.0, 340, 340.0)], real).temperature == 1.0
    assert choose([dream(1.3, 300, 300.0), dream(1.0, 360, 360.0)], real).temperature == 1.3
    assert choose([dream(0.5, 300, 300.0), dream(1.5, 310, 310.0)], real).temperature == 1.5
    single = Summary(300, None, None, 1)
    assert Setting("sampled", 1.0, {"held": single}).standard_error({"held": single}) == (
        pytest.approx(math.sqrt(2))
    )


def test_scores_below_0_are_compared_by_their_differences() -> None:
    real = {"random": Summary(-30, 8.0, None, 50), "held": Summary(-10, 6.0, None, 50)}
    near = Setting(None, 0.5, {"random": Summary(-28, 8.0, None, 50), "held": Summary(-12, 0.0, None, 50)})
    far = Setting(None, 1.0, {"random": Summary(5, 8.0, None, 50), "held": Summary(-12, 0.0, None, 50)})
    by = Comparison.of([near, far], real, Score())
    # Within policies (64 + 36) / 2, between them 10 squared.
    assert by.deviation == pytest.approx(math.sqrt(50 + 100))
    assert near.error(real, by) == pytest.approx(2 / by.deviation)
    assert far.error(real, by) == pytest.approx((35 + 2) / 2 / by.deviation)
    of_means = math.sqrt((64 + 64 + 36 + 0) / 50) / 2
    assert near.standard_error(real, by) == pytest.approx(of_means / by.deviation)
    assert choose([near, far], real, by) is near
    assert by.words(0.5) == "by 0.50 standard deviations of the real game's"
    game = replace_constants(DOOM, ("random", "held"))
    (hole,) = find_holes(far, real, game, by)  # held is within a deviation
    assert (hole["policy"], hole["real"], hole["dream"]) == ("random", -30, 5)
    assert "-30 in the real game (2.9 standard deviations of real scores)" in hole_warning(
        [hole], DOOM.score
    )


def replace_constants(game: Any, policies: tuple[str, ...]) -> Any:
    return type("Held", (type(game),), {"constant_policies": policies})(game.name)


def test_scores_above_0_alone_are_compared_by_ratio() -> None:
    above, at = lives(held=3), lives(held=0)
    assert Comparison.of([Setting(None, 1.0, above)], above, Score()) == Comparison()
    assert Comparison.of([Setting(None, 1.0, at)], lives(held=3, left=1), Score()).deviation == 1.0
    # One way to dream in which nothing is scored does not change how the others are compared.
    none, good = Setting(None, 0.1, lives(held=0, left=3)), Setting(None, 1.3, lives(held=2, left=3))
    real = lives(held=3, left=3)
    by = Comparison.of([none, good], real, Score())
    assert by == Comparison() and none.error(real, by) == math.inf
    assert choose([none, good], real, by) is good
    assert Comparison.of([none], lives(held=3, left=1), Score()).deviation == 1.0
    same = {name: Summary(-0.1, 0.0, None, 9) for name in ("a", "b", "c")}
    with pytest.raises(ValueError, match=r"every score .* is -0\.1 points"):
        Comparison.of([Setting(None, 1.0, same)], same, Score())
    words = "every score of the blind policies in the real game is 0 points, .*: give more --episodes"
    with pytest.raises(ValueError, match=words):
        Comparison.of([Setting(None, 1.0, above)], at, Score())


def test_a_constant_policy_that_lives_much_longer_is_a_hole() -> None:
    setting = Setting("sampled", 1.0, lives(held=3000, left=299, still=151))
    (hole,) = find_holes(setting, REAL, DOOM)  # left is below 1.5 times, held is not constant
    assert (hole["policy"], hole["real"], hole["dream"]) == ("still", 100, 151)
    words = hole_warning([hole], DOOM.score)
    assert "always still: a survival of 151 tics in the dream, 100 in the real game" in words
    assert "(1.5 times)" in words
    assert "Record episodes that do what these policies do" in words


def test_calibrate_measures_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vizdoom")
    world = write_random_world(tmp_path / "world")
    monkeypatch.setattr(DoomGame, "baselines", ("left", "still", "held"))
    out = tmp_path / "out"
    arguments = {"world": world, "out": out, "temperatures": [0.5, 1.0], "dreams": 16}
    calibrate(**arguments, episodes=2, workers=1)

    found = json.loads((out / "calibration.json").read_text())
    assert len(found["world"]["fingerprint"]) == 64
    settings = [(s["termination"], s["temperature"]) for s in found["dream"]]
    assert settings == [(t, tau) for t in ("sampled", "thresholded") for tau in (0.5, 1.0)]
    assert found["chosen"] in [
        {k: v for k, v in setting.items() if k != "scores"} for setting in found["dream"]
    ]
    least = min(found["dream"], key=lambda setting: setting["error"])
    assert found["chosen"]["error"] <= least["error"] + least["standard_error"]
    assert {*found["real"]} == {*found["dream"][0]["scores"]} == {"left", "still", "held"}
    assert found["real"]["left"]["n"] == 2
    assert found["dream"][0]["scores"]["left"]["n"] == 16
    assert (out / "calibration.png").read_bytes()[:4] == b"\x89PNG"
    assert "Chosen: temperature" in capsys.readouterr().out

    # What was played, in the real game or in dreams, is not played again.
    def nobody(*_: object) -> None:
        raise AssertionError("dreamt again")

    played = (out / "real" / "left.json").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(Dreams, "play_blind", nobody)
        calibrate(**arguments, episodes=2, workers=1)
    assert (out / "real" / "left.json").stat().st_mtime_ns == played
    assert json.loads((out / "calibration.json").read_text()) == found

    # What is damaged is, and the dream repeats itself.
    file = min((out / "dreams").iterdir())
    content = file.read_text()
    file.write_text(content.replace("1", "2", 1))
    capsys.readouterr()
    # Where there is no terminal, each of its works says that it goes on: the first dreams, too.
    with monkeypatch.context() as patch:
        patch.setattr("genie_env.data.progress.SECONDS_A_LINE", 0.001)
        measure = calibration.measure
        patch.setattr(calibration, "measure", lambda *given: time.sleep(0.02) or measure(*given))
        calibrate(**arguments, episodes=2, workers=1)
    said = capsys.readouterr().out
    assert said.startswith("dreaming 0/48 dreams, 0/s\n")
    assert f"{file} is damaged: its checksum is of another content; it is made again" in said
    assert (file.read_text(), json.loads((out / "calibration.json").read_text())) == (content, found)


def latent_world(directory: Path) -> Path:
    """A world of Doom whose six actions have only numbers."""
    world = write_random_world(directory)
    config = json.loads((world / "config.json").read_text())
    del config["real_game"]
    six = {"meanings": list("012345"), "inputs": [-1.0, -0.6, -0.2, 0.2, 0.6, 1.0]}
    (world / "config.json").write_text(json.dumps({**config, "actions": six, "frame_skip": 4}))
    return world


def dictionary(file: Path, codes: dict[str, int] | None) -> Path:
    """The first two latent actions mean left, two still, two right; `codes`: by the game's action."""
    entries = {str(code): {"action": code // 2, "share": None} for code in range(6)}
    told = {} if codes is None else {"codes": {a: {"code": code} for a, code in codes.items()}}
    file.write_text(json.dumps({"dictionary": entries, **told}))
    return file


class Held:
    """One action in every step."""

    def __init__(self, action: int, rows: int) -> None:
        self._actions = torch.full((rows,), action)

    def act(self, observation: torch.Tensor, step: int) -> torch.Tensor:
        return self._actions

    def keep(self, rows: torch.Tensor) -> None:
        self._actions = self._actions[rows]


def test_blind_policies_play_a_world_of_latent_actions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vizdoom")
    world = latent_world(tmp_path / "world")
    mapping = dictionary(tmp_path / "mapping.json", {"0": 4, "1": 2, "2": 5})
    monkeypatch.setattr(DoomGame, "baselines", ("left", "right"))
    arguments: dict[str, Any] = {"temperatures": [1.0], "options": {"termination": "sampled"}}
    arguments |= {"dreams": 16, "episodes": 1, "workers": 1, "game": "doom-take-cover"}
    calibrate(world, tmp_path / "out", action_map=mapping, **arguments)
    assert "in dreams 'stay' is the latent action 2" in (said := capsys.readouterr().out)
    assert "'left' is the latent action 4, which means 'right'" in said
    found = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert found["codes"] == {"0": 4, "1": 2, "2": 5}
    assert found["game"] == {"name": "doom-take-cover", "frame_skip": 4}
    (setting,) = found["dream"]
    seeds = derived_seeds(0, count=16)
    for policy, code in (("left", 4), ("right", 5)):
        held = Dreams.load(world).at(1.0).play(Held(code, 16), seeds).scores
        assert setting["scores"][policy]["mean"] == pytest.approx(held.mean())

    # The world's own dictionary, with other codes: nothing is kept from the first.
    dictionary(world / "mapping.json", {"0": 0, "1": 2, "2": 5})
    calibrate(world, tmp_path / "out", **arguments)
    (other,) = json.loads((tmp_path / "out" / "calibration.json").read_text())["dream"]
    assert other["scores"]["left"] != setting["scores"]["left"]
    assert other["scores"]["right"] == setting["scores"]["right"]


def test_dictionaries_that_do_not_say_what_policies_do_are_refused(tmp_path: Path) -> None:
    world, out = latent_world(tmp_path / "world"), tmp_path / "out"
    with pytest.raises(ValueError, match=r'has no "real_game", .* Give a world that has one'):
        calibrate(world, out)
    for codes, words in (
        (None, "mapping.json does not say which latent action stands for 'left': let `genie-env map"),
        ({"0": 1, "2": 1}, "does not say which latent action stands for 'stay'"),
        ({"0": 1, "1": 2, "2": 6}, "mapping.json has the latent action 6, but those .* are 0 to 5"),
    ):
        mapping = dictionary(tmp_path / "mapping.json", codes)
        with pytest.raises(ValueError, match=words):
            calibrate(world, out, game="doom-take-cover", action_map=mapping)
    with pytest.raises(ValueError, match=r"has 6 actions .*, but doom-take-cover has 3 actions"):
        calibrate(world, out, game="doom-take-cover")
    assert not out.exists()


@pytest.mark.parametrize("world", ["doom-genie", "without rewards"])
def test_what_cannot_be_calibrated_is_refused_before_the_real_game_is_played(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "play_real_game", lambda *_: pytest.fail("it was played"))
    directory, changes, words = (
        tmp_path / "world",
        {"reward_per_step": 0.0},
        "every survival of random, held, .* in the dream is 0 tics: the world pays nothing",
    )
    if world == "doom-genie":
        shutil.copytree(find_world(world), directory)
        changes = {"real_game": "doom-take-cover"}
        words = "has learned neither rewards nor ends: it pays none and never ends"
    else:
        write_random_world(directory)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ValueError, match=words):
        calibrate(directory, tmp_path / "out", dreams=4)
    assert not (tmp_path / "out" / "real").exists()


@pytest.mark.parametrize(
    "command", [["calibrate", "--out", "nowhere"], ["evaluate", "--policy", "held"]]
)
def test_a_world_without_a_game_is_refused_without_a_word_of_other_options(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        APP.main([*command, "--world", "doom-genie"], prog_name="genie-env")
    said = capsys.readouterr().err
    assert exit.value.code == 1 and said.count("\n") == 1
    assert 'has no "real_game"' in said and "--" not in said


def test_calibrate_plays_the_worlds_game_at_its_frame_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vizdoom")
    world = write_random_world(tmp_path / "world")
    config = json.loads((world / "config.json").read_text())
    (world / "config.json").write_text(json.dumps({**config, "frame_skip": 4}))
    monkeypatch.setattr(DoomGame, "baselines", ("left",))
    out = tmp_path / "out"
    calibrate(world, out, temperatures=[1.0], dreams=1, episodes=1, workers=1)
    played = json.loads((out / "real" / "left.json").read_text())
    assert (played["game"], played["frame_skip"]) == ("doom-take-cover", 4)
    # A single score has no interval, in the file as in the picture.
    found = json.loads((out / "calibration.json").read_text())
    assert found["real"]["left"]["ci95"] is None
    assert found["dream"][0]["scores"]["left"]["std"] is None


def test_a_world_is_loaded_once_a_termination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        pass

    loaded = []

    def load(*_: object, options: dict[str, str] = {}, **__: object) -> Dreams:
        dreams = real_load(world, options=options)
        loaded.append(dreams.options["termination"])
        return dreams

    def play(*_: object) -> None:
        raise Enough

    world, real_load = write_random_world(tmp_path / "world"), Dreams.load
    monkeypatch.setattr(calibration.Dreams, "load", load)
    monkeypatch.setattr(calibration, "play_real_game", play)
    with pytest.raises(Enough):
        calibrate(world, tmp_path / "out", temperatures=[0.5, 1.0, 1.5])
    assert sorted(loaded) == ["sampled", "thresholded"]


def test_a_choice_that_is_given_is_not_varied(tmp_path: Path) -> None:
    world = write_random_world(tmp_path / "world")
    for options, expected in WAYS:
        dreams = calibration._choices(world, options, "cpu")
        assert {each.options["termination"] for each in dreams} == expected
        assert len(dreams) == len(expected)


WAYS: list[tuple[dict[str, str], set[str]]] = [
    ({}, {"sampled", "thresholded"}),
    ({"termination": "sampled"}, {"sampled"}),
]


def test_words_of_errors(tmp_path: Path) -> None:
    world = write_random_world(tmp_path / "world")
    for tau in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=rf"temperature is {tau}; expected a number above 0"):
            calibrate(world, tmp_path / "out", temperatures=[1.0, tau])
    with pytest.raises(ValueError, match="dreams is 0; expected 1 or more"):
        calibrate(world, tmp_path / "out", dreams=0)
    assert not (tmp_path / "out").exists()
