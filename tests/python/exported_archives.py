"""A small exported model as the archive of a world, and archives that are hostile in ten ways."""

from __future__ import annotations

import copy
import io
import json
import pickle
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.export import Dim
from torch.export.pt2_archive import _package

MODELS = ("initial", "render", "step")
ROOT = "archive/"
Members = dict[str, bytes]


class Step(nn.Module):
    """A step of operators of many kinds: recurrent, convolutional, attention, indices, lists, sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 6)
        self.cell = nn.LSTMCell(10, 8)
        self.convolution = nn.Conv1d(2, 3, 3, padding=1)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 7)
        self.register_buffer("scale", torch.arange(8.0))

    def forward(
        self, h: Tensor, c: Tensor, ring: Tensor, action: Tensor, tau: Tensor, noise: Tensor
    ) -> Any:
        rows = h.shape[0]
        x = torch.cat([self.embedding(action), noise * tau[:, None]], 1)
        h, c = self.cell(x, (h, c))
        y = self.head(self.norm(h) * self.scale)
        left, right, rest = y.split([3, 3, 1], 1)
        ring = torch.cat([ring[:, 1:], (left + right.exp() * 0.5)[:, None]], 1)
        mixed = self.convolution(ring[:, :2]).transpose(1, 2)
        attended = nn.functional.scaled_dot_product_attention(ring, mixed, mixed)
        best = attended.sum(1).topk(2, 1).values + torch.zeros(rows, 2)
        order = left.argsort(1).gather(1, torch.ones(rows, 1, dtype=torch.long))
        reward = torch.where(rest[:, 0] > 0, best.amax(1), order[:, 0].float())
        return h, c, ring, reward, torch.sigmoid(left.chunk(3, 1)[0][:, 0])


class Initial(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("first", torch.ones(4, 3))

    def forward(self, start: Tensor, noise: Tensor) -> Any:
        rows = start.shape[0]
        return (
            start,
            torch.zeros(rows, 8),
            self.first.expand(rows, 4, 3) * torch.tensor([1.0, 2.0, 3.0]),
        )


class Render(nn.Module):
    def forward(self, h: Tensor, c: Tensor, ring: Tensor) -> Any:
        picture = nn.functional.interpolate(h[:, None, None, :].expand(-1, 3, 8, 8), size=(16, 16))
        return (picture.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1)


STATE = (torch.zeros(2, 8), torch.zeros(2, 8), torch.zeros(2, 4, 3))
INPUTS: dict[str, tuple[Tensor, ...]] = {
    "initial": (torch.zeros(2, 8), torch.zeros(2, 4)),
    "render": STATE,
    "step": (*STATE, torch.zeros(2, dtype=torch.long), torch.ones(2), torch.zeros(2, 4)),
}


def for_runner(program: dict[str, Any]) -> None:
    """Leaves out where nodes came from and guards in Python, and marks results as what LibTorch's own kernels do not take."""
    graph = program["graph_module"]["graph"]
    inputs = {each["as_tensor"]["name"] for each in graph["inputs"]}
    for name, value in graph["tensor_values"].items():
        if name not in inputs:
            value["device"] = {"type": "meta", "index": None}
    for node in graph["nodes"]:
        node["metadata"] = {}
    program["guards_code"] = []


@lru_cache
def sound_members() -> Members:
    """The members of a sound archive, without its folder."""
    torch.manual_seed(0)
    rows = Dim("rows", min=1)
    programs = {}
    for name, model in (("initial", Initial()), ("render", Render()), ("step", Step())):
        shapes = tuple({0: rows} for _ in INPUTS[name])
        with torch.no_grad():
            program = torch.export.export(
                model.eval().requires_grad_(False),
                INPUTS[name],
                dynamic_shapes=shapes,
                strict=False,
            ).run_decompositions({})
        program._example_inputs = None
        programs[name] = program
    buffer = io.BytesIO()
    _package.package_pt2(buffer, exported_programs=programs)
    buffer.seek(0)
    reader = torch._C.PyTorchFileReader(buffer)
    members = {name: reader.get_record(name) for name in reader.get_all_records()}
    for name in MODELS:
        del members[f"data/sample_inputs/{name}.pt"]
        model = json.loads(members[f"models/{name}.json"])
        for_runner(model)
        members[f"models/{name}.json"] = json.dumps(model).encode()
    return members


def write_world(directory: Path, content: bytes) -> Path:
    """A world directory that says what the sound archive is, with this archive; returns its file."""
    directory.mkdir(parents=True)
    tensor = {"dtype": "float32"}
    config = {
        "format_version": 3,
        "family": "exported",
        "name": "archive",
        "device": "cpu",
        "actions": {"type": "discrete", "meanings": ["a", "b", "c", "d"], "start": 0},
        "context": [{"name": "start", "shape": [8], **tensor}],
        "noise": [{"name": "noise", "distribution": "normal", "shape": [4]}],
        "state": [
            {"name": "h", "shape": [8], **tensor},
            {"name": "c", "shape": [8], **tensor},
            {"name": "ring", "shape": [4, 3], **tensor},
        ],
        "observations": [],
        "frame": {"height": 16, "width": 16},
        "follows": False,
        "termination": "sampled",
        "row_bits": "tolerance",
        "max_episode_steps": 10,
        "temperature": 1.0,
        "frame_skip": 1,
    }
    (directory / "config.json").write_text(json.dumps(config))
    save_file({"start": torch.zeros(2, 8)}, directory / "starts.safetensors")
    file = directory / "model.pt2"
    file.write_bytes(content)
    return file


@dataclass
class Part:
    """A member as its headers describe it; where a number is given, the directory lies."""

    name: str
    bytes: bytes
    method: int = 0
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    offset: int | None = None


def assemble(parts: list[Part]) -> bytes:
    """A zip archive; sums are right unless a part says otherwise."""
    data, directory = bytearray(), bytearray()
    for part in parts:
        crc = zlib.crc32(part.bytes) if part.crc is None else part.crc
        size = len(part.bytes) if part.size is None else part.size
        offset = len(data) if part.offset is None else part.offset
        name = part.name.encode("latin-1")
        common = struct.pack(
            "<HHHHHIIIHH", 0, part.flags, part.method, 0, 0, crc, size, size, len(name), 0
        )
        data += b"PK\3\4" + common + name + part.bytes
        directory += b"PK\1\2\0\0" + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + name
    end = struct.pack("<HHHHIIH", 0, 0, len(parts), len(parts), len(directory), len(data), 0)
    return bytes(data + directory + b"PK\5\6" + end)


def archive(members: Members) -> bytes:
    return assemble([Part(ROOT + name, content) for name, content in members.items()])


Hostile = tuple[bytes, str]
"""An archive, and a pattern of what is said of it."""


def truncated(rng: random.Random) -> Hostile:
    whole = archive(sound_members())
    return whole[: rng.randrange(len(whole))], "not the end of a zip archive"


def bit_flips(rng: random.Random) -> Hostile:
    """In the members, where only the sums can tell, or in the end of the directory."""
    members, damaged = sound_members(), bytearray(archive(sound_members()))
    if rng.random() < 0.1:
        at = len(damaged) - rng.randrange(1, 23)
    else:
        name = rng.choice([name for name, content in members.items() if content])
        begin = damaged.index(
            members[name], damaged.index((ROOT + name).encode()) + len(ROOT + name)
        )
        at = begin + rng.randrange(len(members[name]))
    damaged[at] ^= 1 << rng.randrange(8)
    return bytes(
        damaged
    ), "is damaged|end of a zip|promised|several parts|its directory|directory has"


def edited(rng: random.Random, edit: Callable[[dict[str, Any]], str], model: str = "") -> Hostile:
    """An archive one of whose graphs `edit` has changed; it returns what is then said."""
    members = dict(sound_members())
    name = f"models/{model or rng.choice(MODELS)}.json"
    program = json.loads(members[name])
    expected = edit(program)
    members[name] = json.dumps(program).encode()
    return archive(members), expected


def swapped_graphs(rng: random.Random) -> Hostile:
    members = dict(sound_members())
    first, second = rng.sample(MODELS, 2)
    one, other = f"models/{first}.json", f"models/{second}.json"
    kind = rng.randrange(4)
    if kind == 0:
        members[one], members[other] = members[other], members[one]
        return archive(members), "has no stored tensor|config.json says"
    if kind == 1:
        members[one] = members[other]
        return archive(members), "has no stored tensor|config.json says"
    if kind == 2:
        members[f"models/{first}2.json"] = members[one]
        return archive(members), "is a graph that this world does not have"
    mixed, rest = json.loads(members[one]), json.loads(members[other])
    part = rng.choice(["graph", "signature"])
    mixed["graph_module"][part] = rest["graph_module"][part]
    members[one] = json.dumps(mixed).encode()
    return archive(members), "describe|has no stored tensor|in_spec|not the number of rows"


NUMBERS = (
    -1,
    0,
    1,
    3,
    7,
    2**31,
    2**40,
    2**62,
    2**63 - 1,
    -(2**63),
    2**64,
    1.5,
    "x",
    None,
    [],
    True,
)


def lying_shapes(rng: random.Random) -> Hostile:
    """Sizes, strides, offsets and types that are not those of the bytes, in a configuration or graph."""
    members = dict(sound_members())
    model = rng.choice(["initial", "step"])
    config = json.loads(members[f"data/weights/{model}_weights_config.json"])
    program = json.loads(members[f"models/{model}.json"])
    values = program["graph_module"]["graph"]["tensor_values"]
    specs = program["graph_module"]["signature"]["input_specs"]
    stored = [
        next(iter(spec.values())) for spec in specs if "parameter" in spec or "buffer" in spec
    ]
    spec = rng.choice(stored)
    meta = config["config"][spec.get("parameter_name", spec.get("buffer_name"))]["tensor_meta"]
    described = values[spec["arg"]["name"]]
    liars = rng.choice([[meta], [described], [meta, described]])  # the last agree with each other
    key = rng.choice(["sizes", "strides", "storage_offset", "dtype", "layout"])
    for liar in liars:
        before = copy.deepcopy(liar[key])
        while liar[key] == before:
            number = rng.choice(NUMBERS)
            if key in ("sizes", "strides") and rng.random() < 0.7:
                liar[key][rng.randrange(len(liar[key]))] = {"as_int": number}
                if liar[key] != before and harmless(liar, before, key):
                    liar[key] = copy.deepcopy(before)
            elif key == "storage_offset":
                liar[key] = {"as_int": number} if number != 0 else {"as_expr": {"expr_str": "s0"}}
            elif key in ("dtype", "layout"):
                liar[key] = rng.choice([-1, 0, 1, 2, 6, 8, 9, 29, 99, "7", None])
            else:
                liar[key] = rng.choice([[], [{"as_int": 1}] * 20, None, 5, [5], {"as_int": 3}])
    members[f"data/weights/{model}_weights_config.json"] = json.dumps(config).encode()
    members[f"models/{model}.json"] = json.dumps(program).encode()
    said = "needs|tensor_meta|in tensor_values|otherwise than|dtype|more elements|elements in the memory"
    return archive(members), said


def harmless(meta: dict[str, Any], before: list[Any], key: str) -> bool:
    """Whether the stride that was changed is one that no index is multiplied by."""
    changed = [i for i, number in enumerate(before) if meta[key][i] != number]
    return key == "strides" and all(meta["sizes"][i] == {"as_int": 1} for i in changed)


def huge_counts(rng: random.Random) -> Hostile:
    huge = rng.choice([2**32, 2**40, 2**48, 2**62])
    kind = rng.randrange(6)

    def zeros(program: dict[str, Any]) -> str:
        for node in program["graph_module"]["graph"]["nodes"]:
            if node["target"] == "torch.ops.aten.zeros.default":
                node["inputs"][0]["arg"]["as_sym_ints"][-1] = {"as_int": huge}
        return "expected an integer from|more than"

    def product(program: dict[str, Any]) -> str:
        for node in program["graph_module"]["graph"]["nodes"]:
            if node["target"] == "torch.ops.aten.expand.default":
                node["inputs"][1]["arg"] = {"as_ints": [2**20, 2**20, 3]}
        return "more than"

    def elements(program: dict[str, Any]) -> str:
        values = program["graph_module"]["graph"]["tensor_values"]
        value = values[
            rng.choice([name for name in values if values[name]["device"]["type"] == "meta"])
        ]
        value["sizes"] = [*value["sizes"][:1], {"as_int": huge}]
        value["strides"] = [{"as_int": 1}] * 2
        return "expected an integer from|more than"

    def nodes(program: dict[str, Any]) -> str:
        program["graph_module"]["graph"]["nodes"] = [{}] * 100_001
        return "100001 nodes"

    def nesting(program: dict[str, Any]) -> str:
        value: Any = []
        for _ in range(rng.randrange(40, 200)):
            value = [value]
        program["guards_code"] = value
        return "nested more than"

    def leaves(program: dict[str, Any]) -> str:
        leaf = {"type": None, "context": None, "children_spec": []}
        many = {"type": "builtins.tuple", "context": "null", "children_spec": [leaf] * 1000}
        program["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps(
            [1, many]
        )
        return "in_spec"

    edits = (zeros, product, elements, nodes, nesting, leaves)
    return edited(rng, edits[kind], "initial")


def zip_tricks(rng: random.Random) -> Hostile:
    parts = [Part(ROOT + name, content) for name, content in sound_members().items()]
    full = [i for i, part in enumerate(parts) if len(part.bytes) > 8]
    i = rng.choice(full)
    j = rng.choice([other for other in full if other != i])
    kind = rng.randrange(8)
    if kind == 0:
        parts.append(Part(rng.choice([parts[i].name, parts[i].name.upper()]), parts[j].bytes))
        return assemble(parts), "is there twice"
    if kind == 1:
        parts.append(Part(rng.choice(["/etc/passwd", "/" + parts[i].name]), b"x"))
        return assemble(parts), "is absolute"
    if kind == 2:
        parts[i].name = rng.choice([ROOT + "../x", "../" + parts[i].name, ROOT + "data/./x"])
        return assemble(parts), "has the part"
    if kind == 3:
        bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
        parts[i].bytes = bomb.compress(bytes(rng.choice([2**20, 2**24]))) + bomb.flush()
        parts[i].method = 8
        return assemble(parts), "is compressed"
    if kind == 4:
        whole = assemble(parts)
        parts[j].offset = whole.index(b"PK\3\4")
        return assemble(parts), "overlaps|gap|no header|contradicts"
    if kind == 5:
        parts[i].size = rng.choice([0, 1, len(parts[i].bytes) * 2, 2**31, 2**32 - 2])
        return assemble(
            parts
        ), "gap|overlaps|lie before|no header|contradicts|end of a zip|promised"
    if kind == 6:
        parts[i].name = rng.choice(
            ["x\\y", ROOT + "a//b", ROOT + "a/", "", ROOT + "\x01", "x" * 600]
        )
        return assemble(parts), "member name|member's name"
    parts[i].flags = rng.choice([1, 0x40, 0x2000])
    return assemble(parts), "is encrypted|has the flags"


class Payload:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("import os; open(os.environ['GENIE_ENV_MARK'], 'w').close()",)


def payload(rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    if rng.random() < 0.5:
        torch.save(Payload(), buffer)
        return buffer.getvalue()
    return pickle.dumps(Payload(), protocol=rng.randrange(2, 5))


def pickled_inputs(rng: random.Random) -> Hostile:
    members = dict(sound_members())
    kind = rng.randrange(3)
    if kind == 0:
        members[f"data/sample_inputs/{rng.choice(MODELS)}.pt"] = payload(rng)
        return archive(members), "sample inputs are a pickle"
    if kind == 1:
        folder = rng.choice(["weights", "constants"])
        members[f"data/{folder}/{rng.choice(MODELS)}.pt"] = payload(rng)
        return archive(members), "it is a pickle"
    config = json.loads(members["data/weights/step_weights_config.json"])
    entry = config["config"][rng.choice(list(config["config"]))]
    entry["use_pickle"] = True
    members["data/weights/" + entry["path_name"]] = payload(rng)
    members["data/weights/step_weights_config.json"] = json.dumps(config).encode()
    return archive(members), "is a pickle"


def custom_objects(rng: random.Random) -> Hostile:
    kind = rng.randrange(4)
    members = dict(sound_members())
    if kind == 0:
        members["data/constants/custom_obj_0"] = payload(rng)
        return archive(members), "a custom object is a pickle"
    if kind == 1:
        names = ["data/aotinductor/step/x.so", "extra/x.so", "data/executorch/x.pte", "extra/x.py"]
        members[rng.choice(names)] = rng.randbytes(100)
        return archive(members), "native code|program of ExecuTorch|not a graph"

    def value(program: dict[str, Any]) -> str:
        values = {"obj": {"name": "obj", "class_fqn": "__torch__.torch.classes.x.Y"}}
        program["graph_module"]["graph"]["custom_obj_values"] = values
        return "custom_obj_values"

    def constant(program: dict[str, Any]) -> str:
        module = program["graph_module"]
        custom = {"name": "obj", "class_fqn": "__torch__.torch.classes.x.Y"}
        module["graph"]["inputs"].insert(0, {"as_custom_obj": custom})
        spec = {"custom_obj": {"arg": custom, "custom_obj_name": "obj"}}
        module["signature"]["input_specs"].insert(0, spec)
        return "only tensors are served"

    return edited(rng, value if kind == 2 else constant)


UNSERVED = (
    *("aten.add_.Tensor", "aten.rand.default", "aten.randn_like.default", "aten.nonzero.default"),
    *("aten.as_strided.default", "aten.from_file.default", "aten.set_.source_Tensor"),
    *("aten.empty.memory_format", "aten.item.default", "aten._unsafe_view.default"),
    *("aten.does_not_exist.default", "aten.add.does_not_exist", "aten.add", "aten", ""),
    *("higher_order.cond", "higher_order.executorch_call_delegate", "higher_order.call_torchbind"),
    *("mylib.custom.default", "prims.add.default", "prim.Print", "aten.add.out", "aten..default"),
)
TARGETS = (
    "builtins.exec",
    "os.system",
    "_operator.pow",
    "_operator.getitem",
    "prim.ListPack",
    "math.exp",
)


def unknown_operators(rng: random.Random) -> Hostile:
    target = rng.choice([f"torch.ops.{name}" for name in UNSERVED] + list(TARGETS))

    def edit(program: dict[str, Any]) -> str:
        rng.choice(program["graph_module"]["graph"]["nodes"])["target"] = target
        return r"node \d+ \("

    return edited(rng, edit)


def wrong_arguments(rng: random.Random) -> Hostile:
    """An argument of a type that its operator does not take, of another name, twice, or of no value."""

    def edit(program: dict[str, Any]) -> str:
        while True:
            node = rng.choice(program["graph_module"]["graph"]["nodes"])
            given = rng.choice(node["inputs"])
            kind = next(iter(given["arg"]))
            change = rng.randrange(5)
            if change == 0 and kind in ("as_tensor", "as_tensors", "as_sym_ints", "as_ints"):
                wrong = [
                    {"as_string": "x"},
                    {"as_graph": {}},
                    {"as_custom_obj": {}},
                    {"as_none": True},
                ]
                given["arg"] = rng.choice(
                    [*wrong, {"as_operator": "x"}, {"as_floats": [1.5]}, 5, None]
                )
            elif change == 1 and kind == "as_tensor":
                given["arg"]["as_tensor"]["name"] = rng.choice(["nowhere", "", "x" * 5000, 5, None])
            elif change == 2:
                given["name"] = rng.choice(["nothing", "", 5])
            elif change == 3:
                node["inputs"].append(copy.deepcopy(given))
            elif change == 4:
                node["outputs"] = rng.choice([[], node["outputs"] * 2, [{"as_int": 3}], None, [5]])
                if not node["outputs"] and "_assert" in node["target"]:
                    continue
            else:
                continue
            return "."

    return edited(rng, edit)


KINDS: tuple[Callable[[random.Random], Hostile], ...] = (
    *(truncated, bit_flips, swapped_graphs, lying_shapes, huge_counts, zip_tricks),
    *(pickled_inputs, custom_objects, unknown_operators, wrong_arguments),
)


def hostile_archives(each: int) -> Iterator[tuple[str, bytes, str]]:
    """`each` archives of every kind, the same ones in every run: name, bytes and what is said."""
    for kind in KINDS:
        for seed in range(each):
            content, said = kind(random.Random(f"{kind.__name__} {seed}"))
            yield f"{kind.__name__}-{seed}", content, said
