"""What the trainings of tokenizer, latent actions and dynamics have in common: each learns from
clips of consecutive frames, in a run directory of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genie_env._core import EpisodeStore, Model, Trainer
from genie_env.data.datasets import (
    Batch,
    ClipData,
    Clips,
    TokenData,
    check_enough,
    open_stores,
)
from genie_env.data.videos import as_directories
from genie_env.training.loop import CollapseWatch, Schedule, train
from genie_env.training.runs import claim_training

WARM_UP = 500


@dataclass(frozen=True, kw_only=True)
class ClipTraining:
    """One such training, as its command was told."""

    network: str
    data: Sequence[Path]
    frames_per_second: float | None
    out: Path
    steps: int
    batch: int
    clip: int
    learning_rate: float
    seed: int
    bf16: bool
    device: str

    def open(self) -> tuple[list[Path], list[EpisodeStore]]:
        """The directories of episodes, videos among them, and what they hold. Raises ValueError
        where that is not enough for a batch or for a held-out clip."""
        directories = as_directories(self.data, self.frames_per_second)
        stores = open_stores(directories)
        check_enough(stores, trained=self.batch * self.clip, unseen=self.clip)
        return directories, stores

    def trainer(self, model: Model) -> Trainer:
        """To be made before the run directory is: it checks the learning rate and the device."""
        return Trainer(
            model,
            learning_rate=self.learning_rate,
            bf16=self.bf16,
            seed=self.seed,
            device=self.device,
        )

    def claim(
        self,
        stores: Sequence[EpisodeStore],
        clips: Clips,
        sizes: dict[str, Any],
        **more: Any,
    ) -> None:
        """Makes the run directory, or checks that the run there was told the same, `more` included."""
        settings = {
            "network": self.network,
            "data": [str(path) for path in self.data],
            "frames_per_second": self.frames_per_second,
            "clips": len(clips),
            "sizes": sizes,
            "steps": self.steps,
            "batch": self.batch,
            "clip": self.clip,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "bf16": self.bf16,
        }
        claim_training(self.out, {**settings, **more}, stores)

    def held_out(self, unseen: ClipData | TokenData, batches: int) -> list[Batch]:
        """That many batches of held-out clips, smaller where there are not enough for a whole one."""
        size = min(self.batch, len(unseen.clips))
        return [unseen.batch(size, self.seed, i) for i in range(batches)]

    def run(
        self,
        trainer: Trainer,
        clips: ClipData | TokenData,
        held_out: list[Batch],
        *,
        picture: Callable[[int], None],
        measure: Callable[[], dict[str, float]],
        watch: CollapseWatch | None = None,
    ) -> None:
        """Trains to the end, from the last checkpoint of the run directory if there is one."""
        train(
            trainer,
            self.out,
            Schedule(self.steps, self.learning_rate, warm_up=WARM_UP),
            lambda step: clips.batch(self.batch, self.seed, step),
            held_out,
            title=self.network.replace("-", " "),
            items_a_batch=self.batch * self.clip,
            item="frames",
            picture=picture,
            measure=measure,
            watch=watch,
        )
