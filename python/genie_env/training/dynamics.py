"""`genie-env train dynamics`: the next frame's tokens, from clips of tokens and latent actions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich import get_console

from genie_env._core import Dynamics, mask_schedule
from genie_env.data.datasets import Clips, TokenData, longest_episode
from genie_env.media.pictures import save_rows
from genie_env.training.clip_training import ClipTraining
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.latent_actions import (
    encoded_actions,
    load_latent_actions,
    watch_latent_actions,
)
from genie_env.training.loop import CollapseWatch
from genie_env.training.options import (
    Bf16Option,
    ClipsOption,
    DataOption,
    DeviceOption,
    FramesPerSecondOption,
    LearningRateOption,
    OutOption,
    StepsOption,
)
from genie_env.training.runs import final_report, load_network, read_checkpoint, read_settings
from genie_env.training.tokenizer import encoded_tokens, load_tokenizer, watch_tokenizer

PICTURED = 2
PICTURED_PAST = 4
PICTURED_STEPS = 4
HELD_OUT_BATCHES = 4
LONG_CLIPS = 8


def load_dynamics(run: Path, action_codes: torch.Tensor) -> Dynamics:
    """The dynamics as a run of `train_dynamics` left them. Raises ValueError unless `action_codes`
    are those that they were trained with."""
    dynamics = load_network(
        run, "dynamics", lambda settings: Dynamics(action_codes, **settings["sizes"])
    )
    learned_with = read_checkpoint(run).get("buffer.action_codes")
    if learned_with is None or not torch.equal(learned_with, action_codes.cpu()):
        made_by = read_settings(run, "dynamics")["latent_actions"]
        raise ValueError(
            f"{run} was trained with other action codes than those given: give the codes of the "
            f"latent actions that it was trained with, in {made_by}, or train it again"
        )
    return dynamics


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


def _check_learned(run: Path, network: str, watch: CollapseWatch) -> None:
    """Raises ValueError unless the run is finished: a network that still learns would not be the
    one that the dynamics know. Says loudly what has collapsed, as that run itself did."""
    report = final_report(run, network)
    if trouble := watch.check(run, report["step"], report["held_out"]):
        trouble += ". The dynamics are learned all the same, and will be as poor"
        get_console().print(trouble, style="bold red", soft_wrap=True)


def train_dynamics(
    data: DataOption,
    tokenizer: Annotated[Path, typer.Option(help="run directory of `train tokenizer`")],
    latent_actions: Annotated[Path, typer.Option(help="run directory of `train latent-actions`")],
    out: OutOption,
    steps: StepsOption = 25000,
    batch: ClipsOption = 4,
    clip: Annotated[
        int | None, typer.Option(help="frames a clip; twice the window unless given", min=2)
    ] = None,
    learning_rate: LearningRateOption = 5e-4,
    width: Annotated[int, typer.Option(help="of the transformer")] = 192,
    heads: Annotated[int, typer.Option(help="of every attention")] = 3,
    blocks: Annotated[int, typer.Option(help="of the transformer")] = 4,
    window: Annotated[int, typer.Option(help="frames that a layer looks at")] = 16,
    passes: Annotated[int, typer.Option(help="the most passes that sampling will make")] = 4,
    seed: Annotated[int, typer.Option(help="of weights, masks and data order", min=0)] = 0,
    bf16: Bf16Option = True,
    device: DeviceOption = "cpu",
    frames_per_second: FramesPerSecondOption = None,
) -> None:
    """Train MaskGIT dynamics on the tokens and latent actions of recorded frames."""
    codes = read_settings(tokenizer, "tokenizer")["sizes"]["codes"]
    _check_learned(tokenizer, "tokenizer", watch_tokenizer(codes, stop=False))
    actions_told = read_settings(latent_actions, "latent-actions")["sizes"]["actions"]
    _check_learned(latent_actions, "latent-actions", watch_latent_actions(actions_told, stop=False))
    clip = 2 * window if clip is None else clip
    training = ClipTraining(
        network="dynamics",
        data=data,
        frames_per_second=frames_per_second,
        out=out,
        steps=steps,
        batch=batch,
        clip=clip,
        learning_rate=learning_rate,
        seed=seed,
        bf16=bf16,
        device=device,
    )
    directories, stores = training.open()
    places, unseen_places = (
        Clips(stores, clip, held_out_part=held_out_part) for held_out_part in (False, True)
    )
    eyes = load_tokenizer(tokenizer, device)
    inferred = load_latent_actions(latent_actions, device)
    sizes: dict[str, Any] = {
        "positions": eyes.positions,
        "codes": eyes.codes,
        "width": width,
        "heads": heads,
        "blocks": blocks,
        "window": window,
        "passes": passes,
    }
    dynamics = Dynamics(inferred.codes().cpu(), seed=seed, **sizes)
    trainer = training.trainer(dynamics)
    training.claim(
        stores,
        places,
        sizes,
        tokenizer=str(tokenizer),
        latent_actions=str(latent_actions),
        # Trained anew in the same place, they would say other things of the same frames.
        weights=[weights_fingerprint(run) for run in (tokenizer, latent_actions)],
    )
    # All that was asked for is checked by now: these may take hours.
    tokens = encoded_tokens(tokenizer, eyes, directories, stores)
    actions = encoded_actions(latent_actions, inferred, directories, stores)
    clips = TokenData(tokens, actions, places)
    held_out = training.held_out(TokenData(tokens, actions, unseen_places), HELD_OUT_BATCHES)
    # Four windows long, where the episodes are: do the dynamics hold beyond the clips they saw?
    long = max(clip, min(4 * window, longest_episode(stores, held_out_part=True)))
    far = TokenData(tokens, actions, Clips(stores, long, held_out_part=True))
    far_clips = far.batch(min(LONG_CLIPS, len(far.clips)), seed, 0)

    def measure() -> dict[str, float]:
        # All tokens of a frame hidden: nats a token, by the frame's index, at powers of two.
        ahead, led = far_clips["tokens"], far_clips["actions"]
        by_frame = dynamics.cross_entropy_by_frame(ahead, led)
        figures = {"hidden_frame": by_frame.mean().item()}
        for index in [2**i for i in range(20) if 2**i < long] + [long - 1]:
            figures[f"hidden_frame_{index}"] = by_frame[index - 1].item()
        # What the right action saves, against those of another moment of the same clips.
        others = dynamics.cross_entropy_by_frame(ahead, led.roll(long // 2, dims=1))
        figures["action_gain"] = (others - by_frame).mean().item()
        return figures

    def picture(step: int) -> None:
        # A start, what really followed, and what is likeliest to follow under every action, held.
        starts, now = min(PICTURED, len(far_clips["tokens"])), min(PICTURED_PAST, long - 1)
        past = far_clips["tokens"][:starts, :now]
        led = far_clips["actions"][:starts, : now - 1]
        real = far_clips["tokens"][:starts, now : now + PICTURED_STEPS]
        codes = torch.arange(dynamics.actions).repeat_interleave(starts)[:, None]
        seen = past.repeat(dynamics.actions, 1, 1)
        taken = led.repeat(dynamics.actions, 1)
        for _ in range(PICTURED_STEPS):
            taken = torch.cat([taken, codes], dim=1)
            seen = torch.cat([seen, likeliest_next(dynamics, seen, taken, passes)], dim=1)
        frames = eyes.decode(torch.cat([past[:, -1:], real[:, -1:]]))[:, 0]
        dreamt = eyes.decode(seen[:, -1:])[:, 0]
        save_rows(out / "actions.png", [*torch.split(frames, starts), *torch.split(dreamt, starts)])

    training.run(trainer, clips, held_out, picture=picture, measure=measure)
