"""The commands of `genie-env`, in the order of its help. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_RESUMES = "the same command goes on from here"


@dataclass(frozen=True)
class Command:
    """A command that is imported when it runs, or when its own help is asked for."""

    group: Literal["", "train", "freeze"]
    """The command that it is a subcommand of, if any."""
    name: str
    where: str
    """The typer function, as "module:function"."""
    help: str
    """The first line of the function's docstring."""
    example: str
    """A command line that works, without "genie-env"."""
    when_stopped: str = ""
    """What to do after Ctrl-C, if anything."""


GROUPS = {
    "train": "Train the parts of a world, or an agent inside one.",
    "freeze": "Freeze trained networks into a world directory.",
}

# TODO(merge): genie_env.families.commands.family_commands replaces both lists.
_TRAIN = [
    Command(
        "train",
        "vision",
        "genie_env.training.vision:train_vision",
        "Train V, a variational autoencoder, on recorded frames.",
        "train vision --data data/doom --out runs/vision",
        _RESUMES,
    ),
    Command(
        "train",
        "memory",
        "genie_env.training.memory:train_memory",
        "Train M, an LSTM with a mixture density output, on what V makes of recorded episodes.",
        "train memory --data data/doom --vision runs/vision --out runs/memory",
        _RESUMES,
    ),
    Command(
        "train",
        "tokenizer",
        "genie_env.training.tokenizer:train_tokenizer",
        "Train a video tokenizer, a VQ-VAE, on recorded frames.",
        "train tokenizer --data clips/*.mp4 --frames-per-second 10 --out runs/tokenizer",
        _RESUMES,
    ),
    Command(
        "train",
        "latent-actions",
        "genie_env.training.latent_actions:train_latent_actions",
        "Train a latent action model on recorded frames, without their actions.",
        "train latent-actions --data clips/*.mp4 --frames-per-second 10 --out runs/actions",
        _RESUMES,
    ),
    Command(
        "train",
        "dynamics",
        "genie_env.training.dynamics:train_dynamics",
        "Train MaskGIT dynamics on the tokens and latent actions of recorded frames.",
        "train dynamics --data clips/*.mp4 --frames-per-second 10 --tokenizer runs/tokenizer "
        "--latent-actions runs/actions --out runs/dynamics",
        _RESUMES,
    ),
]
_FREEZE = [
    Command(
        "freeze",
        "vision-memory",
        "genie_env.families.vision_memory.freeze:freeze_vision_memory",
        "Freeze V and M into a world directory.",
        "freeze vision-memory --vision runs/vision --memory runs/memory --out runs/world",
    ),
    Command(
        "freeze",
        "genie",
        "genie_env.families.genie.freeze:freeze_genie",
        "Freeze a tokenizer, the codebook of latent actions and dynamics into a world directory.",
        "freeze genie --dynamics runs/dynamics --out runs/world",
    ),
]

COMMANDS = [
    Command(
        "",
        "demo",
        "genie_env.cli.demo:demo",
        "Train a controller inside a dream for three minutes, then let it play the real game.",
        "demo --minutes 3 --out demo",
    ),
    Command(
        "",
        "worlds",
        "genie_env.cli.worlds:worlds",
        "List the installed worlds, or show one with its options and observations.",
        "worlds doom-genie",
    ),
    Command(
        "",
        "record",
        "genie_env.cli.record:record",
        "Play a real game and record every frame, action, reward and end.",
        "record doom-take-cover --episodes 1500 --out data/doom",
        _RESUMES,
    ),
    Command(
        "",
        "inspect",
        "genie_env.cli.inspect:inspect",
        "Print what recorded episodes hold, and write a contact sheet of their frames.",
        "inspect data/doom",
    ),
    *_TRAIN,
    Command(
        "train",
        "controller",
        "genie_env.cli.train_controller:train_controller_command",
        "Train a linear controller by CMA-ES, entirely inside the dream.",
        "train controller --world doom-take-cover --steps 10M --out runs/agent",
        _RESUMES,
    ),
    Command(
        "",
        "map-actions",
        "genie_env.evaluation.action_mapping:map_actions",
        "Map latent actions to real ones with a few labels; compare with a supervised classifier.",
        "map-actions --latent-actions runs/actions --data data/doom --labelled 200 --out runs/map",
        "the codes and a classifier that is finished are kept",
    ),
    *_FREEZE,
    Command(
        "",
        "dream",
        "genie_env.cli.dream:dream",
        "Dream on from a picture: a clip for every action, held from beginning to end.",
        "dream --world doom-genie --picture picture.png --out clips",
    ),
    Command(
        "",
        "calibrate",
        "genie_env.cli.calibrate:calibrate",
        "Find the temperature at which blind policies score as high in the dream as in the real game.",
        "calibrate --world runs/world --out runs/calibration",
        _RESUMES,
    ),
    Command(
        "",
        "fidelity",
        "genie_env.evaluation.fidelity:fidelity",
        "Measure how well a world foretells recorded episodes, and what its actions control.",
        "fidelity --world doom-genie --data data/doom --out runs/fidelity",
    ),
    Command(
        "",
        "dream-score",
        "genie_env.cli.dream_score:dream_score",
        "Play fresh dreams with an agent: the score that chooses among agents.",
        "dream-score --world doom-take-cover --agent runs/agent/agent.safetensors",
    ),
    Command(
        "",
        "evaluate",
        "genie_env.cli.evaluate:evaluate",
        "Play the real game, with an agent or a blind policy.",
        "evaluate --world doom-take-cover --agent runs/agent/agent.safetensors --episodes 100",
        f"with --json, {_RESUMES}",
    ),
    Command(
        "",
        "table",
        "genie_env.cli.table:table",
        "Train at several temperatures with equal budgets; compare dream and real game.",
        "table --world runs/world --steps 10M --temperature 0.5 1.0 1.3 --out runs/table",
        _RESUMES,
    ),
    Command(
        "",
        "bench",
        "genie_env.bench.bench:bench",
        "Measure steps/s against batch size: features only, with decoding, and as NumPy arrays.",
        "bench --world doom-take-cover --batch 1 64 1024",
    ),
]
