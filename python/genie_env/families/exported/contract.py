"""What a module must have to become a world: its methods, and what they take and give.

    initial(context, noise) -> (state, observations)
    step(state, action, temperature, noise) -> (state, reward, terminated_probability, observations)
    follow(state, action, frame, noise) -> as step; optional, of a real frame that is given
    render(state) -> frame; optional

Context, noise, state and observations are dictionaries of tensors [N, *shape]; the first dimension is
the row. See docs/your-own-world.md.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
import torch

from genie_env.envs.actions import BoxActions, DiscreteActions

Distribution = Literal["normal", "uniform"]
Tensors = dict[str, torch.Tensor]

DTYPES = {
    torch.bool: "bool",
    torch.uint8: "uint8",
    torch.int64: "int64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float32: "float32",
    torch.float64: "float64",
}
"""What contexts and states may consist of."""

OBSERVED = {np.dtype(np.uint8), np.dtype(np.int64), np.dtype(np.float32)}
"""What observations may consist of."""

FRAME = "frame"
NEEDED = ("initial", "step")


def methods_of(*, follows: bool, renders: bool) -> tuple[str, ...]:
    """The graphs of a world's archive, by what its config says."""
    return (*NEEDED, *(["follow"] if follows else []), *(["render"] if renders else []))


@dataclass(frozen=True)
class Shape:
    """A tensor [N, *shape] of a model."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @staticmethod
    def of(tensor: torch.Tensor) -> Shape:
        return Shape(tensor.dtype, tuple(tensor.shape[1:]))

    def as_json(self) -> dict[str, Any]:
        return {"dtype": DTYPES[self.dtype], "shape": list(self.shape)}

    def __str__(self) -> str:
        sides = ", ".join(map(str, ("N", *self.shape)))
        return f"{str(self.dtype).removeprefix('torch.')} [{sides}]"


@dataclass(frozen=True)
class Noise:
    """Draws that a model takes, float32 [N, *shape]."""

    distribution: Distribution
    shape: tuple[int, ...]

    def draw(self, rows: int, device: torch.device, seed: int) -> torch.Tensor:
        """Some such draws, for a trial: a world's own come from its rows' counters."""
        generator = torch.Generator().manual_seed(seed)
        drawn = (torch.randn if self.distribution == "normal" else torch.rand)(
            (rows, *self.shape), generator=generator
        )
        return (drawn if self.distribution == "normal" else drawn.clamp(2**-24, 1 - 2**-24)).to(
            device
        )


@dataclass(frozen=True)
class Contract:
    """What a module takes and gives, in the order of its graphs (genie_env/worlds/exported/world.h)."""

    actions: DiscreteActions | BoxActions
    context: Mapping[str, Shape]
    noise: Mapping[str, Noise]
    state: Mapping[str, Shape]
    observations: Mapping[str, gymnasium.spaces.Box]
    frame: tuple[int, int] | None
    """Height and width of what it renders."""
    follows: bool
    terminates: bool
    """Whether it gives a termination probability."""

    @property
    def methods(self) -> tuple[str, ...]:
        return methods_of(follows=self.follows, renders=self.frame is not None)

    def example_actions(self, rows: int, device: torch.device, seed: int = 0) -> torch.Tensor:
        """Random actions as the module takes them: counted from 0."""
        drawn = self.actions.draw(np.random.default_rng(seed), (rows,))
        first = self.actions.start if isinstance(self.actions, DiscreteActions) else 0
        return torch.as_tensor(drawn - first).to(device)


class Graph(torch.nn.Module):
    """A method of a module as a function of tensors in the contract's order: what is exported."""

    def __init__(self, module: torch.nn.Module, method: str, contract: Contract) -> None:
        super().__init__()
        self.module = module
        self.method = method
        self.contract = contract

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        contract, left = self.contract, list(tensors)

        def take(names: Mapping[str, Any]) -> Tensors:
            return {name: left.pop(0) for name in names}

        call = getattr(self.module, self.method)
        if self.method == "render":
            return (call(take(contract.state)),)
        if self.method == "initial":
            context = take(contract.context)
            state, observations = call(context, take(contract.noise))
            return _in_order(contract, state, (), observations)
        state = take(contract.state)
        action, given = left.pop(0), left.pop(0)
        state, reward, probability, observations = call(state, action, given, take(contract.noise))
        outcome = (reward, probability) if contract.terminates else (reward,)
        return _in_order(contract, state, outcome, observations)


def _in_order(
    contract: Contract,
    state: Tensors,
    outcome: Sequence[torch.Tensor],
    observations: Tensors,
) -> tuple[torch.Tensor, ...]:
    return (
        *(state[name] for name in contract.state),
        *outcome,
        *(observations[name] for name in contract.observations),
    )


class Trial:
    """A module that is called as its world will call it, and whose answers are checked.

    Every method raises ValueError naming the method and the tensor that is not as the contract says.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        starts: Mapping[str, torch.Tensor],
        noise: Mapping[str, Noise],
        observations: Mapping[str, gymnasium.spaces.Box],
        temperature: float,
        device: torch.device,
    ) -> None:
        self._module = module
        self._starts = starts
        self._noise = noise
        self._observations = observations
        self._temperature = temperature
        self._device = device

    @property
    def starts(self) -> int:
        """How many there are; 0: the module begins from noise alone."""
        return len(next(iter(self._starts.values()), ()))

    def context(self, rows: int, first: int = 0) -> Tensors:
        """Starts of that many rows, from `first` on."""
        chosen = (first + torch.arange(rows)) % max(self.starts, 1)
        return {name: start[chosen].to(self._device) for name, start in self._starts.items()}

    def noise(self, rows: int, seed: int) -> Tensors:
        return {
            name: noise.draw(rows, self._device, seed + place)
            for place, (name, noise) in enumerate(self._noise.items())
        }

    def initial(self, rows: int, first: int = 0) -> Tensors:
        """The state that rows begin in, from the start `first` on."""
        answer = self._call("initial", self.context(rows, first), self.noise(rows, seed=1))
        _check_answer("initial", answer, "(state, observations)", 2)
        state, observations = answer
        _check_state("initial", state, rows)
        self._check_observations("initial", observations, rows)
        return dict(state)

    def advance(
        self,
        method: str,
        state: Tensors,
        action: torch.Tensor,
        frame: torch.Tensor | None = None,
    ) -> tuple[Tensors, bool]:
        """The state after a `step` or `follow`, and whether a termination probability came with it."""
        rows = len(action)
        given = frame
        if given is None:
            given = torch.full((rows,), self._temperature, device=self._device)
        before = {name: tensor.clone() for name, tensor in state.items()}
        answer = self._call(method, dict(state), action, given, self.noise(rows, seed=100))
        parts = "(state, reward, terminated_probability, observations)"
        _check_answer(method, answer, parts, 4)
        for name, tensor in before.items():
            if not torch.equal(tensor, state[name]):
                raise ValueError(
                    f"{method} changes its input state[{name!r}] in place: work on a copy "
                    f"(state[{name!r}].clone()) and return that"
                )
        after, reward, probability, observations = answer
        _check_state(method, after, rows)
        _check_same(method, {n: Shape.of(t) for n, t in before.items()}, after)
        _check_one(f"{method}: the reward", reward, Shape(torch.float32, ()), rows)
        if probability is not None:
            what = f"{method}: terminated_probability"
            _check_one(what, probability, Shape(torch.float32, ()), rows)
            if not ((probability >= 0) & (probability <= 1)).all():
                raise ValueError(
                    f"{what} holds {probability.min():g} to {probability.max():g}, expected "
                    "probabilities from 0 to 1: of a logit take the sigmoid"
                )
        self._check_observations(method, observations, rows)
        return dict(after), probability is not None

    def render(self, state: Tensors) -> torch.Tensor:
        """The frame, uint8 [N, H, W, 3]."""
        frame = self._call("render", dict(state))
        rows = len(next(iter(state.values())))
        if not isinstance(frame, torch.Tensor) or frame.dim() != 4 or frame.shape[-1] != 3:
            raise ValueError(f"render gives {_what(frame)}, expected uint8 [N, height, width, 3]")
        _check_one("render: the frame", frame, Shape(torch.uint8, tuple(frame.shape[1:])), rows)
        return frame

    def _call(self, method: str, *arguments: Any) -> Any:
        """What a method answers. Raises ValueError where it answers otherwise when it is asked again:
        what moves must be in the state, where seeds, snapshots and forks reach it."""
        call: Callable[..., Any] = getattr(self._module, method)
        copies = copy.deepcopy(arguments)  # it may change the first in place, which is told apart
        with torch.no_grad():
            try:
                answer, again = call(*arguments), call(*copies)
            except KeyError as error:
                raise ValueError(
                    f"{method} asks for {error}, which is neither in its state nor declared as a start or "
                    "as noise"
                ) from error
        if not _alike(answer, again):
            raise ValueError(
                f"{method} answers the same inputs differently: it draws random numbers (declare them in "
                "`noise`) or counts in an attribute or a buffer (what moves belongs into the state)"
            )
        return answer

    def _check_observations(self, method: str, observations: Any, rows: int) -> None:
        if not isinstance(observations, Mapping) or set(observations) != set(self._observations):
            raise ValueError(
                f"{method} gives the observations {_names(observations)}, but "
                f"{_names(self._observations)} are declared"
            )
        for name, box in self._observations.items():
            what = f"{method}: observation {name!r}"
            expected = Shape(torch.from_numpy(np.empty(0, box.dtype)).dtype, tuple(box.shape))
            _check_one(what, observations[name], expected, rows)
            shown = observations[name].detach().cpu().numpy()
            if (shown < box.low).any() or (shown > box.high).any():
                raise ValueError(
                    f"{what} holds {shown.min():g} to {shown.max():g}, outside the bounds that are "
                    f"declared ({box.low.min():g} to {box.high.max():g})"
                )


def _alike(one: Any, other: Any) -> bool:
    """Whether two answers hold the same numbers."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.shape == other.shape and one.dtype == other.dtype
        return same and torch.equal(one.nan_to_num(), other.nan_to_num())
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return True  # of another kind: refused by what asked


def _check_answer(method: str, answer: Any, parts: str, count: int) -> None:
    if not isinstance(answer, tuple) or len(answer) != count:
        raise ValueError(f"{method} gives {_what(answer)}, expected {parts}")


def _check_state(method: str, state: Any, rows: int) -> None:
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"{method} gives {_what(state)} as the state, expected a dict of tensors")
    for name, tensor in state.items():
        what = f"{method}: state[{name!r}]"
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{what} is {_what(tensor)}, expected a tensor under a text")
        if tensor.dtype not in DTYPES:
            raise ValueError(
                f"{what} is of {tensor.dtype}, expected one of {', '.join(DTYPES.values())}: convert it"
            )
        _check_one(
            what,
            tensor,
            Shape.of(tensor) if tensor.dim() else Shape(tensor.dtype, ()),
            rows,
        )


def _check_same(method: str, before: Mapping[str, Shape], after: Tensors) -> None:
    """States keep their shape and dtype from step to step."""
    if set(before) != set(after):
        raise ValueError(
            f"{method} gives the state {_names(after)}, but was given {_names(before)}: give all of "
            "it, with the same names"
        )
    for name, shape in before.items():
        if Shape.of(after[name]) != shape:
            raise ValueError(
                f"{method}: state[{name!r}] was {shape} and is {Shape.of(after[name])} afterwards: a "
                "state keeps its shape and dtype (a growing history becomes a ring of fixed length)"
            )


def _check_one(what: str, tensor: Any, expected: Shape, rows: int) -> None:
    shape = (rows, *expected.shape)
    if (
        not isinstance(tensor, torch.Tensor)
        or tensor.dtype != expected.dtype
        or tuple(tensor.shape) != shape
    ):
        raise ValueError(
            f"{what} is {_what(tensor)} where there are N = {rows} rows, expected {expected}"
        )
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise ValueError(f"{what} is not finite after one step: mend the model or its inputs")


def _what(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"a {type(value).__name__}"


def _names(mapping: Any) -> str:
    if not isinstance(mapping, Mapping):
        return _what(mapping)
    return ", ".join(map(repr, mapping)) or "none"
