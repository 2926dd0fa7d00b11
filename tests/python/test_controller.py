"""The linear controller, its file, and the evolution strategy that improves it."""

import json
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cma  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from genie_env._core import World
from genie_env.agents.agent import file_hash, load_agent
from genie_env.agents.controller import FIRST_ACTIONS, LinearController, outputs, steer
from genie_env.agents.dreams import Dreams, EpisodeResults, derived_seeds
from genie_env.agents.evolution import ControllerSettings, Generation, evolve, train_controller
from genie_env.agents.training_progress import describe
from genie_env.cli.options import parse_steps
from genie_env.envs.actions import BoxActions, DiscreteActions
from genie_env.games.base import Score

FINGERPRINT = "ab" * 32
FEATURES = {"zch": 20, "zh": 12}


def controller(size: int = 20) -> LinearController:
    weight = np.linspace(-1, 1, size, dtype=np.float32)
    return LinearController(weight, "zch", FINGERPRINT, {"temperature": "1.15"})


def test_steering_is_the_papers() -> None:
    # Of one feature and weight 1 the action is that of tanh(x): thirds are at atanh(1/3) = 0.3466.
    observation = torch.tensor([[-9.0], [-0.35], [-0.34], [0.0], [0.34], [0.35], [9.0]])
    assert steer(FIRST_ACTIONS, torch.ones(1), observation).tolist() == [0, 0, 1, 1, 1, 2, 2]


def test_a_population_steers_every_row_by_its_own_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 20, generator=generator) / 6
    observation = torch.randn(8, 20, generator=generator)
    together = steer(FIRST_ACTIONS, weight, observation)
    alone = [int(steer(FIRST_ACTIONS, weight[i], observation[i : i + 1])) for i in range(8)]
    assert together.tolist() == alone
    assert set(alone) == {0, 1, 2}


def test_two_actions_are_chosen_by_the_sign() -> None:
    actions = DiscreteActions(("west", "east"), start=4)
    observation = torch.tensor([[-9.0], [-0.01], [0.01], [9.0]])
    assert outputs(actions) == 1
    assert steer(actions, torch.ones(1), observation).tolist() == [4, 4, 5, 5]
    assert steer(DiscreteActions(("wait",)), torch.ones(1), observation).tolist() == [0] * 4


def test_many_actions_have_an_output_each() -> None:
    actions = DiscreteActions(tuple("abcde"), start=-1)
    assert outputs(actions) == 5
    assert steer(actions, torch.eye(5), torch.eye(5)[[3, 0, 4]]).tolist() == [2, -1, 3]
    weights = torch.eye(5).expand(2, 5, 5).clone()
    weights[1] = weights[1].flip(0)
    assert steer(actions, weights, torch.eye(5)[[3, 3]]).tolist() == [2, 0]


def test_continuous_actions_fill_their_box() -> None:
    actions = BoxActions((2,), (-1.0, 0.0), (1.0, 3.0))
    taken = steer(actions, torch.eye(2), torch.tensor([[0.0, 0.0], [99.0, -99.0], [-0.5, 0.5]]))
    expected = [[0, 1.5], [1, 0], [np.tanh(-0.5), 1.5 * (1 + np.tanh(0.5))]]
    np.testing.assert_allclose(taken.numpy(), np.array(expected), rtol=1e-6, atol=1e-6)


def test_acts_on_rows() -> None:
    actions = controller().act(torch.eye(20))
    assert actions.dtype == torch.int64
    weight = torch.from_numpy(controller().weight)
    assert actions.tolist() == steer(FIRST_ACTIONS, weight, torch.eye(20)).tolist()
    with pytest.raises(ValueError, match=re.escape("shape (3, 12)") + r".*reads \[N, 20\] \(zch\)"):
        controller().act(torch.zeros(3, 12))


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / "new" / "agent.safetensors"
    controller().save(file)
    loaded = load_agent(file)
    assert isinstance(loaded, LinearController) and loaded.actions == FIRST_ACTIONS
    np.testing.assert_array_equal(loaded.weight, controller().weight)
    assert (loaded.observation, loaded.world) == ("zch", FINGERPRINT)
    assert loaded.notes == {"temperature": "1.15"}
    assert [f.name for f in file.parent.iterdir()] == ["agent.safetensors"]
    assert len(file_hash(file)) == 64


def test_equal_agents_are_equal_files(tmp_path: Path) -> None:
    """So that the hash of a published one can be reproduced."""
    files = [tmp_path / f"{number}.safetensors" for number in range(8)]
    for file in files:
        controller().save(file)
    assert len({file_hash(file) for file in files}) == 1


GOOD = {"kind": "linear-controller", "observation": "zch", "world": FINGERPRINT}
WEIGHT = np.zeros(20, np.float32)
FIVE = json.dumps(DiscreteActions(tuple("abcde")).as_json())


@pytest.mark.parametrize(
    ("tensors", "metadata", "words"),
    [
        ({"weight": WEIGHT}, {**GOOD, "kind": "tree"}, '"kind": \'tree\'; expected \'linear-contr'),
        ({"weight": WEIGHT}, None, 'no "kind" in its metadata'),
        ({"weight": WEIGHT}, {"kind": "linear-controller"}, 'no "observation" in its metadata'),
        ({"bias": WEIGHT}, GOOD, "holds the tensors ['bias']; the file of a controller holds one"),
        ({"weight": WEIGHT, "bias": WEIGHT}, GOOD, "the file of a controller holds one"),
        ({"weight": WEIGHT.astype(np.float64)}, GOOD, '"weight" is torch.float64, expected float32'),
        ({"weight": WEIGHT[None]}, GOOD, '"weight" is [1, 20], expected [\'F\'] for 3 actions'),
        ({"weight": WEIGHT + np.nan}, GOOD, '"weight" holds NaN or infinity'),
        ({"weight": WEIGHT}, {**GOOD, "actions": "[]"}, '"actions" is []; expected {"type"'),
        ({"weight": WEIGHT}, {**GOOD, "actions": FIVE}, "is [20], expected [5, 'F'] for 5 actions"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(
    tmp_path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None, words: str
) -> None:
    file = tmp_path / "agent.safetensors"
    save_file(tensors, file, metadata)
    with pytest.raises(ValueError, match=re.escape(str(file)) + ".*" + re.escape(words)):
        load_agent(file)


def test_a_file_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing.safetensors does not exist: give the file that"):
        load_agent(tmp_path / "nothing.safetensors")
    torn = tmp_path / "torn.safetensors"
    controller().save(torn)
    torn.write_bytes(torn.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"torn\.safetensors is not a readable safetensors file"):
        load_agent(torn)


def test_a_controller_of_another_world_is_refused() -> None:
    def world(**more: Any) -> Any:
        kinds = {"zch": [20], "zh": [12]}
        spec = {
            "name": "here",
            "fingerprint": FINGERPRINT,
            "observations": [SimpleNamespace(name=n, shape=s) for n, s in kinds.items()],
            "actions": SimpleNamespace(shape=None, meanings=["left", "stay", "right"], start=0),
        }
        return SimpleNamespace(spec=SimpleNamespace(**{**spec, **more}))

    controller().check_world(world())
    with pytest.raises(ValueError, match="trained in the world abababababab, but the world given"):
        controller().check_world(world(fingerprint="cd" * 32))
    with pytest.raises(ValueError, match=r"has 19 weights, but 'zch' has the shape \[20\]"):
        controller(19).check_world(world())
    with pytest.raises(ValueError, match="reads 'zch', but the world offers only tokens"):
        tokens = SimpleNamespace(name="tokens", shape=[20])
        controller().check_fits(world(observations=[tokens]).spec)
    with pytest.raises(ValueError, match=r"chooses among 3 actions .*, but the world here has act"):
        steered = SimpleNamespace(shape=[1], low=[-1.0], high=[1.0], meanings=[], start=0)
        controller().check_fits(world(actions=steered).spec)


# The evolution strategy. Its arena is a hill, whose top CMA-ES has to find through noise.

TOP = np.random.default_rng(0).standard_normal(20).astype(np.float32)
ZERO = LinearController(np.zeros(20, np.float32), "zch", FINGERPRINT)


def hill(weights: np.ndarray, owners: np.ndarray, seeds: list[int]) -> EpisodeResults:
    """1000 at the top; an episode's seed adds its luck, equal for all candidates."""
    luck = np.array([seed % 101 - 50 for seed in seeds])
    scores = 1000 - 10 * ((weights - TOP) ** 2).sum(axis=1)[owners] + luck
    return EpisodeResults(scores.astype(np.float32), 10 * len(seeds))


SETTINGS = ControllerSettings(steps=100_000, population=12, dreams=4, seed=3)


def curve(generations: list[Generation]) -> list[tuple[object, ...]]:
    """All that a run is, but for the clock."""
    return [
        (g.index, g.steps, g.mean, g.best, g.sigma, g.score, g.controller.weight.tobytes())
        for g in generations
    ]


@pytest.fixture(scope="module")
def unbroken() -> list[Generation]:
    return list(evolve(hill, ZERO, SETTINGS))


def test_evolution_climbs(unbroken: list[Generation]) -> None:
    first, last = unbroken[0], unbroken[-1]
    # The first score is that of the weights it starts from, so even a short run leaves something.
    assert first.score == pytest.approx(1000 - 10 * (TOP**2).sum(), abs=15)
    assert last.best_score == pytest.approx(1000, abs=20)
    assert np.abs(last.controller.weight - TOP).max() < 0.5


def test_where_lower_is_better_it_descends(unbroken: list[Generation]) -> None:
    """The same controllers, by scores of the other sign."""

    def valley(weights: np.ndarray, owners: np.ndarray, seeds: list[int]) -> EpisodeResults:
        results = hill(weights, owners, seeds)
        return EpisodeResults(-results.scores, results.steps)

    lower = list(evolve(valley, ZERO, SETTINGS, higher_is_better=False))
    assert [(g.best, g.best_score) for g in lower] == [
        (None if g.best is None else -g.best, -g.best_score) for g in unbroken
    ]
    assert np.array_equal(lower[-1].controller.weight, unbroken[-1].controller.weight)


def test_the_mean_is_scored_now_and_then_and_at_the_end(unbroken: list[Generation]) -> None:
    scored = [g.index for g in unbroken if g.score is not None]
    assert scored[:3] == [0, 5, 10]
    assert scored[-1] == unbroken[-1].index
    # The last generation has no candidates, and does not repeat what those before it lived.
    last = unbroken[-1]
    assert (last.mean, last.best) == (None, None)
    assert describe(last, Score()).startswith(f"final score {last.score:,.0f}, controller ")
    assert describe(unbroken[-2], Score()).startswith(f"score mean {unbroken[-2].mean:,.0f}, best ")
    # The best by score, not the luckiest candidate.
    scores = [g.score for g in unbroken if g.score is not None]
    assert unbroken[-1].best_score == max(scores)
    assert unbroken[-1].controller.notes["score"] == f"{max(scores):.1f}"


def test_candidates_share_dreams_and_generations_do_not() -> None:
    seen = []

    def watched(weights: np.ndarray, owners: np.ndarray, seeds: list[int]) -> EpisodeResults:
        seen.append((owners, seeds))
        return hill(weights, owners, seeds)

    runs = evolve(watched, ZERO, SETTINGS)
    for _ in range(2):
        next(runs)
    (owners, seeds), (_, later) = seen
    shares = [[s for s, o in zip(seeds, owners, strict=True) if o == k] for k in range(13)]
    assert all(share == shares[0] for share in shares[:12])
    assert len(shares[12]) == 256  # the mean's own, all fresh
    assert not {*shares[0]} & {*shares[12]}
    assert not {*seeds} & {*later}


def test_a_seed_gives_one_run_whatever_numpy_drew(unbroken: list[Generation]) -> None:
    np.random.seed(99)
    before = np.random.get_state()[1].copy()
    assert curve(list(evolve(hill, ZERO, SETTINGS))) == curve(unbroken)
    assert (np.random.get_state()[1] == before).all()
    other = ControllerSettings(steps=5_000, population=12, dreams=4, seed=4)
    assert next(evolve(hill, ZERO, other)).mean != unbroken[0].mean


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, unbroken: list[Generation]
) -> None:
    runs = evolve(hill, ZERO, SETTINGS, tmp_path)
    for _ in range(7):
        next(runs)
    runs.close()
    log = tmp_path / "generations.jsonl"
    assert len(log.read_text().splitlines()) == 7
    log.write_text(log.read_text() + '{"generation": 7, "cand')  # killed while it wrote
    resumed = list(evolve(hill, ZERO, SETTINGS, tmp_path))
    assert curve(resumed) == curve(unbroken)
    assert len(log.read_text().splitlines()) == len(unbroken)
    kept = load_agent(tmp_path / "agent.safetensors")
    np.testing.assert_array_equal(kept.weight, unbroken[-1].controller.weight)


def test_ctrl_c_keeps_every_finished_generation(
    tmp_path: Path, unbroken: list[Generation]
) -> None:
    calls = 0

    def interrupted(weights: np.ndarray, owners: np.ndarray, seeds: list[int]) -> EpisodeResults:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return hill(weights, owners, seeds)

    with pytest.raises(KeyboardInterrupt):
        list(evolve(interrupted, ZERO, SETTINGS, tmp_path))
    assert (tmp_path / "agent.safetensors").exists()
    assert curve(list(evolve(hill, ZERO, SETTINGS, tmp_path))) == curve(unbroken)


def test_a_finished_run_is_replayed_without_playing(
    tmp_path: Path, unbroken: list[Generation]
) -> None:
    list(evolve(hill, ZERO, SETTINGS, tmp_path))

    def nobody(weights: np.ndarray, owners: np.ndarray, seeds: list[int]) -> EpisodeResults:
        raise AssertionError("played again")

    assert curve(list(evolve(nobody, ZERO, SETTINGS, tmp_path))) == curve(unbroken)


def test_a_finished_run_can_be_given_more_steps(tmp_path: Path, unbroken: list[Generation]) -> None:
    short = ControllerSettings(steps=10_000, population=12, dreams=4, seed=3)
    list(evolve(hill, ZERO, short, tmp_path))
    longer = list(evolve(hill, ZERO, SETTINGS, tmp_path))
    assert longer[-1].steps >= SETTINGS.steps
    # The short run's last score stays in the log; the climb itself is the same.
    climb, again = ({g.index: g.mean for g in run[:-1]} for run in (unbroken, longer))
    assert all(climb[index] == mean for index, mean in again.items())
    assert len(again) > len(climb) / 2


def test_the_strategys_own_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many weights it is as long as the dreams."""
    plain = cma.CMAEvolutionStrategy.tell

    def slowly(self: Any, *given: Any) -> None:
        time.sleep(0.05)
        plain(self, *given)

    monkeypatch.setattr(cma.CMAEvolutionStrategy, "tell", slowly)
    runs = evolve(hill, ZERO, SETTINGS)
    seconds = [next(runs).seconds for _ in range(3)]
    assert np.diff(seconds).min() >= 0.05


def test_minutes_end_a_run() -> None:
    settings = ControllerSettings(steps=10**12, minutes=1e-9, population=12, dreams=4)
    first, last = evolve(hill, ZERO, settings)
    assert (first.index, last.index) == (0, 1)
    assert last.score is not None


def test_a_log_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "generations.jsonl").write_text("generation 0\n")
    with pytest.raises(ValueError, match=r"generations\.jsonl, line 1 is not JSON"):
        next(evolve(hill, ZERO, SETTINGS, tmp_path))


GENERATION = {"generation": 0, "steps": 5, "seconds": 0.5, "candidates": [1.0] * 12, "score": 2.0}
SECOND = GENERATION | {"generation": 1, "score": None}
SCORED = GENERATION | {"generation": 1, "candidates": []}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([GENERATION, GENERATION], "line 2 is of generation 0, expected 1: several trainings have"),
        ([SECOND], "line 1 is of generation 1, expected 0: several trainings have written"),
        ([GENERATION, SCORED, SCORED], "line 3 is of generation 1, expected 1: several trainings"),
        ([GENERATION | {"candidates": [1.0]}], "line 1 has 1 candidates, 5 steps and 0.5 seconds"),
        ([GENERATION | {"seconds": 0}], "line 1 has 12 candidates, 5 steps and 0 seconds"),
        ([GENERATION, SCORED | {"score": None}], "line 2 has neither candidates nor a score"),
        ([GENERATION, {}], 'line 2: "generation" is missing, expected an integer'),
        ([GENERATION, 5], "line 2 holds 5, but a JSON object is expected"),
    ],
)
def test_a_log_that_is_not_of_one_run_is_refused(
    lines: list[object], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "generations.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in [GENERATION, SCORED, SECOND]))
    assert next(evolve(hill, ZERO, SETTINGS, tmp_path)).index == 0
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match=re.escape(f"{file}, {words}")):
        next(evolve(hill, ZERO, SETTINGS, tmp_path))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps is 0; expected 1 or more"),
        ({"population": 3}, "population is 3; expected 4 or more"),
        ({"dreams": 0}, "dreams is 0; expected 1 or more"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"sigma": 0.0}, "sigma is 0.0; expected a number above 0"),
        ({"minutes": float("nan")}, "minutes is nan; expected a number above 0"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        next(evolve(hill, ZERO, ControllerSettings(**settings)))  # type: ignore[arg-type]


def test_a_run_is_not_resumed_with_another_precision(tmp_path: Path, random_world: Path) -> None:
    """Which a processor chooses, where nobody else does."""
    settings = ControllerSettings(steps=1, population=4, dreams=1)

    def dreams(dtype: str) -> Dreams:
        return Dreams(World.load(random_world, dtype=dtype), 1.0, "zch")

    list(train_controller(dreams("float32"), settings, out=tmp_path))
    list(train_controller(dreams("float32"), settings, out=tmp_path))
    with pytest.raises(ValueError, match="dtype was 'float32' and is now 'bfloat16'"):
        next(train_controller(dreams("bfloat16"), settings, out=tmp_path))


def test_steps_are_numbers_with_a_unit() -> None:
    assert [parse_steps(t) for t in ("1000", "500k", "2.5M")] == [1_000, 500_000, 2_500_000]
    for text in ("", "many", "4G", "M", "inf", "1e999M", "nan"):
        with pytest.raises(ValueError, match=rf"steps is '{text}'; expected a number such as"):
            parse_steps(text)


def test_derived_seeds_differ_by_path_and_by_its_length() -> None:
    paths = [(), (0,), (1,), (0, 0), (0, 1), (0, 0, 0)]
    seeds = [seed for path in paths for seed in derived_seeds(5, *path, count=4)]
    assert len({*seeds}) == len(seeds)
    assert derived_seeds(5, 1, count=8)[:4] == derived_seeds(5, 1, count=4)
