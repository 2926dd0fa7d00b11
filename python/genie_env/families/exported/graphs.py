"""Exports the methods of a module as graphs of functions that know nothing of Python."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from genie_env._core import why_not_served
from genie_env.families.exported.contract import Graph
from genie_env.families.exported.tracing import is_own, mended_tracing

ROWS = 3
"""Rows of the inputs that graphs are traced with; any number but 0 and 1, which are special to torch."""

_END = 2**63 - 1
_METADATA = ("val", "tensor_meta", "unbacked_bindings")
"""What serialisation needs of a node; the rest names files and lines of the author's."""


def export_graph(graph: Graph, inputs: Sequence[torch.Tensor]) -> ExportedProgram:
    """The graph of a method, traced with `inputs` of ROWS rows, for any number of rows.

    Raises ValueError naming the operator that cannot be served, the line of the source that calls it
    where torch knows it, and what to do.
    """
    rows = Dim("rows", min=1)
    with torch.no_grad(), mended_tracing():
        try:
            program: ExportedProgram = torch.export.export(
                graph,
                tuple(inputs),
                dynamic_shapes={"tensors": tuple({0: rows} for _ in inputs)},
                strict=False,
            )
        except Exception as error:
            raise _refusal(graph.method, error) from error
        program = program.run_decompositions({})
    _check_signature(graph.method, program)
    _reshape_in_place_of_views(program)
    _check_operators(graph.method, program)
    _leave_out_what_does_nothing(program)
    _leave_out_unused_weights(program)
    program._guards_code = []  # source text, that nobody needs
    for node in program.graph.nodes:
        node.meta = {key: node.meta[key] for key in _METADATA if key in node.meta}
    return program


def _refusal(method: str, error: Exception) -> ValueError:
    """Torch's error in one sentence, with the line that it is about."""
    text = str(error)
    line = _own_line(traceback.extract_tb(error.__traceback__)) or _line_in(text)
    if "Constraints violated" in text or "specialized" in text:
        why = (
            "it works for one number of rows only: take the number from an input (state['x'].shape[0]) "
            "wherever it is needed, and never compare it"
        )
    elif "data-dependent" in text.lower() or "GuardOnDataDependent" in type(error).__name__:
        why = (
            "a shape or a branch depends on numbers that the tensors hold: write it with torch.where, "
            "masks and shapes that are fixed"
        )
    else:
        why = f"torch.export says: {text.strip().splitlines()[0] if text.strip() else type(error).__name__}"
    return ValueError(f"{method} cannot be exported{line}: {why}")


def _check_operators(method: str, program: ExportedProgram) -> None:
    for node in program.graph.nodes:
        name = _name(node)
        if node.op in ("placeholder", "output") or name == "_operator.getitem":
            continue
        if why := why_not_served(name):
            line = _line_in(node.meta.get("stack_trace") or "")
            raise ValueError(f"{method}: {name}{line} {why}")


def _name(node: torch.fx.Node) -> str:
    """As the archive will call the operator: torch.ops.aten.add.Tensor."""
    if node.op != "call_function":
        return f"{node.op} {node.target}"
    if isinstance(node.target, torch._ops.OpOverload):
        return (
            f"torch.ops.{node.target.namespace}.{node.target._opname}.{node.target._overloadname}"
        )
    module = getattr(node.target, "__module__", "")
    return f"{module}.{getattr(node.target, '__name__', node.target)}"


def _check_signature(method: str, program: ExportedProgram) -> None:
    signature = program.graph_signature
    if changed := list(signature.buffers_to_mutate.values()):
        raise ValueError(
            f"{method} changes the buffer {_of_module(changed[0])!r}: what moves belongs into the state "
            "(batch normalisation: call module.eval() first)"
        )
    if signature.user_inputs_to_mutate:
        raise ValueError(
            f"{method} changes one of its inputs in place: work on a copy (tensor.clone()), return it"
        )


def _reshape_in_place_of_views(program: ExportedProgram) -> None:
    """A view needs the strides that its tensor has now; without copies that do nothing it may have
    others."""
    aten = torch.ops.aten
    for node in program.graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default


def _leave_out_what_does_nothing(program: ExportedProgram) -> None:
    """Nodes whose output is their input, in a graph where nothing is changed in place."""
    graph = program.graph
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        kept = _same_as(node)
        if kept is not None:
            node.replace_all_uses_with(kept)
            graph.erase_node(node)
    for node in reversed(list(graph.nodes)):
        if node.op == "call_function" and not node.users:
            graph.erase_node(node)
    graph.lint()
    program.graph_module.recompile()


def _same_as(node: torch.fx.Node) -> torch.fx.Node | None:
    """What the node only repeats, if it does."""
    aten = torch.ops.aten
    given: tuple[Any, ...] = node.args
    repeated: torch.fx.Node | None = given[0] if given else None
    if node.target is aten.slice.Tensor:
        return repeated if _takes_all(given[2:]) else None
    if node.target is aten.slice_scatter.default:
        return given[1] if _takes_all(given[3:]) and _alike(given[0], given[1]) else None
    if node.target is aten.copy.default:
        return given[1] if _alike(given[0], given[1]) else None
    if node.target is aten.clone.default:
        return None if node.kwargs else repeated
    if node.target is aten.dropout.default:
        return None if given[2] else repeated
    if node.target in (aten.alias.default, aten.detach.default, aten.lift_fresh_copy.default):
        return repeated
    return None


def _takes_all(bounds: tuple[Any, ...]) -> bool:
    """Whether a slice of these bounds (start, end, step, or fewer) leaves nothing out."""
    start, end, step = (*bounds, *(None,) * 3)[:3]
    return start in (None, 0) and end in (None, _END) and step in (None, 1)


def _alike(first: torch.fx.Node, second: torch.fx.Node) -> bool:
    one, two = first.meta["val"], second.meta["val"]
    return one.dtype == two.dtype and tuple(map(str, one.shape)) == tuple(map(str, two.shape))


def _leave_out_unused_weights(program: ExportedProgram) -> None:
    """Every graph is given all weights of its module; it keeps those that it uses."""
    signature, kept = program.graph_signature, []
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    for spec in signature.input_specs:
        if spec.kind is InputKind.USER_INPUT or nodes[spec.arg.name].users:
            kept.append(spec)
            continue
        program.graph.erase_node(nodes[spec.arg.name])
        for held in (program.state_dict, program.constants):
            held.pop(spec.target, None)
    signature.input_specs[:] = kept
    used = {spec.target for spec in kept}
    for name in set(program.state_dict) - used:
        del program.state_dict[name]
    program.graph_module.recompile()


def _of_module(name: str) -> str:
    return name.removeprefix("module.")


def _line_in(stack: str) -> str:
    """The last line of a user's source in a stack as torch writes it."""
    found = re.findall(r'File "([^"]+)", line (\d+), in [^\n]*\n\s*([^\n]*)', stack)
    return _shown((file, int(line), code) for file, line, code in found)


def _own_line(stack: traceback.StackSummary) -> str:
    return _shown((frame.filename, frame.lineno or 0, frame.line or "") for frame in stack)


def _shown(frames: Iterable[tuple[str, int, str]]) -> str:
    own = [frame for frame in frames if is_own(frame[0])]
    if not own:
        return ""
    file, line, code = own[-1]
    return f" ({file}, line {line}: {code.strip()})"
