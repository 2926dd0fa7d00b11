"""What a training is given: each field of its settings is an option of its command."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch  # noqa: F401  (comes first: it loads the libraries that _core is linked to)
import typer

from genie_env._core import Model, Trainer, limits
from genie_env.data.players import LARGEST_SEED
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
Bf16 = Annotated[bool, typer.Option(help="compute in bfloat16 where it is safe (autocast)")]
Device = Annotated[str, typer.Option(help="cpu or cuda")]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What every training is given. A subclass adds what its network takes; a field that is a
    dataclass itself (the sizes of a network) stands for the options that are its fields."""

    network: ClassVar[Network]
    unsaved: ClassVar[frozenset[str]] = frozenset({"out", "device"})
    """Fields that a run may be continued with other values of."""

    data: Episodes
    out: Out
    steps: Steps
    batch: int
    learning_rate: LearningRate
    seed: Seed = 0
    bf16: Bf16 = True
    device: Device = "cpu"

    def saved(self) -> dict[str, Any]:
        """What the run's settings.json holds of them."""
        saved = {name: value for name, value in asdict(self).items() if name not in self.unsaved}
        return {"network": self.network.name, **{k: _plain(v) for k, v in saved.items()}}

    def trainer(self, model: Model, gradient_clip: float = 0.0) -> Trainer:
        """A trainer of the model. Raises ValueError where the learning rate or the device is wrong:
        make it before the run directory."""
        return Trainer(
            model,
            learning_rate=self.learning_rate,
            gradient_clip=gradient_clip,
            bf16=self.bf16,
            seed=self.seed,
            device=self.device,
        )


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Path):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, list) else value
