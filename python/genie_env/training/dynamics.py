"""Trains the dynamics: the next frame's tokens, from clips of tokens and actions, latent or recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
import torch
import typer
from rich import get_console

from genie_env._core import Dynamics, Tokenizer, mask_schedule
from genie_env.data.datasets import (
    Batch,
    Clips,
    TokenData,
    longest_episode,
    open_stores,
    rarity_weights,
)
from genie_env.data.progress import say
from genie_env.envs.validation import check_choice
from genie_env.media.pictures import save_rows
from genie_env.training.clip_training import (
    ClipBatch,
    ClipSettings,
    Recordings,
    clip_run,
    clip_schema,
)
from genie_env.training.dynamics_actions import LearnedActions
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.held_codes import hold_codes
from genie_env.training.latent_actions import LATENT_ACTIONS, watch_latent_actions
from genie_env.training.loop import CollapseWatch
from genie_env.training.runs import (
    Network,
    final_report,
    has_begun,
    load_network,
    read_checkpoint,
    read_settings,
    sizes_schema,
)
from genie_env.training.settings import Heads, LearningRate, Steps, Width, size_option
from genie_env.training.tokenizer import TOKENIZER, encoded_tokens, load_tokenizer, watch_tokenizer

PICTURED = 2
PICTURED_PAST = 4
PICTURED_STEPS = 4
HELD_OUT_BATCHES = 4
LONG_CLIPS = 8

ActionKind = Literal["latent", "recorded"]


@dataclass(frozen=True, kw_only=True)
class DynamicsSizes:
    """The sizes of the dynamics, but for those that the tokenizer decides."""

    width: Width = 192
    heads: Heads = 3
    blocks: Annotated[int, size_option("transformer blocks", "blocks")] = 4
    window: Annotated[
        int,
        size_option("attention window of a layer, in frames", "window", least=2),
    ] = 16
    passes: Annotated[
        int,
        size_option(
            "MaskGIT passes per frame that are learned; a world takes up to 64 (--option "
            "passes=N), but has learned no more than these",
            "passes",
        ),
    ] = 4


DYNAMICS = Network(
    "dynamics",
    {
        # Columns, the tokens in a row of a frame, are of dynamics with --local.
        **clip_schema(
            sizes_schema(DynamicsSizes, {"positions": int, "codes": int, "columns?": int})
        ),
        # The latent actions and their weights are null where the actions are those of the recordings.
        **{"tokenizer": str, "latent_actions": (str, None), "weights": [str, (str, None)]},
        **{"emphasis?": float, "held_codes?": float},
    },
    added={"columns": (".neighbours", "previous")},
)


@dataclass(frozen=True, kw_only=True)
class DynamicsSettings(ClipSettings):
    """What `train_dynamics` is given."""

    network = DYNAMICS
    unsaved = ClipSettings.unsaved | {"actions", "local"}  # latent_actions and sizes say it
    saved_if_set = ClipSettings.saved_if_set | {"emphasis", "held_codes"}

    tokenizer: Annotated[Path, typer.Option(help="run directory of `train tokenizer`")]
    actions: Annotated[
        ActionKind,
        typer.Option(
            help="latent: the codes of --latent-actions; recorded: the numbered actions of the "
            "recordings, which the world's are then"
        ),
    ] = "latent"
    latent_actions: Annotated[
        Path | None,
        typer.Option(help="run directory of `train latent-actions`, for --actions latent"),
    ] = None
    steps: Steps = 25000
    batch: ClipBatch = 4
    clip: Annotated[
        int | None,
        typer.Option(help="frames per clip; twice the window unless given", min=2, max=65_536),
    ] = None  # type: ignore[assignment]  # train_dynamics fills it in
    learning_rate: LearningRate = 5e-4
    emphasis: Annotated[
        float,
        typer.Option(
            help="how much more tokens count that are rare at their place, so that small things that "
            "move are learned sooner; 0: all count alike",
            min=0,
            max=1e3,
        ),
    ] = 0.0
    local: Annotated[
        bool,
        typer.Option(
            "--local",
            help="give the network what is near: each token is embedded with the one at its place a "
            "frame before, and each block convolves 3 x 3 neighbours",
        ),
    ] = False
    held_codes: Annotated[
        float,
        typer.Option(
            help="share of the times in which nothing moves, as at a wall, that are learned under the "
            "latent action before them; if above 0, every flash is learned under the one before it. For "
            "recordings in which the player's actions move the picture",
            min=0,
            max=1,
        ),
    ] = 0.0
    sizes: DynamicsSizes = DynamicsSizes()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("actions", self.actions, get_args(ActionKind))
        if self.actions == "latent" and self.latent_actions is None:
            raise ValueError(
                "--actions latent needs --latent-actions, the run directory of `train "
                "latent-actions`: give it, or --actions recorded where the recordings have actions"
            )
        if self.actions == "recorded" and self.latent_actions is not None:
            raise ValueError(
                f"--latent-actions is {self.latent_actions}, but --actions recorded takes the "
                "actions of the recordings: leave out one of the two"
            )
        if self.actions == "recorded" and self.held_codes > 0:
            raise ValueError(
                f"--held-codes is {self.held_codes}, but --actions recorded takes actions that were "
                "chosen, and nothing has to be held: leave out one of the two"
            )

    def recordings(self) -> Recordings:
        if self.actions == "recorded":
            open_stores(self.data)  # refuses video files before they are decoded
        return super().recordings()


def _learned_with(run: Path, action_codes: torch.Tensor) -> bool:
    """Whether the dynamics of a run were trained with these action codes."""
    codes = read_checkpoint(run).get("buffer.action_codes")
    return codes is not None and torch.equal(codes, action_codes.cpu())


def load_dynamics(run: Path, action_codes: torch.Tensor) -> Dynamics:
    """The dynamics as a run of `train_dynamics` left them. Raises ValueError unless `action_codes`
    are those that they were trained with."""
    made_by = read_settings(run, DYNAMICS)["latent_actions"]
    if not _learned_with(run, action_codes):
        right = (
            "the recordings that it was trained on, as they were then"
            if made_by is None
            else f"the codes of the latent actions that it was trained with, in {made_by}"
        )
        raise ValueError(
            f"{run} was trained with other action codes than those given: give {right}, or train it "
            "again"
        )
    return load_network(run, DYNAMICS, lambda settings: Dynamics(action_codes, **settings["sizes"]))


def likeliest_next(
    dynamics: Dynamics, tokens: torch.Tensor, actions: torch.Tensor, passes: int
) -> torch.Tensor:
    """The next frame by greedy MaskGIT, without a cache: for pictures, not for play.

    tokens: int64 [N, T, S]; actions: int64 [N, T], the last of which leads to the frame that is
    returned: int64 [N, 1, S].
    """
    rows, _, positions = tokens.shape
    clip = torch.cat([tokens, torch.zeros_like(tokens[:, :1])], dim=1)
    masked = clip[:, 1:].clone()
    frame = torch.full((rows, positions), dynamics.mask_token)
    for left in mask_schedule(positions, passes):
        masked[:, -1] = frame
        logits = dynamics.logits(clip, masked, actions)[:, -1].cpu()
        likelihood, likeliest = logits.log_softmax(-1).max(-1)
        hidden = frame == dynamics.mask_token
        frame = torch.where(hidden, likeliest, frame)
        doubtful = likelihood.masked_fill(~hidden, math.inf).argsort(dim=1)[:, :left]
        frame.scatter_(1, doubtful, dynamics.mask_token)
    return frame[:, None]


def _check_learned(run: Path, network: Network, watch: CollapseWatch) -> None:
    """Raises ValueError unless the run is finished: what a network that still learns outputs would
    change under the dynamics. Prints the warning of a collapsed codebook once more."""
    report = final_report(run, network)
    if trouble := watch.check(run, report["step"], report["held_out"]):
        trouble += ". The dynamics are learned all the same, and will be as poor"
        get_console().print(trouble, style="bold red", soft_wrap=True)


def _check_same_codes(
    start: Path, tokenizer: Path, weights: Sequence[object], codes: torch.Tensor
) -> None:
    """Raises ValueError unless the run `start` has learned actions of these weights, and tokens of the
    tokenizer or of the one that it was trained on from, whose tokens mean nearly the same."""
    learned, of_actions = read_settings(start, DYNAMICS)["weights"]
    known = weights[0], read_settings(tokenizer, TOKENIZER).get("start_weights")
    if learned not in known or of_actions != weights[1] or not _learned_with(start, codes):
        raise ValueError(
            f"--start {start} has learned the tokens and actions of another tokenizer, of other latent "
            "actions or of another game: give those that it was trained with, or a tokenizer that "
            "was trained on from its own (--start), or leave out --start"
        )


def train_dynamics(settings: DynamicsSettings) -> None:
    """Train MaskGIT dynamics on the tokens of recorded frames and the actions between them."""
    window = settings.sizes.window
    clip = 2 * window if settings.clip is None else settings.clip
    settings = replace(settings, clip=clip)
    tokenizer_run, actions_run = settings.tokenizer, settings.latent_actions
    codes = read_settings(tokenizer_run, TOKENIZER)["sizes"]["codes"]
    _check_learned(tokenizer_run, TOKENIZER, watch_tokenizer(codes, stop=False))
    if actions_run is not None:
        actions = read_settings(actions_run, LATENT_ACTIONS)["sizes"]["actions"]
        _check_learned(actions_run, LATENT_ACTIONS, watch_latent_actions(actions, stop=False))
    recordings = settings.recordings()
    tokenizer = load_tokenizer(tokenizer_run, settings.device)
    sizes = {
        "positions": tokenizer.positions,
        "codes": tokenizer.codes,
        **asdict(settings.sizes),
        **({"columns": tokenizer.columns} if settings.local else {}),
    }
    taken = (
        LearnedActions.recorded(recordings)
        if actions_run is None
        else LearnedActions.latent(actions_run, settings.device, recordings)
    )
    dynamics = Dynamics(taken.codes, seed=settings.seed, token_codes=tokenizer.codebook(), **sizes)
    # Where one of the two was trained again in the same place, its tokens mean something else.
    weights = [run and weights_fingerprint(run) for run in (tokenizer_run, actions_run)]
    if settings.start is not None and not has_begun(settings.out):
        if "columns" in read_settings(settings.start, DYNAMICS)["sizes"] and not settings.local:
            raise ValueError(f"--start {settings.start} was trained with --local: give it as well")
        _check_same_codes(settings.start, tokenizer_run, weights, taken.codes)
    directories, stores = recordings.directories, recordings.stores
    with clip_run(settings, recordings, dynamics, sizes, weights=weights) as run:
        # These may take hours, so everything has been checked by now.
        tokens = encoded_tokens(tokenizer_run, tokenizer, directories, stores)
        rarity = None
        if settings.emphasis > 0:
            rarity = rarity_weights(stores, tokens, tokenizer.codes, settings.emphasis)
        of_stores = taken.of_stores()
        if settings.held_codes > 0:
            inferred = of_stores
            of_stores = hold_codes(stores, tokens, inferred, settings.held_codes, settings.seed)
            changed = np.concatenate(inferred) != np.concatenate(of_stores)
            say(f"--held-codes changes {changed.mean():.1%} of the latent actions")
        data = partial(TokenData, tokens, of_stores, weights=rarity)
        # Four windows long, where the episodes are: do predictions stay good beyond a training clip?
        long = max(clip, min(4 * window, longest_episode(stores, held_out_part=True)))
        long_clips = Clips(stores, long, held_out_part=True)
        long_batch = data(long_clips).batch(min(LONG_CLIPS, len(long_clips)), settings.seed, 0)
        run.train(
            data,
            held_out_batches=HELD_OUT_BATCHES,
            measure=lambda held_out: measure(dynamics, long_batch),
            picture=lambda held_out: save_rows(
                settings.out / "actions.png",
                picture(dynamics, tokenizer, long_batch, settings.sizes.passes),
            ),
        )


def measure(dynamics: Dynamics, clips: Batch) -> dict[str, float]:
    """Held-out figures in nats a token, all tokens of the predicted frame hidden.

    "hidden_frame", the mean; "hidden_frame_i", of frame i of the clips; "action_gain", how much
    better the right actions predict than those of another moment of the same clips.
    """
    tokens, actions = clips["tokens"], clips["actions"]
    length = tokens.shape[1]
    by_frame = dynamics.cross_entropy_by_frame(tokens, actions)
    figures = {"hidden_frame": by_frame.mean().item()}
    for index in [2**i for i in range(20) if 2**i < length] + [length - 1]:
        figures[f"hidden_frame_{index}"] = by_frame[index - 1].item()
    others = dynamics.cross_entropy_by_frame(tokens, actions.roll(length // 2, dims=1))
    figures["action_gain"] = (others - by_frame).mean().item()
    return figures


def picture(
    dynamics: Dynamics, tokenizer: Tokenizer, clips: Batch, passes: int
) -> list[torch.Tensor]:
    """Rows of frames, uint8 [starts, H, W, 3] each: the starts, what really followed some steps
    later, and the likeliest frame then under each action, held."""
    tokens, actions = clips["tokens"], clips["actions"]
    starts, now = min(PICTURED, len(tokens)), min(PICTURED_PAST, tokens.shape[1] - 1)
    past = tokens[:starts, :now]
    real = tokens[:starts, now : now + PICTURED_STEPS]
    held = torch.arange(dynamics.actions).repeat_interleave(starts)[:, None]
    dreamt = past.repeat(dynamics.actions, 1, 1)
    taken = actions[:starts, : now - 1].repeat(dynamics.actions, 1)
    for _ in range(PICTURED_STEPS):
        taken = torch.cat([taken, held], dim=1)
        dreamt = torch.cat([dreamt, likeliest_next(dynamics, dreamt, taken, passes)], dim=1)
    frames = tokenizer.decode(torch.cat([past[:, -1:], real[:, -1:]]))[:, 0]
    dreamt_frames = tokenizer.decode(dreamt[:, -1:])[:, 0]
    return [*torch.split(frames, starts), *torch.split(dreamt_frames, starts)]
