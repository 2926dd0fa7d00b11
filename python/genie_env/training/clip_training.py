"""What the trainings of tokenizer, latent actions and dynamics have in common: each learns from
clips of consecutive frames, in a run directory of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from genie_env._core import EpisodeStore, Model
from genie_env.data.datasets import Batch, ClipData, Clips, TokenData, check_enough, open_stores
from genie_env.data.run_directory import SETTINGS
from genie_env.data.videos import as_directories
from genie_env.envs.json_files import Schema, read_json
from genie_env.envs.options import DType
from genie_env.training.dtype import MakeTrainer
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.loop import CollapseWatch, Schedule, train
from genie_env.training.runs import COMMON, claim_training, has_begun, start_from
from genie_env.training.settings import TrainingSettings

WARM_UP = 500
"""Updates in which the learning rate rises; a tenth of all updates in runs of fewer than 5,000."""

FRAME: Schema = {"frame": [int, int]}
"""Of the sizes of a network that reads frames: [height, width]."""


def clip_schema(sizes: Schema) -> Schema:
    """The settings of every training from clips."""
    return {
        **COMMON,
        "clip": int,
        "frames_per_second": (float, None),
        "skip_bad?": bool,
        "start?": (str, None),
        "start_weights?": str,
        "sizes": sizes,
    }


Sources = Annotated[
    list[Path],
    typer.Option(help="directories of recorded episodes, video files or folders of them, or all"),
]
ClipBatch = Annotated[int, typer.Option(help="clips per batch", min=1, max=65_536)]
ClipLength = Annotated[int, typer.Option(help="frames per clip", min=2, max=65_536)]
FramesPerSecond = Annotated[
    float | None,
    typer.Option(
        help="rate that video files are resampled to; their own unless given", min=1e-3, max=1000
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="leave video files out that cannot be used, and say at the end which, and why",
    ),
]
Start = Annotated[
    Path | None,
    typer.Option(help="run directory, of the same network and sizes, that training starts from"),
]
StopOnCollapse = Annotated[
    bool, typer.Option(help="end the run when the codebook collapses, instead of only warning")
]


@dataclass(frozen=True, kw_only=True)
class ClipSettings(TrainingSettings):
    """What a training from clips is given."""

    data: Sources
    batch: ClipBatch
    clip: ClipLength
    frames_per_second: FramesPerSecond = None
    skip_bad: SkipBad = False
    start: Start = None

    saved_if_set: ClassVar[frozenset[str]] = frozenset({"skip_bad", "start"})
    """Fields that runs of older versions did not save."""

    def saved(self) -> dict[str, Any]:
        unset = {name for name in self.saved_if_set if not getattr(self, name)}
        return {name: value for name, value in super().saved().items() if name not in unset}

    def recordings(self) -> Recordings:
        """The data. Raises ValueError where it is not enough for a batch or a held-out clip."""
        directories = as_directories(self.data, self.frames_per_second, skip_bad=self.skip_bad)
        stores = open_stores(directories)
        check_enough(stores, trained=self.batch * self.clip, unseen=self.clip)
        return Recordings(directories, stores)


@dataclass(frozen=True)
class Recordings:
    """Directories of episodes, those decoded from videos among them, and what they hold."""

    directories: Sequence[Path]
    stores: Sequence[EpisodeStore]

    @property
    def frame(self) -> list[int]:
        """[height, width] of every frame."""
        return [self.stores[0].height, self.stores[0].width]


@contextmanager
def clip_run(
    settings: ClipSettings,
    recordings: Recordings,
    model: Model,
    sizes: Mapping[str, Any],
    **more: Any,
) -> Iterator[ClipRun]:
    """Checks everything, then claims the run directory while the block runs. `sizes` are the
    model's; `more` are settings that the run also depends on."""
    trained, held_out = (
        Clips(recordings.stores, settings.clip, held_out_part=part) for part in (False, True)
    )
    saved = {**settings.saved(), "clips": len(trained), "sizes": dict(sizes), **more}
    if settings.start is not None:
        saved |= _start_weights(settings.start, settings.out)
        if not has_begun(settings.out):
            start_from(settings.start, settings.network, model, saved, ("sizes",))
    make_trainer = settings.trainers(model)
    with claim_training(settings.out, saved, recordings.stores) as dtype:
        yield ClipRun(settings, trained, held_out, make_trainer, dtype)


def _start_weights(start: Path, out: Path) -> dict[str, str]:
    """What settings say of the weights that the run in `out` starts, or has started, from."""
    if not has_begun(out):
        return {"start_weights": weights_fingerprint(start)} if has_begun(start) else {}
    known = read_json(out / SETTINGS).get("start_weights")  # older runs did not save them
    return {} if known is None else {"start_weights": known}


@dataclass(frozen=True)
class ClipRun:
    """One training from clips, in its run directory; see `clip_run`."""

    settings: ClipSettings
    trained: Clips
    held_out: Clips
    make_trainer: MakeTrainer
    dtype: DType

    def train(
        self,
        data: Callable[[Clips], ClipData | TokenData],
        *,
        held_out_batches: int,
        measure: Callable[[list[Batch]], dict[str, float]],
        picture: Callable[[list[Batch]], None],
        watch: CollapseWatch | None = None,
    ) -> None:
        """Trains to the end, from the last checkpoint of the run directory if there is one.

        `data` makes batches of clips. `measure` and `picture` get the held-out batches, which are
        smaller where there are not enough clips for a whole one.
        """
        settings = self.settings
        clips, unseen = data(self.trained), data(self.held_out)
        size = min(settings.batch, len(self.held_out))
        held_out = [unseen.batch(size, settings.seed, i) for i in range(held_out_batches)]
        train(
            self.make_trainer,
            self.dtype,
            settings.out,
            Schedule(
                settings.steps,
                settings.learning_rate,
                warm_up=min(WARM_UP, settings.steps // 10),
            ),
            lambda step: clips.batch(settings.batch, settings.seed, step),
            held_out,
            title=settings.network.name.replace("-", " "),
            items_a_batch=settings.batch * settings.clip,
            item="frames",
            picture=lambda step: picture(held_out),
            measure=lambda: measure(held_out),
            watch=watch,
        )
