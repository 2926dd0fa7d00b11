"""Whole episodes in the dream: many in one batch, those that have ended dropped from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import StartBank, VecEnv, World
from genie_env.agents.agent import Agent
from genie_env.agents.controller import steer
from genie_env.agents.decisions import Decisions
from genie_env.data.midway import Midway
from genie_env.envs.actions import Actions, actions_of_world
from genie_env.envs.infos import as_numpy
from genie_env.envs.load_world import load_world
from genie_env.envs.options import EnvOptions, FamilyValue, StepFunction
from genie_env.envs.step_functions import core_function, name_of, source_of
from genie_env.envs.validation import check_temperature
from genie_env.games.base import Game, Score
from genie_env.games.real_game import score_of

DROP_AT = 1 / 8
"""Ended rows leave the batch when they are this fraction of it: dropping copies the others."""

OnStep = Callable[[int, int], None]
"""Called after every step with the number of steps so far and of rows still alive."""


class Policy(Protocol):
    """Chooses the actions of N rows at once, for the length of one episode."""

    def act(self, observation: torch.Tensor, step: int) -> torch.Tensor:
        """Actions of N rows on observation [N, ...], `step` steps after the episodes began."""

    def keep(self, rows: torch.Tensor) -> None:
        """Goes on with the given rows (int64 [R]) alone, in that order."""


class Controllers:
    """Linear controllers, each acting in rows of its own: a population in one batch."""

    def __init__(self, actions: Actions, weights: torch.Tensor, owners: torch.Tensor) -> None:
        """`weights`: float32 [P, ...], see `steer`; `owners`: int64 [N], the controller of every
        row."""
        self._actions, self._weight = actions, weights[owners]

    def act(self, observation: torch.Tensor, step: int) -> torch.Tensor:
        return steer(self._actions, self._weight, observation)

    def keep(self, rows: torch.Tensor) -> None:
        self._weight = self._weight[rows]


class BlindPolicies:
    """Blind policies of a game, one and a seed for every row: their actions are fixed, and drawn in
    pieces that double, as episodes may be of any length."""

    def __init__(
        self,
        game: Game,
        rows: Sequence[tuple[str, int]],
        device: torch.device,
        codes: Mapping[int, int] | None = None,
    ) -> None:
        """`codes`: the world's action that stands for each of the game's; None: the same."""
        self._game, self._rows, self._device, self._codes = game, list(rows), device, codes
        self._actions = torch.zeros(len(self._rows), 0, device=device)

    def act(self, observation: torch.Tensor, step: int) -> torch.Tensor:
        if step >= self._actions.shape[1]:
            drawn = [self._game.blind_actions(*row, max(256, 2 * step)) for row in self._rows]
            actions = np.stack(drawn)
            if self._codes is not None:
                known, which = np.unique(actions, return_inverse=True)
                codes = np.array([self._codes[each] for each in known.tolist()])
                actions = codes[which.reshape(actions.shape)]
            self._actions = torch.from_numpy(actions).to(self._device)
        return self._actions[:, step]

    def keep(self, rows: torch.Tensor) -> None:
        self._actions = self._actions[rows]
        self._rows = [self._rows[row] for row in rows.tolist()]


@dataclass(frozen=True)
class EpisodeResults:
    """The results of N episodes."""

    scores: NDArray[np.float32]
    """[N], the sum of rewards, in the order of the seeds."""
    steps: int
    """Steps of all episodes together that were played now."""


EvaluateControllers = Callable[[NDArray[np.float32], NDArray[np.int64], list[int]], EpisodeResults]
"""Plays N episodes: given controllers [P, F], the controller of every episode [N] and the episodes'
seeds. `Dreams.play_controllers` is one, `real_play.evaluate_in_real_game` makes another."""


@dataclass(frozen=True)
class Dreams:
    """A frozen world and how to dream in it; loaded once, played many times. Immutable.

    dreams = Dreams.load("doom-take-cover", temperature=1.15)
    results = dreams.play_controller(controller, seeds=range(512))
    """

    world: World
    temperature: float
    observation: str
    starts: StartBank | None = None
    """Where dreams begin; None: where the world has stored starts."""
    reward_fn: StepFunction | None = None
    """Replaces the world's reward, as of EnvOptions. It is given NumPy arrays."""
    termination_fn: StepFunction | None = None
    """Likewise its termination."""

    @classmethod
    def load(
        cls,
        world: str | Path,
        *,
        temperature: float | None = None,
        options: Mapping[str, FamilyValue] = {},
        observation: str | None = None,
        device: str = "cpu",
        starts: Sequence[Path] | None = None,
        burn_in: int | None = None,
        reward_fn: StepFunction | None = None,
        termination_fn: StepFunction | None = None,
    ) -> Dreams:
        """Loads an installed world by name, or a world directory.

        `temperature`: by default the world's own. `options`: of the world's family, for instance
        {"termination": "thresholded"}; those left out are as the world says. `observation`: by
        default the first that is a vector of floats, or else the world's first. `starts`,
        `burn_in`, `reward_fn` and `termination_fn`: as of EnvOptions.
        """
        given = EnvOptions(
            temperature=temperature,
            device=device,
            starts=list(starts) if starts else None,
            burn_in=burn_in,
            family_options=options,
        )
        loaded = load_world(world, given)
        kinds = [spec.name for spec in loaded.spec.observations]
        observation = next(iter(_features(loaded)), kinds[0]) if observation is None else observation
        if observation not in kinds:
            raise ValueError(
                f"the observation is {observation!r}, expected one of {', '.join(kinds)}, which the "
                f"world {loaded.spec.name} has"
            )
        bank = given.starts_in(loaded)
        dreams = cls(
            loaded, loaded.spec.temperature, observation, bank, reward_fn, termination_fn
        )
        return dreams.at(temperature)

    def at(self, temperature: float | None) -> Dreams:
        """The same world at another temperature; None: at this one."""
        if temperature is None:
            return self
        check_temperature(temperature)
        return replace(self, temperature=temperature)

    @property
    def fingerprint(self) -> str:
        return self.world.spec.fingerprint

    @property
    def options(self) -> dict[str, FamilyValue]:
        """The options of the world's family that are in force."""
        return {name: option.value for name, option in self.world.spec.options.items()}

    @property
    def settings(self) -> dict[str, FamilyValue]:
        """All that decides its dreams, besides the world and the seeds."""
        starts = {} if self.starts is None else {"starts": self.starts.hash}
        return {"temperature": self.temperature, **self.options, **starts, **self.functions}

    @property
    def functions(self) -> dict[str, str]:
        """The names of the user's functions that replace the world's reward and termination, and
        hashes of their source: {"reward_fn": "my:reward", "reward_fn_source": "0123456789ab"}."""
        given = {"reward_fn": self.reward_fn, "termination_fn": self.termination_fn}
        found = {}
        for option, function in given.items():
            if function is None:
                continue
            found[option] = name_of(function)
            if source := source_of(function):
                found[f"{option}_source"] = source
        return found

    @property
    def score(self) -> Score:
        """The name and unit of the sum of rewards: the game's, unless `reward_fn` pays them."""
        return score_of(Path(self.world.directory)) if self.reward_fn is None else Score()

    @property
    def actions(self) -> Actions:
        return actions_of_world(self.world.spec.actions)

    @property
    def features(self) -> dict[str, int]:
        """How many features every observation has that is a vector of floats."""
        return _features(self.world)

    @property
    def num_features(self) -> int:
        """The number of features of the observation in use. Raises ValueError where that is no
        vector of floats."""
        features = self.features
        if self.observation not in features:
            vectors = f"of {', '.join(features)}" if features else "such an observation"
            raise ValueError(
                f"the observation is {self.observation!r}, expected a vector of floats, {vectors}; "
                "`genie-env train ppo` reads other observations too"
            )
        return features[self.observation]

    def check_room(self, rows: int) -> None:
        """Raises an error with the figures where `rows` dreams at a time, each with a controller of
        its own, do not fit into memory."""
        self.make_env(rows)
        torch.empty(2, rows, self.num_features, device=self.world.device)  # weights, observations

    def make_env(
        self, rows: int, observation: str | None = None, *, latent_distance: bool = False
    ) -> VecEnv:
        """`rows` dreams that have not begun; `observation`: by default the one in use.
        `latent_distance`: steps bring it."""
        return VecEnv(
            self.world,
            num_envs=rows,
            observation=observation or self.observation,
            temperature=self.temperature,
            latent_distance=latent_distance,
            starts=self.starts,
            reward_fn=core_function("reward_fn", self.reward_fn, as_numpy),
            termination_fn=core_function("termination_fn", self.termination_fn, as_numpy),
        )

    def play(
        self,
        policy: Policy,
        seeds: Sequence[int],
        on_step: OnStep | None = None,
        midway: Midway | None = None,
    ) -> EpisodeResults:
        """Plays an episode a seed, all in one batch, until every one has ended. `midway` keeps the
        scores of those that have, and they are not played again."""
        midway = midway or Midway(None, {})
        ended = midway.found.get("scores", torch.empty(0))
        if len(ended) != len(seeds):
            ended = torch.full((len(seeds),), torch.nan)
        try:
            return self._play(policy, seeds, on_step, midway, ended)
        except KeyboardInterrupt:
            midway.keep(lambda: {"scores": ended}, at_once=True)
            raise

    def _play(
        self,
        policy: Policy,
        seeds: Sequence[int],
        on_step: OnStep | None,
        midway: Midway,
        ended: torch.Tensor,
    ) -> EpisodeResults:
        """`ended`: float32 [N], the scores of episodes that have ended, NaN of the others; as these
        end, theirs are written into it."""
        device = self.world.device
        rows = ended.isnan().nonzero()[:, 0].to(device)  # the episode that each row plays
        left, step, steps = len(rows), 0, 0
        if left == 0:
            return EpisodeResults(ended.numpy(), steps)
        if left < len(seeds):
            policy.keep(rows)
        env = self.make_env(left)
        alive = torch.ones(left, dtype=torch.bool, device=device)
        scores = torch.zeros(len(seeds), device=device)
        observation = env.reset(seeds=[seeds[row] for row in rows.tolist()])
        while left > 0:
            brought = env.step(policy.act(observation, step))
            observation = brought.observation
            steps += left
            step += 1
            # A row that has ended dreams on until it is dropped; its rewards do not count.
            scores[rows] += brought.reward * alive
            alive &= ~(brought.terminated | brought.truncated)
            left, before = int(alive.sum()), left
            if left < before:
                now = rows[~alive]
                ended[now.cpu()] = scores[now].cpu()
            midway.keep(lambda: {"scores": ended})
            if on_step is not None:
                on_step(step, left)
            if 0 < left <= (1 - DROP_AT) * len(rows):
                kept = alive.nonzero()[:, 0]
                env.keep(kept)
                policy.keep(kept)
                rows, alive, observation = rows[kept], alive[kept], observation[kept]
        return EpisodeResults(ended.numpy(), steps)

    def play_controllers(
        self,
        weights: NDArray[np.float32],
        owners: NDArray[np.int64],
        seeds: Sequence[int],
        on_step: OnStep | None = None,
        midway: Midway | None = None,
    ) -> EpisodeResults:
        """Plays linear controllers, float32 [P, ...] as `steer` takes them, `owners[i]` in the dream
        of `seeds[i]`."""
        device = self.world.device
        population = Controllers(
            self.actions, torch.from_numpy(weights).to(device), torch.from_numpy(owners).to(device)
        )
        return self.play(population, seeds, on_step, midway)

    def play_agent(
        self,
        agent: Agent,
        seeds: Sequence[int],
        on_step: OnStep | None = None,
        midway: Midway | None = None,
    ) -> EpisodeResults:
        """Plays one agent; raises ValueError where it reads other observations."""
        agent.check_fits(self.world.spec)
        dreams = replace(self, observation=agent.observation)
        return dreams.play(Decisions(agent), seeds, on_step, midway)

    def try_step(self, agent: Agent) -> None:
        """Dreams one step of the agent's, so that a function of the user's that cannot be used fails
        before anything long is done. Raises ValueError where the agent reads other observations."""
        agent.check_fits(self.world.spec)
        env = self.make_env(1, agent.observation)
        env.step(agent.act(env.reset(seeds=[0])))

    def check_plays(self, game: Game) -> None:
        """Raises ValueError where an action of a real game does not mean the same in this world."""
        spec, actions = self.world.spec, self.actions
        if (actions, spec.frame_skip) != (game.actions, game.frame_skip):
            raise ValueError(
                f"the world {spec.name} has {actions} at frame skip {spec.frame_skip}, but "
                f"{game.name} has {game.actions} at frame skip "
                f"{game.frame_skip}: what acts in one cannot act in the other; give a world of "
                "this game"
            )

    def play_blind(
        self,
        game: Game,
        policies: Sequence[str],
        seeds: Sequence[int],
        on_step: OnStep | None = None,
        midway: Midway | None = None,
        codes: Mapping[int, int] | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """Scores [len(seeds)] of every one of the game's blind policies, all in one batch.

        All policies meet the same dreams. `codes`: the world's action that stands for each of the
        game's, in a world of latent actions. Raises ValueError where `game` is not like the world's,
        or does not know a policy.
        """
        if codes is None:
            self.check_plays(game)
        for policy in policies:
            game.check_policy(policy)
        rows = [(policy, seed) for policy in policies for seed in seeds]
        blind = BlindPolicies(game, rows, self.world.device, codes)
        scores = self.play(blind, list(seeds) * len(policies), on_step, midway).scores
        return dict(zip(policies, scores.reshape(len(policies), -1), strict=True))


def _features(world: World) -> dict[str, int]:
    return {
        spec.name: spec.shape[0]
        for spec in world.spec.observations
        if len(spec.shape) == 1 and spec.dtype == "float32"
    }


def derived_seeds(seed: int, *path: int, count: int) -> list[int]:
    """`count` row seeds that depend on the run's seed and the path, (generation, use), alone.

    Different paths give different seeds, also those of different length.
    """
    words = np.random.SeedSequence(seed, spawn_key=path).generate_state(count, np.uint64)
    return [int(word) for word in words]
