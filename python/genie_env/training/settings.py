"""What a training is given: each field of its settings is an option of its command."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

import torch  # noqa: F401  (comes first: it loads the libraries that _core is linked to)
import typer

from genie_env._core import Model, Trainer, limits
from genie_env.data.players import LARGEST_SEED
from genie_env.envs.options import DType
from genie_env.envs.validation import check_choice
from genie_env.training.dtype import MakeTrainer, TrainedDType
from genie_env.training.runs import Network


def size_option(meaning: str, limit: str, least: int = 1) -> Any:
    """The option of a network's size, from `least` to `_core.limits[limit]`."""
    return typer.Option(help=meaning, min=least, max=limits[limit])


Episodes = Annotated[
    list[Path], typer.Option(help="directory of recorded episodes; may be repeated")
]
Out = Annotated[
    Path,
    typer.Option(
        help="run directory; an unfinished run there is resumed", file_okay=False, writable=True
    ),
]
Steps = Annotated[int, typer.Option(help="number of updates", min=1, max=10**9)]
LearningRate = Annotated[
    float,
    typer.Option(help="learning rate of Adam; it decays along a cosine", min=0, max=10),
]
Seed = Annotated[
    int, typer.Option(help="seed of weights, noise and data order", min=0, max=LARGEST_SEED)
]
Width = Annotated[int, size_option("features of the transformers", "width")]
Heads = Annotated[int, size_option("attention heads", "width")]
Emphasis = Annotated[
    float,
    typer.Option(
        help="how much more pixels count whose colour is rare at their place, so that small "
        "things that move are kept; 0: all count alike",
        min=0,
        max=1e3,
    ),
]
TrainingDType = Annotated[
    DType,
    typer.Option(
        help="float32, bfloat16 (autocast: where it is safe), or whichever of the two is faster: a few "
        "updates of each are timed before a run begins"
    ),
]
Bf16 = Annotated[
    bool | None,
    typer.Option(
        "--bf16/--no-bf16",
        help="the same as --dtype bfloat16 or --dtype float32",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="cpu or cuda")]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What every training is given. A subclass adds what its network takes; a field that is a
    dataclass itself (the sizes of a network) stands for the options that are its fields."""

    network: ClassVar[Network]
    unsaved: ClassVar[frozenset[str]] = frozenset({"out", "device", "bf16"})
    """Fields that a run may be continued with other values of."""

    data: Episodes
    out: Out
    steps: Steps
    batch: int
    learning_rate: LearningRate
    seed: Seed = 0
    dtype: TrainingDType = "auto"
    bf16: Bf16 = None
    """An earlier word for the dtype."""
    device: Device = "cpu"

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, get_args(DType))
        if self.bf16 is None:
            return
        meant = "bfloat16" if self.bf16 else "float32"
        if self.dtype not in ("auto", meant):
            raise ValueError(
                f"dtype is {self.dtype!r}, but bf16 is {self.bf16}, which means {meant!r}: leave out "
                "bf16"
            )
        object.__setattr__(self, "dtype", meant)

    def saved(self) -> dict[str, Any]:
        """What the run's settings.json holds of them."""
        saved = {name: value for name, value in asdict(self).items() if name not in self.unsaved}
        return {"network": self.network.name, **{k: _plain(v) for k, v in saved.items()}}

    def trainers(self, model: Model, gradient_clip: float = 0.0) -> MakeTrainer:
        """What makes trainers of the model, in a dtype each. Raises ValueError where the learning
        rate or the device is wrong: call it before the run directory is made."""

        def make(dtype: TrainedDType) -> Trainer:
            return Trainer(
                model,
                learning_rate=self.learning_rate,
                gradient_clip=gradient_clip,
                bf16=dtype == "bfloat16",
                seed=self.seed,
                device=self.device,
            )

        make("float32")
        return make


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Path):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, list) else value
