"""Cloning from video, in a world of latent actions: what is learned of frames alone, its agent in the dream
and in the real game, the clone of recorded actions beside it, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dots import SIDE, dots_world, record_dots
from numpy.typing import NDArray
from rich.console import Console

import genie_env
from genie_env import RealEnv
from genie_env._core import EpisodeStore
from genie_env.agents.agent import load_agent
from genie_env.agents.clone import CloneSettings, train_clone
from genie_env.agents.dreams import Dreams
from genie_env.agents.policy_network import PolicyNetwork
from genie_env.agents.real_play import agent_player
from genie_env.cli.app import APP
from genie_env.cli.record import record
from genie_env.data.players import EpisodeSeeds
from genie_env.data.workers import play_episodes
from genie_env.envs.actions import DiscreteActions
from genie_env.envs.registry import find_world
from genie_env.evaluation import comparison_video
from genie_env.evaluation.dream_score import dream_scores
from genie_env.families.genie.infer_actions import infer_actions
from genie_env.games.action_map import ActionDictionary
from genie_env.games.real_game import real_game

GAME = "dots:Dots-v0"
SMALL = CloneSettings(steps=40, batch=32, learning_rate=3e-3, units=16)
EVERY_SECOND = {0: -1, 1: 0, 2: -1, 3: 0, 4: -1, 5: 0}
"""A dictionary: the game's actions are -1 and 0."""
SCRIPT = Path(__file__).parents[2] / "examples/python/clone_from_video.py"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 played episodes of a game whose actions are numbered from -1 on."""
    directory = tmp_path_factory.mktemp("recorded") / "data"
    record(GAME, directory, episodes=40, workers=1, frame_size="native", policy=["held"])
    return directory


@pytest.fixture(scope="module")
def world(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its actions are six latent ones."""
    return dots_world(tmp_path_factory.mktemp("worlds"), data)


@pytest.fixture(scope="module")
def dreams(world: Path) -> Dreams:
    return Dreams.load(world, observation="features")


def starts_and_frames(data: Path) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    return np.load(data / "episode_starts.npy"), np.load(data / "frames.npy")


def codes_of(world: Path, data: Path) -> list[NDArray[np.int64]]:
    """By episode, the code of every transition, without this package's help but the model."""
    encode, (starts, frames) = infer_actions(world).encode, starts_and_frames(data)
    episodes = [torch.from_numpy(frames[a:b]) for a, b in zip(starts, starts[1:], strict=False)]
    return [encode(each[None])[0].numpy() for each in episodes]


def seen(world: Path, frames: NDArray[np.uint8], codes: NDArray[np.int64]) -> NDArray[np.float32]:
    """What agents of the world see of T frames, between which T - 1 latent actions lead."""
    env = genie_env.make_vec(world, 1, observation="features", autoreset_mode="DISABLED")
    observed = [env.reset(seed=0, options={"frames": frames[:1]})[0]]
    for code, frame in zip(codes, frames[1:], strict=True):
        observed.append(env.follow([code], frame[None])[0])
    return np.concatenate(observed)


def learned_from(
    dreams: Dreams, data: Path, monkeypatch: pytest.MonkeyPatch, learn: Any = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The held-out observations and actions that a clone is measured by."""
    given = []

    def clone(blank: PolicyNetwork, trained: Any, unseen: Any, *_: Any) -> None:
        given.append(unseen)
        raise LookupError

    with monkeypatch.context() as patched, pytest.raises(LookupError):
        patched.setattr("genie_env.agents.clone.clone", clone)
        train_clone(dreams, [data], SMALL, learn=learn)
    return given[0].observations.numpy(), given[0].actions


def test_a_clone_learns_the_codes_of_the_frames(
    dreams: Dreams, world: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, (starts, frames) = codes_of(world, data), starts_and_frames(data)
    observed, taken = learned_from(dreams, data, monkeypatch)
    expected = [  # every 20th episode, without its last step, whose code no frame tells
        seen(world, frames[starts[e] : starts[e + 1]], codes[e])[:-1] for e in (19, 39)
    ]
    assert taken.tolist() == [*codes[19], *codes[39]]
    np.testing.assert_array_equal(observed, np.concatenate(expected))
    agent = train_clone(dreams, [data], SMALL)
    assert agent.actions == dreams.actions and agent.notes["learned_actions"] == "latent"
    assert float(agent.notes["agreement"]) >= float(agent.notes["commonest_agreement"])


def test_the_clone_of_recorded_actions_sees_the_same(
    dreams: Dreams, world: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, recorded = codes_of(world, data), np.load(data / "actions.npy")
    starts = np.load(data / "episode_starts.npy")
    by_episode = [recorded[a : b - 1] for a, b in zip(starts, starts[1:], strict=False)]
    observed, _ = learned_from(dreams, data, monkeypatch)
    same, taken = learned_from(dreams, data, monkeypatch, "recorded")
    np.testing.assert_array_equal(observed, same)
    assert taken.tolist() == [*by_episode[19], *by_episode[39]]
    agent = train_clone(dreams, [data], SMALL, learn="recorded")
    trained = [e for e in range(40) if e % 20 != 19]
    pairs = Counter(
        (action, code)
        for e in trained
        for action, code in zip(by_episode[e].tolist(), codes[e].tolist(), strict=True)
    )
    overall = Counter(code for e in trained for code in codes[e].tolist())
    expected = {
        action: min(range(6), key=lambda code: (-pairs[action, code], -overall[code], code))
        for action in (-1, 0)
    }
    assert agent.codes == expected and agent.actions.start == -1


def test_recorded_actions_are_not_read(dreams: Dreams, data: Path, tmp_path: Path) -> None:
    hidden = shutil.copytree(data, tmp_path / "hidden")
    np.save(hidden / "actions.npy", -1 - np.load(data / "actions.npy"))
    video = shutil.copytree(data, tmp_path / "video")  # as a decoded video, whose file says so
    meta = json.loads((video / "meta.json").read_text())
    (video / "meta.json").write_text(json.dumps({**meta, "actions": None}))
    one, *others = (train_clone(dreams, [each], SMALL).weights for each in (data, hidden, video))
    for other in others:
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_was_followed_is_kept(
    dreams: Dreams, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    expected = train_clone(dreams, [data], SMALL).weights
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    follow, calls = genie_env.agents.demonstrations.follow, []

    def second_is_stopped(*given: Any) -> Any:
        calls.append(len(calls))
        return stopped() if len(calls) == 2 else follow(*given)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("genie_env.agents.demonstrations.follow", second_is_stopped)
        train_clone(dreams, [data], SMALL)
    with monkeypatch.context() as patched:
        patched.setattr("genie_env.agents.demonstrations.follow", second_is_stopped)
        again = train_clone(dreams, [data], SMALL).weights
    assert len(calls) == 2 + 3, "of three batches and one held out, the first is not followed again"
    monkeypatch.setattr("genie_env.agents.demonstrations.follow", stopped)
    train_clone(
        dreams, [data], SMALL, learn="recorded"
    )  # sees the same, so that nothing is followed
    assert all(torch.equal(expected[name], again[name]) for name in again)


def played(player: Any, episodes: int = 3) -> list[tuple[list[int], float]]:
    """The game's actions, and the score, of some episodes."""
    return [(e.actions.tolist(), e.score) for e in play_episodes(player, range(episodes), 1)]


@pytest.mark.parametrize("knows_before", [False, True])
def test_its_agent_dreams_and_plays_by_a_dictionary(
    dreams: Dreams, world: Path, data: Path, tmp_path: Path, knows_before: bool
) -> None:
    given: Any = EVERY_SECOND
    told: dict[str, Any] = {str(k): v for k, v in EVERY_SECOND.items()}
    others = {code: -1 - action for code, action in EVERY_SECOND.items()}
    if knows_before:  # after action 0, every code is the other action
        given = ActionDictionary(EVERY_SECOND, {-1: EVERY_SECOND, 0: others})
        by_text = {str(k): v for k, v in others.items()}
        told = {**told, "after": {"-1": told, "0": by_text}}
    train_clone(dreams, [data], SMALL, out=tmp_path)
    agent = load_agent(tmp_path / "agent.safetensors")
    assert len(dream_scores(dreams, tmp_path / "agent.safetensors", seed=0, episodes=4)["scores"])
    player = agent_player(
        world, tmp_path / "agent.safetensors", 7, game=GAME, action_map=given
    )
    player = replace(player, lanes=2)  # which are played in more than once
    assert player.describe()["action_map"] == told
    env = RealEnv(world, game=GAME, action_map=given, observation="features")
    for index, (taken, score) in enumerate(played(player, 5)):
        observation, _ = env.reset(seed=EpisodeSeeds.of(7, index).game)
        actions: list[int] = []
        paid, done = 0.0, False
        while not done:
            code = int(agent.act(torch.from_numpy(observation)[None])[0])
            observation, reward, terminated, truncated, _ = env.step(code)
            means = others if knows_before and actions[-1:] == [0] else EVERY_SECOND
            actions.append(means[code])
            paid, done = paid + reward, terminated or truncated
        assert (taken, score) == (actions, paid)


def test_a_film_names_the_actions_of_either_side(
    dreams: Dreams, world: Path, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In reality the game's, and the latent ones in the dream."""
    train_clone(dreams, [data], SMALL, out=tmp_path)
    file, shown = tmp_path / "agent.safetensors", []
    player = agent_player(world, file, 7, game=GAME, action_map=EVERY_SECOND)
    (episode,) = play_episodes(replace(player, keep_frames=True), range(1), 1)
    strip = comparison_video.action_strip

    def noted(actions: Any, action: Any, width: int) -> Any:
        shown.append((actions, None if action is None else int(action)))
        return strip(actions, action, width)

    monkeypatch.setattr(comparison_video, "action_strip", noted)
    monkeypatch.setattr(comparison_video, "write_video", lambda _, pictures, __: list(pictures))
    agent, film = load_agent(file), tmp_path / "film.mp4"
    comparison_video.film_side_by_side(
        dreams, agent, player.game, episode, 1, film, 0, Console(quiet=True)
    )
    reality = [action for actions, action in shown[::2] if action is not None]
    assert reality == episode.actions.tolist()
    assert {actions for actions, _ in shown[::2]} == {player.game.actions}
    assert {actions for actions, _ in shown[1::2]} == {dreams.actions}


def test_the_clone_of_recorded_actions_plays_the_game_alone(
    dreams: Dreams, world: Path, data: Path, tmp_path: Path
) -> None:
    train_clone(dreams, [data], SMALL, learn="recorded", out=tmp_path)
    file = tmp_path / "agent.safetensors"
    agent = load_agent(file)
    player = agent_player(world, file, 7, game=GAME)
    game = real_game(find_world(str(world)), GAME).make()
    env = genie_env.make_vec(world, 1, observation="features", autoreset_mode="DISABLED")
    assert agent.codes is not None
    for index, (taken, _) in enumerate(played(player)):
        frame, _ = game.reset(seed=EpisodeSeeds.of(7, index).game)
        observation, _ = env.reset(seed=0, options={"frames": frame[None]})
        for action in taken:
            assert action == int(agent.act(torch.from_numpy(observation))[0])
            frame = game.step(action)[0]
            observation = env.follow([agent.codes[action]], frame[None])[0]
    words = (
        r"the agent was cloned from recorded actions, 2 actions from -1 \(-1, 0\), but those of the "
        r"world \w+ are latent: it plays the real game alone \(`genie-env evaluate`\)"
    )
    with pytest.raises(ValueError, match=words):
        dreams.play_agent(agent, [1])
    with pytest.raises(ValueError, match=words):
        dream_scores(dreams, file, seed=0, episodes=4)
    with pytest.raises(ValueError, match="need no dictionary: leave out the action map"):
        agent_player(world, file, 7, game=GAME, action_map=EVERY_SECOND)
    assert isinstance(agent, PolicyNetwork)
    others = DiscreteActions(("up", "down"))
    for changes, said in (
        ({"notes": {**agent.notes, "codes": "[1]"}}, 'has the "codes" .*, expected a latent'),
        ({"notes": {**agent.notes, "codes": "[1, 02, 3]"}}, 'has the "codes" .*, expected a latent'),
        ({"notes": {**agent.notes, "codes": "[1, 9]"}}, "with the latent action 9, but the world"),
        ({"actions": others}, r"recordings with 2 actions \(up, down\), but dots:Dots-v0 has 2"),
    ):
        replace(agent, **changes).save(tmp_path / "wrong.safetensors")
        with pytest.raises(ValueError, match=said):
            agent_player(world, tmp_path / "wrong.safetensors", 7, game=GAME)


def test_what_cannot_be_cloned_is_refused_at_the_start(
    dreams: Dreams, random_world: Path, data: Path, tmp_path: Path
) -> None:
    def refused(words: str, given: Dreams, recording: Path, learn: Any) -> None:
        with pytest.raises(ValueError, match=words) as error:
            train_clone(given, [recording], SMALL, learn=learn, out=tmp_path / "run")
        assert "\n" not in str(error.value) and not (tmp_path / "run").exists()

    recorded = Dreams.load(random_world)
    refused(
        "the world random are recorded ones, 3 actions .*: leave out --act",
        recorded,
        data,
        "latent",
    )
    once = record_dots(tmp_path / "once", actions=1, game=GAME)
    missing = "the recordings never have the action 'right' in the episodes that are trained on"
    refused(missing, dreams, once, "recorded")
    large = record_dots(tmp_path / "large", side=2 * SIDE, game=GAME)
    refused("frames of 32 x 32, but those of the world .* are 16 x 16", dreams, large, None)
    slow = record_dots(tmp_path / "slow", frame_skip=4, game=GAME)
    refused(r'"frame_skip" is 4, but a step of the world .* stands for 1', dreams, slow, "recorded")
    video = record_dots(tmp_path / "video", finals=False)
    meta = json.loads((video / "meta.json").read_text())
    (video / "meta.json").write_text(json.dumps({**meta, "actions": None}))
    refused("has no actions, as it was decoded from video files", dreams, video, "recorded")
    other = record_dots(tmp_path / "other", game="another")  # beside a video, which names no game
    with pytest.raises(ValueError, match="the recordings are of another, but the game of the wor"):
        train_clone(dreams, [video, other], SMALL, out=tmp_path / "run")
    bare = shutil.copytree(dreams.world.directory, tmp_path / "bare")
    shutil.rmtree(bare / "latent-actions")
    refused(
        "has no latent-actions/ that infers them",
        Dreams.load(bare, observation="features"),
        data,
        None,
    )


def test_what_cannot_be_played_is_refused_and_nothing_is_lost(
    dreams: Dreams, world: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_clone(dreams, [data], SMALL, out=tmp_path / "run")
    agent, mapping = tmp_path / "run" / "agent.safetensors", tmp_path / "mapping.json"
    entries = {str(code): {"action": action} for code, action in EVERY_SECOND.items()}
    scores = tmp_path / "scores.json"

    def run(words: str, code: int) -> str:
        line = f"evaluate --world {world} --agent {agent} --episodes 2 --workers 1 --json {scores} {words}"
        with pytest.raises(SystemExit) as ended:
            APP.main(line.split(), prog_name="genie-env")
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.err
        return said.out + said.err

    def write(**more: Any) -> None:
        mapping.write_text(json.dumps({"dictionary": entries, **more}))

    write()
    assert "wrote" in run(f"--game {GAME} --action-map {mapping}", 0)
    kept = scores.read_text()
    assert len(json.loads(kept)["scores"]) == 2
    plain = f"--game {GAME}"
    for words, change, said in (
        (plain, {}, r"has 6 actions .*, but dots:Dots-v0 has .*: give action_map=, the game"),
        (
            f"{plain} --action-map {mapping}",
            {"weights": "feed"},
            "is of the latent actions feed, but",
        ),
        (
            f"{plain} --action-map {mapping}",
            {"dictionary": {}},
            "has actions for none, but those of",
        ),
        (
            f"--game CartPole-v1 --action-map {mapping}",
            {},
            r"agents see CartPole-v1 through|of 0: action",
        ),
        (
            f"{plain} --action-map {mapping}",
            {"dictionary": {**entries, "0": {"action": 0}}},
            r"holds other scores \(action_map was .*; give the same arguments to go on",
        ),
    ):
        write(**change)
        assert re.search(said, run(words, 1)), words
        assert scores.read_text() == kept
    strange = replace(load_agent(agent), world="cd" * 32)  # type: ignore[type-var]
    strange.save(agent)
    write()
    assert "trained in the world cdcdcdcdcdcd, but" in run(f"{plain} --action-map {mapping}", 1)
    assert scores.read_text() == kept


def test_a_dictionary_belongs_to_an_agent(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        APP.main("evaluate --policy random --action-map a.json".split(), prog_name="genie-env")
    assert "--action-map says what an agent's latent actions are" in capsys.readouterr().err


def test_a_world_plays_its_game_as_it_was_recorded() -> None:
    played = real_game(find_world("doom-genie"), "doom-take-cover")
    assert (played.frame_skip, played.env_args) == (4, {"view_bob": False})
    assert real_game(find_world("doom-take-cover")).env_args == {}


def test_few_labels(dreams: Dreams, world: Path, data: Path, tmp_path: Path) -> None:
    """The script: every draw of the labels, counted by hand, and a second run that plays nothing."""
    for name, learn in (("latent", None), ("recorded", "recorded")):
        train_clone(dreams, [data], SMALL, learn=learn, out=tmp_path / name)  # type: ignore[arg-type]
    main = runpy.run_path(str(SCRIPT))["main"]
    line = (
        f"--world {world} --game {GAME} --data {data} --agent {tmp_path}/latent/agent.safetensors "
        f"--recorded {tmp_path}/recorded/agent.safetensors --out {tmp_path}/out --labels 3 100 "
        "--draws 4 --episodes 5 --workers 1"
    ).split()
    found = main(line)
    starts, recorded = np.load(data / "episode_starts.npy"), np.load(data / "actions.npy")
    known: list[tuple[int, int, int | None]] = []
    for episode, codes in enumerate(codes_of(world, data)):
        taken = recorded[starts[episode] :].tolist()
        if episode % 20 != 19:
            known += zip(map(int, codes), taken, [None, *taken], strict=False)

    def by_hand(number: int, draw: int) -> str:
        order = np.random.Generator(np.random.Philox(key=[0, draw])).permutation(len(known))
        told = [known[place] for place in order[:number]]
        overall = Counter(action for _, action, _ in told)
        alone = []
        for code in range(6):
            here = Counter(action for c, action, _ in told if c == code) or overall
            alone.append(min(here, key=lambda a: (-here[a], -overall[a], a)))
        parts = [alone]
        for before in (-1, 0):
            parts.append([])
            for code in range(6):
                here = [action for c, action, b in told if (c, b) == (code, before)]
                every = [action for c, action, _ in told if c == code]
                worth = {a: here.count(a) + 2 * every.count(a) / max(len(every), 1) for a in (-1, 0)}
                worth[alone[code]] += 1e-6
                parts[-1].append(max(worth, key=lambda a: worth[a]))
        by_code = [{str(code): action for code, action in enumerate(part)} for part in parts]
        content = {**by_code[0], "after": {"-1": by_code[1], "0": by_code[2]}}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"dictionary-{digest[:12]}"

    for number in (3, 100):
        each = found["labels"][str(number)]
        assert each["dictionaries"] == Counter(by_hand(number, draw) for draw in range(4))
        assert each["ci95"][0] <= each["mean"] <= each["ci95"][1]
    assert found["recorded"]["n"] == found["random"]["n"] == 5 and found["player"]["n"] == 40
    assert found["player"]["mean"] == np.load(data / "rewards.npy").sum() / 40
    for name in ("few-labels.json", "few-labels.png", "random.json", "recorded.json"):
        assert (tmp_path / "out" / name).stat().st_size
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("d*.json")}
    assert main(line) == found
    assert before == {file: file.stat().st_mtime_ns for file in before}
    with pytest.raises(ValueError, match="1,000,000 labelled transitions were asked for"):
        main([*line, "--labels", "1000000"])
