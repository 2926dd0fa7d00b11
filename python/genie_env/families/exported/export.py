"""`genie_env.export_world`: writes a module as a world directory."""

from __future__ import annotations

import io
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import ExportedGraph, World, safetensors_bytes
from genie_env.data.files import write_atomically, write_json
from genie_env.data.run_directory import only_writer
from genie_env.envs.actions import BoxActions, DiscreteActions
from genie_env.envs.validation import check_temperature
from genie_env.families.exported.archive import ARCHIVE, write_archive
from genie_env.envs.world_checks import RTOL, check_dreams, check_rows
from genie_env.families.exported.contract import (
    DTYPES,
    FRAME,
    NEEDED,
    OBSERVED,
    Contract,
    Distribution,
    Graph,
    Noise,
    Shape,
    Tensors,
    Trial,
)
from genie_env.families.exported.graphs import ROWS, export_graph
from genie_env.families.model_card import CARD
from genie_env.families.world_files import (
    FORMAT_VERSION,
    UNFINISHED,
    check_choice,
    world_name,
)

_STARTS_AT_ONCE = 256
_MOST_STEPS = 2**31 - 1


def export_world(
    module: torch.nn.Module,
    out: str | Path,
    *,
    action_space: gymnasium.spaces.Space[Any],
    observations: Mapping[str, gymnasium.spaces.Box],
    noise: Mapping[str, tuple[Distribution, Sequence[int]]] | None = None,
    starts: Mapping[str, torch.Tensor | NDArray[Any]] | None = None,
    max_episode_steps: int,
    temperature: float = 1.0,
    name: str | None = None,
    action_names: Sequence[str] | None = None,
    termination: str = "sampled",
    frame_skip: int = 1,
    frames_per_second: float | None = None,
    real_game: str | None = None,
    card: str | None = None,
) -> World:
    """Writes `module`, whose methods are those of docs/your-own-world.md, as the world directory
    `out`, and returns the world that was loaded from it. A world that is there is replaced.

    action_space: Discrete, or Box with bounds (float32). observations: what `initial` and `step` give,
    by name, as Box of uint8, int64 or float32. noise: the draws that the module takes, by name:
    ("normal" or "uniform", shape of one row). starts: the contexts that episodes begin from, by name,
    [starts, *shape]; without, `initial` is given noise alone. temperature: the default of
    environments. name: by default that of the directory. action_names: of Discrete actions.
    termination: "sampled" from the module's termination probability, or "thresholded" at one half.
    frame_skip, frames_per_second: frames of the game that a step stands for, steps of a second of
    play. real_game: the game that its agents can play, as `genie-env record` names it. card: the text
    of README.md.

    The module is exported as it is, on the device that its parameters are on; nothing of it changes.
    Raises ValueError naming the method, the operator or the tensor that cannot be served, with the
    line of the source where torch knows it and what to do, and TypeError where an argument is of
    another type; `out` is then as it was.
    """
    check_temperature(temperature)
    check_choice("exported", "termination", termination)
    _check_module(module)
    if type(max_episode_steps) is not int or not 1 <= max_episode_steps <= _MOST_STEPS:
        raise ValueError(
            f"max_episode_steps is {max_episode_steps!r}, expected an integer from 1 to {_MOST_STEPS}"
        )
    for argument, given in (("observations", observations), ("noise", noise), ("starts", starts)):
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(
                f"{argument} is a {type(given).__name__}, expected a dictionary by the tensors' names"
            )
    device = next(
        (p.device for p in (*module.parameters(), *module.buffers())),
        torch.device("cpu"),
    )
    declared_noise = {key: _noise(key, value) for key, value in (noise or {}).items()}
    contexts = {key: _start(key, value) for key, value in (starts or {}).items()}
    _check_starts(contexts, declared_noise)
    for key, box in observations.items():
        _check_observation(key, box)
    trial = Trial(module, contexts, declared_noise, observations, temperature, device)
    actions = _actions(action_space, action_names)
    contract, inputs = _try_out(
        module, trial, actions, contexts, declared_noise, observations, device
    )
    if not observations and contract.frame is None:
        raise ValueError(
            "observations is empty and the module does not render: nothing could be seen"
        )
    with warnings.catch_warnings():
        # Torch warns of what it does itself.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", message=".*_flat_weights.* assigned during export")
        graphs = {
            method: export_graph(Graph(module, method, contract), inputs[method])
            for method in contract.methods
        }
        archive = io.BytesIO()
        write_archive(archive, graphs)

    config = {
        "format_version": FORMAT_VERSION,
        "family": "exported",
        "name": world_name(Path(out), name),
        "device": device.type,
        "actions": actions.as_json(),
        "context": _listed(contract.context),
        "noise": [
            {"name": key, "distribution": each.distribution, "shape": list(each.shape)}
            for key, each in contract.noise.items()
        ],
        "state": _listed(contract.state),
        "observations": [_observation_json(key, box) for key, box in observations.items()],
        **_frame_json(contract.frame),
        "follows": contract.follows,
        "termination": termination if contract.terminates else "never",
        "row_bits": "tolerance",
        "max_episode_steps": max_episode_steps,
        "temperature": temperature,
        "frame_skip": frame_skip,
        **({} if frames_per_second is None else {"frames_per_second": frames_per_second}),
        **({} if real_game is None else {"real_game": real_game}),
    }
    with only_writer(Path(out)):
        made = Path(out) / UNFINISHED
        shutil.rmtree(made, ignore_errors=True)
        try:
            write_atomically(made / ARCHIVE, lambda file: file.write_bytes(archive.getvalue()))
            stored = safetensors_bytes(contexts)
            write_atomically(made / "starts.safetensors", lambda file: file.write_bytes(stored))
            write_json(made / "config.json", config)
            world = World.load(made, device=str(device))
            for method in contract.methods:
                _check_loaded(made / ARCHIVE, Graph(module, method, contract), inputs[method])
            if broken := [finding for finding in check_dreams(world) if not finding.holds]:
                raise ValueError(
                    f"a dream does not hold that {broken[0].promise}: {broken[0].detail}"
                )
            rows = check_rows(world)
            if rows.error:
                raise ValueError(f"a row depends on its neighbours: {rows.error}")
            if rows.exact:
                write_json(made / "config.json", {**config, "row_bits": "exact"})
            write_card(made, config, card)
            _publish(made, Path(out))
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return World.load(Path(out), device=str(device))


def _try_out(
    module: torch.nn.Module,
    trial: Trial,
    actions: DiscreteActions | BoxActions,
    contexts: Tensors,
    noise: Mapping[str, Noise],
    observations: Mapping[str, gymnasium.spaces.Box],
    device: torch.device,
) -> tuple[Contract, dict[str, list[torch.Tensor]]]:
    """Calls every method, on few rows; returns what the module takes and gives, and the inputs that
    its graphs are traced with."""
    for first in range(0, trial.starts, _STARTS_AT_ONCE):
        trial.initial(min(_STARTS_AT_ONCE, trial.starts - first), first)
    begun = trial.initial(ROWS)
    frame = trial.render(begun) if hasattr(module, "render") else None
    follows = hasattr(module, "follow")
    state = {key: Shape.of(tensor) for key, tensor in begun.items()}
    size = None if frame is None else (int(frame.shape[1]), int(frame.shape[2]))
    context = {key: Shape.of(tensor) for key, tensor in contexts.items()}
    begins = size is not None and context == {FRAME: Shape(torch.uint8, (*size, 3))}
    if follows and not begins:
        raise ValueError(
            "follow is given real frames: the module needs `render`, and one context called 'frame', "
            "uint8 [height, width, 3], so that an episode can begin from a frame too"
        )
    contract = Contract(actions, context, noise, state, observations, size, follows, False)
    action = contract.example_actions(ROWS, device)
    stepped, terminates = trial.advance("step", begun, action)
    again, _ = trial.advance("step", stepped, action)
    contract = Contract(actions, context, noise, state, observations, size, follows, terminates)

    drawn = [*trial.noise(ROWS, seed=100).values()]
    tau = torch.full((ROWS,), 1.0, device=device)
    own = [again[key] for key in contract.state]
    inputs = {
        "initial": [*trial.context(ROWS).values(), *trial.noise(ROWS, seed=1).values()],
        "step": [*own, action, tau, *drawn],
    }
    if frame is not None:
        inputs["render"] = own
    if follows and frame is not None:
        _, judges = trial.advance("follow", again, action, frame)
        if judges != terminates:
            raise ValueError(
                "step and follow do not both give a terminated_probability: give it in both, or None "
                "in both"
            )
        inputs["follow"] = [*own, action, frame, *drawn]
    return contract, inputs


def _check_loaded(archive: Path, graph: Graph, inputs: Sequence[torch.Tensor]) -> None:
    """The graph, as it was loaded from the archive, beside the module itself."""
    with torch.no_grad():
        expected = graph(*inputs)
    loaded = ExportedGraph(archive, graph.method).run(list(inputs))
    for place, (one, other) in enumerate(zip(loaded, expected, strict=True)):
        if torch.allclose(one.double(), other.double(), rtol=RTOL, atol=RTOL, equal_nan=True):
            continue
        gap = (one.double() - other.double()).abs().max().item()
        raise ValueError(
            f"{graph.method}: output {place} of the exported graph differs by {gap:.3g} from the "
            "module's: does it use anything that is not its input (a counter, a global, the time)?"
        )


def _check_module(module: torch.nn.Module) -> None:
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module is a {type(module).__name__}, expected a torch.nn.Module")
    for method in NEEDED:
        if not callable(getattr(module, method, None)):
            raise ValueError(
                f"{type(module).__name__} has no method `{method}`: a world needs initial(context, "
                "noise) and step(state, action, temperature, noise)"
            )
    for name, part in module.named_modules():
        moves = isinstance(
            part,
            torch.nn.modules.dropout._DropoutNd | torch.nn.modules.batchnorm._NormBase,
        )
        if moves and part.training:
            raise ValueError(
                f"{name or 'the module'} ({type(part).__name__}) is in training mode: call "
                "module.eval() first"
            )


def _noise(name: str, declared: tuple[Distribution, Sequence[int]]) -> Noise:
    expected = "('normal' or 'uniform', shape of one row), as in ('normal', (3,))"
    if not isinstance(declared, tuple) or len(declared) != 2:
        raise ValueError(f"noise {name!r} is {declared!r}, expected {expected}")
    distribution, shape = declared
    if distribution not in ("normal", "uniform"):
        raise ValueError(f"noise {name!r} is {distribution!r}: give 'normal' or 'uniform'")
    if not isinstance(shape, Sequence) or not all(type(s) is int and s > 0 for s in shape):
        raise ValueError(f"noise {name!r} has the shape {shape!r}, expected {expected}")
    return Noise(distribution, tuple(shape))


def _start(name: str, given: torch.Tensor | NDArray[Any]) -> torch.Tensor:
    start = torch.as_tensor(given).detach().cpu().contiguous()
    if start.dim() == 0 or len(start) == 0:
        raise ValueError(f"starts[{name!r}] has shape {list(start.shape)}, expected [starts, ...]")
    if start.dtype not in DTYPES:
        raise ValueError(f"starts[{name!r}] is of {start.dtype}: give {', '.join(DTYPES.values())}")
    if start.is_floating_point() and not start.isfinite().all():
        raise ValueError(f"starts[{name!r}] holds numbers that are not finite")
    return start


def _check_starts(contexts: Tensors, noise: Mapping[str, Noise]) -> None:
    if not contexts and not noise:
        raise ValueError(
            "neither starts nor noise is given, so that `initial` could not know the number of rows: "
            "give the contexts that episodes begin from, or the noise that they are drawn from"
        )
    counts = {name: len(start) for name, start in contexts.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"starts have different numbers of rows: {counts}: give as many of each")


def _check_observation(name: str, box: gymnasium.spaces.Box) -> None:
    if not isinstance(box, gymnasium.spaces.Box) or box.dtype not in OBSERVED:
        raise ValueError(
            f"observation {name!r} is declared as {box}, expected a gymnasium.spaces.Box of uint8, "
            "int64 or float32"
        )
    if name == "pixels":
        raise ValueError(
            "an observation is called 'pixels', which is what `render` gives: rename it"
        )


def _actions(
    space: gymnasium.spaces.Space[Any], names: Sequence[str] | None
) -> DiscreteActions | BoxActions:
    if isinstance(space, gymnasium.spaces.Discrete):
        count, start = int(space.n), int(space.start)
        meanings = tuple(map(str, range(start, start + count))) if names is None else tuple(names)
        if len(meanings) != count:
            raise ValueError(
                f"action_names has {len(meanings)} names, but there are {count} actions"
            )
        return DiscreteActions(meanings, start)
    if isinstance(space, gymnasium.spaces.Box):
        return BoxActions.of(space)
    raise ValueError(
        f"action_space is {space}, expected a gymnasium.spaces.Discrete or Box: flatten others"
    )


def _listed(shapes: Mapping[str, Shape]) -> list[dict[str, Any]]:
    return [{"name": key, **shape.as_json()} for key, shape in shapes.items()]


def _observation_json(name: str, box: gymnasium.spaces.Box) -> dict[str, Any]:
    low, high = float(box.low.min()), float(box.high.max())
    return {
        "name": name,
        "dtype": str(box.dtype),
        "shape": list(box.shape),
        **({"low": low} if np.isfinite(low) else {}),
        **({"high": high} if np.isfinite(high) else {}),
    }


def _frame_json(frame: tuple[int, int] | None) -> dict[str, Any]:
    return {} if frame is None else {"frame": {"height": frame[0], "width": frame[1]}}


def write_card(made: Path, config: Mapping[str, Any], card: str | None) -> None:
    """README.md: the given text, or one that says what is known."""
    text = card
    if text is None:
        text = (
            f"# {config['name']}\n\nA model that was exported with `genie_env.export_world` "
            f"(torch {torch.__version__.split('+')[0]}). Its author has not said how it was trained, "
            "on what data, or where it is wrong: write it here.\n"
        )
    (made / CARD).write_text(text, encoding="utf-8")


def _publish(made: Path, out: Path) -> None:
    """Moves everything, config.json last: a directory without one is no world."""
    for name in ("config.json", "model.safetensors"):  # of a world of another family
        (out / name).unlink(missing_ok=True)
    for path in sorted(made.iterdir(), key=lambda path: path.name == "config.json"):
        path.replace(out / path.name)
