"""A supervised classifier of actions: how well frames predict them, with every label.

A latent action model with a dictionary is compared with it. Both get the same frames: those up to
the transition's second one, as many as the model's receptive field has.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.nn.utils.rnn import pad_sequence

from genie_env._core import EpisodeStore, LatentAction
from genie_env.data.datasets import held_out, shuffled
from genie_env.data.midway import Midway, Tensors
from genie_env.data.progress import Progress
from genie_env.data.recording_metadata import numbered_actions
from genie_env.training.loop import Schedule

PIECE = 64
"""The most transitions of an episode that are classified at once."""
PIECES = 4
"""Pieces a batch."""
VALIDATION_EVERY = 20
"""Every 20th training episode is not trained on; these decide which weights are kept."""
WIDTH = 16
FEATURES = 128
DROPOUT = 0.2
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.01
WARM_UP = 100
EVALUATIONS = 12
# Of pixels from 0 to 255: a little more than what rounding to 256 levels does to a frame without
# contrast.
VARIANCE_FLOOR = LatentAction.variance_floor * 255**2


class Piece(NamedTuple):
    """The transitions from frames first .. last - 1 of one episode, and the frames before them that
    they depend on."""

    store: int
    reads_from: int
    first: int
    last: int


@dataclass(frozen=True)
class Classified:
    """Figures of a trained classifier."""

    accuracy: float
    """The share of held-out transitions whose action it predicts."""
    transitions: int
    """Held-out transitions."""
    validation_accuracy: float
    """Of the best weights, on training episodes that were not trained on."""
    step: int
    """Updates after which those weights were reached."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class ActionClassifier(nn.Module):
    """A convolutional network over every two consecutive frames, and a convolution in time over its
    outputs for the last window - 1 such pairs."""

    def __init__(self, frame: tuple[int, int], actions: int, window: int) -> None:
        super().__init__()
        self.window = window
        sizes = [6, WIDTH, 2 * WIDTH, 2 * WIDTH, 2 * WIDTH]
        layers: list[nn.Module] = []
        for index, (inner, outer) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            kernel = 5 if index == 0 else 3
            layers += [nn.Conv2d(inner, outer, kernel, stride=2, padding=kernel // 2), nn.ReLU()]
        height, width = (-(-side // 2 ** (len(sizes) - 1)) for side in frame)
        flat = sizes[-1] * height * width
        self.pair = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, FEATURES), nn.ReLU())
        self.pair.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.past = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Conv1d(FEATURES, FEATURES, window - 1), nn.ReLU()
        )
        self.action = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(FEATURES, actions))

    def forward(self, pairs: Tensor, lengths: list[int]) -> Tensor:
        """pairs: float32 [M, 6, H, W], those of pieces of `lengths`, one after another. Logits:
        float32 [len(lengths), longest, actions]; those after the end of a shorter piece mean nothing."""
        features = pad_sequence(self.pair(pairs).split(lengths), batch_first=True).transpose(1, 2)
        # Zeros before the first pair.
        past = self.past(pad(features, (self.window - 2, 0))).transpose(1, 2)
        logits: Tensor = self.action(past)
        return logits


def frame_pairs(frames: Tensor) -> Tensor:
    """uint8 [T + 1, H, W, 3] -> float32 [T, 6, H, W]: each frame, and its change to the next one,
    every colour channel of a frame with mean 0 and deviation 1, as the latent action model gets it.
    """
    pixels = frames.permute(0, 3, 1, 2).float()
    centred = pixels - pixels.mean((2, 3), keepdim=True)
    variance = centred.square().mean((2, 3), keepdim=True)
    standardised = centred / (variance + VARIANCE_FLOOR).sqrt()
    return torch.cat([standardised[:-1], standardised[1:] - standardised[:-1]], dim=1)


class PieceData:
    """Recorded episodes, cut into pieces."""

    def __init__(self, stores: Sequence[EpisodeStore], window: int) -> None:
        """`window`: the frames that a prediction depends on, the transition's second one included."""
        self._frames = [store.frames for store in stores]
        self._actions = [numbered_actions(store) for store in stores]
        self.trained: list[Piece] = []
        self.validation: list[Piece] = []
        self.held_out: list[Piece] = []
        usable = 0
        for index, store in enumerate(stores):
            starts = store.episode_starts.tolist()
            episodes = zip(starts[:-1], starts[1:], held_out(store), strict=True)
            for start, stop, unseen in episodes:
                pieces = [
                    Piece(
                        store=index,
                        reads_from=max(start, first - window + 2),
                        first=first,
                        last=min(first + PIECE, stop - 1),
                    )
                    for first in range(start, stop - 1, PIECE)
                ]
                if unseen:
                    self.held_out += pieces
                elif pieces:
                    kept = usable % VALIDATION_EVERY == 0
                    (self.validation if kept else self.trained).extend(pieces)
                    usable += 1
        if not self.trained or not self.held_out:
            raise ValueError(
                "too few episodes: a supervised classifier needs transitions between two frames "
                f"in {2 if self.held_out else 'held-out and in 2'} training episodes; record more"
            )

    def pairs(self, pieces: Sequence[Piece]) -> tuple[Tensor, list[int]]:
        """What `ActionClassifier` takes."""
        clips = [
            frame_pairs(torch.from_numpy(self._frames[p.store][p.reads_from : p.last + 1].copy()))
            for p in pieces
        ]
        pairs = torch.cat(clips).contiguous(memory_format=torch.channels_last)
        return pairs, [len(clip) for clip in clips]

    def actions(self, pieces: Sequence[Piece]) -> Tensor:
        """int64 [M]: the actions of the transitions of the pieces."""
        actions = [self._actions[p.store][p.first : p.last] for p in pieces]
        return torch.from_numpy(np.concatenate(actions).astype(np.int64))


def classify(network: ActionClassifier, data: PieceData, pieces: Sequence[Piece]) -> Tensor:
    """Logits of the transitions of the pieces: float32 [M, actions]."""
    logits = network(*data.pairs(pieces))
    rows = [logits[i, p.first - p.reads_from : p.last - p.reads_from] for i, p in enumerate(pieces)]
    return torch.cat(rows)


def measure(network: ActionClassifier, data: PieceData, pieces: Sequence[Piece]) -> float:
    """The share of the transitions whose action the network predicts."""
    network.eval()
    right = count = 0
    with torch.no_grad():
        for first in range(0, len(pieces), PIECES):
            batch = pieces[first : first + PIECES]
            actions = data.actions(batch)
            right += int((classify(network, data, batch).argmax(1) == actions).sum())
            count += len(actions)
    network.train()
    return right / count


def train_classifier(
    stores: Sequence[EpisodeStore],
    *,
    actions: int,
    window: int,
    steps: int,
    seed: int,
    midway: Midway,
) -> Classified:
    """Trains on the labels of the training episodes, and measures on the held-out ones.

    `actions`: how many there are; `window`: the frames that a prediction depends on. The weights that
    are kept are those that were best on the training episodes that were set aside. Torch's global
    generator is left as it was. `midway` keeps checkpoints.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected 1 or more")
    data = PieceData(stores, window)
    height, width = stores[0].height, stores[0].width
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ActionClassifier((height, width), actions, window)
        best, step, validated = _fit(network, data, steps, seed, midway)
    network.load_state_dict(best)
    return Classified(
        accuracy=measure(network, data, data.held_out),
        transitions=sum(p.last - p.first for p in data.held_out),
        validation_accuracy=validated,
        step=step,
    )


Best = tuple[Tensors, int, float]
"""The best weights, the updates that they took, and their share of right predictions."""


def _fit(network: ActionClassifier, data: PieceData, steps: int, seed: int, midway: Midway) -> Best:
    schedule = Schedule(steps, LEARNING_RATE, max(1, steps // EVALUATIONS), warm_up=WARM_UP)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    best: Best = ({}, 0, -1.0)
    first = 0
    if midway.found:
        first, best = _load_checkpoint(midway.found, network, optimizer)
    columns = (
        TextColumn("classifier"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} transitions/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[found]}"),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("", total=steps, completed=first, rate=0.0, found="")
        since, done = time.perf_counter(), 0
        for step in range(first + 1, steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate_at(step - 1)
            batch = _batch(data.trained, seed, step - 1)
            labels = data.actions(batch)
            loss = cross_entropy(classify(network, data, batch), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += len(labels)
            progress.update(task, completed=step, rate=done / (time.perf_counter() - since))
            if schedule.evaluates_at(step):
                right = measure(network, data, data.validation)
                progress.update(task, found=f"validation {right:.1%}")
                if right > best[2]:
                    weights = {k: v.clone() for k, v in network.state_dict().items()}
                    best = (weights, step, right)
            midway.keep(partial(_checkpoint, step, best, network, optimizer))
    return best


def _checkpoint(
    step: int, best: Best, network: ActionClassifier, optimizer: torch.optim.Optimizer
) -> Tensors:
    """All that `_load_checkpoint` goes on from, dropout's random numbers included."""
    weights, best_step, right = best
    moments = {
        f"optimizer.{parameter}.{name}": value
        for parameter, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    return {
        "step": torch.tensor(step),
        "random": torch.get_rng_state(),
        **{f"network.{name}": weight for name, weight in network.state_dict().items()},
        **moments,
        "best_step": torch.tensor(best_step),
        "right": torch.tensor(right, dtype=torch.float64),
        **{f"best.{name}": weight for name, weight in weights.items()},
    }


def _load_checkpoint(
    found: Tensors, network: ActionClassifier, optimizer: torch.optim.Optimizer
) -> tuple[int, Best]:
    """The updates that were made, and the best of them."""

    def named(prefix: str) -> Tensors:
        names = (name for name in found if name.startswith(prefix))
        return {name.removeprefix(prefix): found[name] for name in names}

    torch.set_rng_state(found["random"])
    network.load_state_dict(named("network."))
    parameters = [*network.parameters()]
    moments: dict[int, Tensors] = {}
    for key, value in named("optimizer.").items():
        index, name = key.split(".")
        if value.dim() > 0:  # in the parameter's layout, on which the update's bits may depend
            value = torch.empty_like(parameters[int(index)]).copy_(value)
        moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    best = named("best."), int(found["best_step"]), float(found["right"])
    return int(found["step"]), best


def _batch(pieces: Sequence[Piece], seed: int, step: int) -> list[Piece]:
    """Batch number `step` of an endless sequence of epochs, each in an order of its own."""
    size = min(PIECES, len(pieces))
    epoch, place = divmod(step, len(pieces) // size)
    order = shuffled(len(pieces), seed, epoch)[place * size : (place + 1) * size]
    return [pieces[i] for i in order]
