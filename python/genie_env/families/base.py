"""What Python needs to know of a world family, beside the C++ code that loads and steps its worlds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from genie_env._core import WorldSpec
    from genie_env.envs.latent_actions import ActionInference

Options = Mapping[str, bool | int | float | str]
"""The values of a world's options, by name."""


@dataclass(frozen=True)
class Command:
    """A command of `genie-env`, imported when it runs, or when its own help is asked for."""

    group: Literal["", "import", "train", "freeze"]
    """The command that it is a subcommand of, if any; a family's always are."""
    name: str
    where: str
    """The typer function, as "module:function"."""
    help: str
    """The first line of the function's docstring."""
    example: str
    """A command line that works, without "genie-env"."""
    when_stopped: str = ""
    """What to do after Ctrl-C, if anything."""


RESUMES = "the same command goes on from here"
"""`when_stopped` of a command that resumes what it began."""


@dataclass(frozen=True)
class Product:
    """A matrix product with weights, [rows, inner] x [inner, outer], of one row of a batch."""

    layer: str
    """Products of one layer share its weights."""
    rows: int
    inner: int
    outer: int

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.inner * self.outer


@dataclass(frozen=True)
class Costs:
    """The arithmetic of one row's step, as far as it is matrix products with weights."""

    step: Sequence[Product]
    """Of a step without pictures, in their order."""
    decoding: Sequence[Product] = ()
    """Of decoding one frame, in addition."""
    warm_up_steps: int = 0
    """Steps of an episode after which a step costs what all later ones cost."""


@dataclass(frozen=True)
class Family:
    """A world family. Only the name is required.

        register_family(Family("linear-gaussian", default_batches=(1, 64)))

    Help texts list families without loading torch, so the functions here import what they need when
    they are called.
    """

    name: str
    """As in config.json."""
    default_batches: Sequence[int] = (1, 16, 64, 256, 1024)
    """The batch sizes that `genie-env bench` measures by default."""
    costs: Callable[[Mapping[str, Any], Options], Costs] | None = None
    """From a config.json and the options in force. Without it, `bench` shows no share of what the
    matrix products allow."""
    random_world: Callable[[Path, str], Path] | None = None
    """Writes a world of random weights into a directory, for `bench --random NAME:SIZES`; returns
    the directory. Raises ValueError where SIZES cannot be."""
    random_sizes: str = ""
    """An example of SIZES, for help texts."""
    action_codes: Callable[[Path], torch.Tensor] | None = None
    """The codebook of latent actions in a world directory, float32 [actions, dimensions]: goes with
    `infer_actions`."""
    infer_actions: Callable[[Path], ActionInference] | None = None
    """Loads the model in a world directory that infers latent actions from frames; raises ValueError
    where it has none. Not called for a world whose config.json says of its "actions" that they are
    "recorded" (`envs.latent_actions.has_latent_actions`). None where actions are always those of the
    recordings."""
    latents: Callable[[WorldSpec], tuple[str, str, int]] | None = None
    """What a world's latents are called, the observation that begins with them, and how many they
    are, where no observation is just that."""
    frames_alone: bool = False
    """Whether its worlds are learned without rewards and ends, and pay reward 0 and never terminate,
    unless their config.json says otherwise (see knows_outcomes)."""
    prepare: Callable[[Path, Options], None] | None = None
    """Called before the world of a directory is loaded with the given options of its family."""
    calibrated_option: str | None = None
    """The option whose every value `genie-env calibrate` tries beside the temperature."""
    commands: Sequence[Command] = ()
    """Its commands of `genie-env train`, `import` and `freeze`."""
