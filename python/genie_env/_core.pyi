"""
What genie_env does in C++.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import os
import pathlib
import torch
import typing
__all__: list[str] = ['ActionSpec', 'AtomicFile', 'Busy', 'Dynamics', 'EpisodeStore', 'EpisodeWriter', 'ExportedGraph', 'FormatError', 'Heads', 'LatentAction', 'Memory', 'Model', 'Option', 'OptionSpec', 'PackedProduct', 'RowCounters', 'Snapshot', 'StartBank', 'TensorSpec', 'Tokenizer', 'Trainer', 'VecEnv', 'VecEnvOptions', 'VecEnvStep', 'Vision', 'World', 'WorldFamily', 'WorldSpec', 'WorldState', 'WorldStep', 'build_info', 'check_archive', 'compiled_folder', 'compiling_machine', 'limits', 'mask_schedule', 'safetensors_bytes', 'why_not_served', 'world_families']
class FormatError(ValueError):
    """
    A file or directory that is not what its format promises. The text names the file and the field.
    """
class Busy(RuntimeError):
    """
    A call beside one of another thread, of an environment, trainer, network, state or writer. The text names both calls; nothing was done.
    """
class AtomicFile:
    """
    A file that readers see whole or not at all: it is written under a temporary name in the same
    directory, then renamed. No other writer, in this process or another, has that name.
    
        with AtomicFile("figures.json") as temporary:
            temporary.write_text(text)
    
    The end of the block publishes the file; where the block raises, nothing new is left behind.
    """
    def __enter__(self) -> pathlib.Path:
        ...
    def __exit__(self, arg0: typing.Any, *args) -> None:
        ...
    def __init__(self, file: os.PathLike | str | bytes) -> None:
        """
        Creates the temporary file, empty. The directory must exist. Raises OSError.
        """
    def publish(self) -> None:
        """
        Waits until the file is on the disk (fsync), and gives it its name, in place of an older file.
        
        Raises OSError where that fails: an older file is then as it was, and the temporary file removed.
        """
    @property
    def temporary(self) -> pathlib.Path:
        """
        Where to write the file.
        """
class PackedProduct:
    """
    The product of a frozen layer alone, as the worlds multiply on the CPU, on all threads: the rate that it reaches is the most that a step of such layers can reach.
    """
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """
        x: [rows, inner]. Returns x W^T, float32 [rows, outer].
        """
    def __init__(self, weight: torch.Tensor, dtype: str) -> None:
        """
        weight: float32 [outer, inner] on the CPU. dtype: of the inputs, "float32" or "bfloat16". Raises ValueError on another dtype, and on one that this processor cannot multiply.
        """
class EpisodeWriter:
    """
    Appends whole episodes to a directory of standard NumPy arrays (see EpisodeStore).
    
    An episode is stored once `append` has returned; a kill loses at most the one in flight. A directory
    has one writer at a time. The writer is a context manager that closes the files. A call while
    another thread is in one raises Busy; `close` waits.
    
        meta = {"format_version": 1, "game": "my-game", "actions": ["left", "right"]}
        with EpisodeWriter("data/take-cover", 64, 64, json.dumps(meta)) as writer:
            writer.append(frames, actions, rewards, terminations, truncations)
    """
    def __enter__(self) -> typing.Any:
        ...
    def __exit__(self, *args) -> None:
        ...
    def __init__(self, directory: os.PathLike | str | bytes, height: typing.SupportsInt, width: typing.SupportsInt, meta: str) -> None:
        """
        Creates the directory, or continues after its last whole episode (frames must then have the same
        size).
        
        `meta` is the text of meta.json, of format 1 or 2 (docs/formats.md); an existing one is replaced,
        which must have declared the same columns and actions. Raises ValueError on wrong arguments, FormatError on a damaged directory or one of another
        format version, RuntimeError when another writer has it open or the disk is full. Warns
        (RuntimeWarning) of episodes that a power loss or an incomplete copy took; what is left of them is
        copied to lost_1/ within the directory.
        """
    def append(self, frames: numpy.ndarray, actions: numpy.ndarray, rewards: numpy.ndarray, terminations: numpy.ndarray, truncations: numpy.ndarray, final_frame: numpy.ndarray | None = None) -> None:
        """
        Appends one episode of T steps.
        
        frames uint8 [T, height, width, 3], actions int64 [T] or float32 [T, ...] as meta declares, rewards
        float32 [T], terminations and truncations bool [T], one of them true at the last step and none
        before, final_frame uint8 [height, width, 3] where meta declares final frames. Raises ValueError on
        other arguments, RuntimeError when the disk is full; appending works again once there is room.
        """
    def close(self) -> None:
        """
        Closes the files; may be called again.
        """
    @property
    def num_episodes(self) -> int:
        """
        Complete episodes in the directory.
        """
    @property
    def num_frames(self) -> int:
        ...
class EpisodeStore:
    """
    A directory of recorded episodes, mapped into memory: N frames of E episodes.
    
    Index t holds frame t, the action chosen on seeing it, and the reward and flags that this action
    brought. The arrays are read-only views that stay valid as long as they are referenced.
    It holds the episodes that were complete when it was opened.
    """
    def __init__(self, directory: os.PathLike | str | bytes) -> None:
        """
        Checks every file against the others.
        
        Raises FormatError naming the file. After a power loss, or in an incomplete copy, it holds the whole
        episodes before the first that is not, and warns of the others (RuntimeWarning).
        """
    @property
    def actions(self) -> numpy.ndarray:
        """
        int64 [N] of numbered actions, float32 [N, ...] of a box
        """
    @property
    def episode_starts(self) -> numpy.typing.NDArray[numpy.int64]:
        """
        int64 [E + 1]: episode e is frames[starts[e]:starts[e + 1]]
        """
    @property
    def final_frames(self) -> numpy.typing.NDArray[numpy.uint8] | None:
        """
        uint8 [E, height, width, 3]: the frame after each episode's last action; None where the game shows none
        """
    @property
    def frames(self) -> numpy.typing.NDArray[numpy.uint8]:
        """
        uint8 [N, height, width, 3]
        """
    @property
    def height(self) -> int:
        ...
    @property
    def meta(self) -> str:
        """
        The text of meta.json: how the episodes were recorded.
        """
    @property
    def num_episodes(self) -> int:
        ...
    @property
    def num_frames(self) -> int:
        ...
    @property
    def rewards(self) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [N]
        """
    @property
    def terminations(self) -> numpy.typing.NDArray[numpy.bool]:
        """
        bool [N]
        """
    @property
    def truncations(self) -> numpy.typing.NDArray[numpy.bool]:
        """
        bool [N]
        """
    @property
    def width(self) -> int:
        ...
class Model:
    """
    A network with the loss that trains it. A call while another thread trains it raises Busy.
    """
class Vision(Model):
    """
    V of World Models: a convolutional variational autoencoder.
    """
    def __init__(self, *, latents: typing.SupportsInt = 64, height: typing.SupportsInt = 64, width: typing.SupportsInt = 64, seed: typing.SupportsInt = 0, beta: typing.SupportsFloat = 1.0, emphasis: typing.SupportsFloat = 0.0) -> None:
        ...
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """
        float32 [N, latents] -> frames, uint8 [N, height, width, 3].
        """
    def encode(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        uint8 [N, height, width, 3] -> (mu, logvar), float32 [N, latents] each.
        """
    @property
    def height(self) -> int:
        ...
    @property
    def latents(self) -> int:
        ...
    @property
    def width(self) -> int:
        ...
class Memory(Model):
    """
    M of World Models: an LSTM with a mixture density output.
    """
    def __init__(self, *, latents: typing.SupportsInt = 64, hidden: typing.SupportsInt = 512, components: typing.SupportsInt = 5, mixture: str = 'independent', actions: typing.SupportsInt = 1, rewards: tuple[typing.SupportsFloat, typing.SupportsFloat] | None = None, judges_termination: bool = False, seed: typing.SupportsInt = 0) -> None:
        """
        mixture: "independent", one of `components` Gaussians a latent dimension, or "joint", one over whole latent vectors. actions: numbers that M reads of an action. rewards: the smallest and the largest, where M learns them. judges_termination: whether a termination depends on the next frame too.
        """
    def judge_windows(self, batch: collections.abc.Mapping[str, torch.Tensor], noise_step: typing.SupportsInt) -> dict[str, torch.Tensor]:
        """
        What M says of a batch of windows, each [N, T]: "termination_logits" (float32; trained with a higher weight of terminations, so their probabilities are too high), valid where "judged" (bool), and, where M learns them, "rewards" (float32, expected), valid where "followed" (bool).
        """
    @property
    def actions(self) -> int:
        ...
    @property
    def components(self) -> int:
        ...
    @property
    def hidden(self) -> int:
        ...
    @property
    def latents(self) -> int:
        ...
    @property
    def mixture(self) -> str:
        ...
    @property
    def reward_bins(self) -> torch.Tensor | None:
        """
        The rewards that its reward logits stand for, float32 [bins]; None where it learns none.
        """
class Trainer:
    """
    One network, its loss and its optimiser (Adam). The loop around it (data order, schedule, progress, checkpoints) belongs to the caller. A call while another thread is in one of the trainer or its network raises Busy.
    """
    def __init__(self, model: Model, *, learning_rate: typing.SupportsFloat = 0.001, gradient_clip: typing.SupportsFloat = 0.0, bf16: bool = False, seed: typing.SupportsInt = 0, device: str = 'cpu') -> None:
        ...
    def backward(self, batch: collections.abc.Mapping[str, torch.Tensor]) -> dict[str, float]:
        """
        Computes loss and gradients of one batch; returns the loss and its terms.
        
        Raises RuntimeError where the loss is not finite. Where it raises, there are no gradients.
        """
    def evaluate(self, batch: collections.abc.Mapping[str, torch.Tensor], noise_step: typing.SupportsInt) -> dict[str, float]:
        """
        Computes the same numbers without gradients; the noise is keyed by `noise_step` alone.
        """
    def gradients(self) -> dict[str, torch.Tensor]:
        """
        The gradients by parameter name, not copied.
        """
    def load_state(self, state: collections.abc.Mapping[str, torch.Tensor]) -> None:
        ...
    def load_weights(self, weights: collections.abc.Mapping[str, torch.Tensor]) -> None:
        ...
    def set_learning_rate(self, learning_rate: typing.SupportsFloat) -> None:
        ...
    def state(self) -> dict[str, torch.Tensor]:
        """
        Copies of weights, optimiser moments, buffers and step: what resuming needs.
        """
    def update(self) -> None:
        """
        Makes one optimiser step with the gradients of the last `backward`.
        
        Raises RuntimeError where it failed, where another update or load came after it (of
        any trainer of the network) or a backward of another trainer, and where a gradient
        is not finite; the weights are then as before.
        """
    def weights(self) -> dict[str, torch.Tensor]:
        """
        Copies of the parameters, by name.
        """
    @property
    def model(self) -> Model:
        ...
    @property
    def step(self) -> int:
        """
        Updates made.
        """
class Tokenizer(Model):
    """
    The video tokenizer of Genie: a VQ-VAE over ST-transformer blocks.
    
    Frames are cut into square patches, S of them, each of which becomes one of `codes` tokens. The
    encoder is causal in time: its attention window is `window` frames, the current one included. The
    decoder reads the tokens of one frame.
    
    In training the encoder sees the frames under Gaussian noise of the deviation `noise` (pixels from 0
    to 1), and with an `emphasis` pixels whose colour is rare at their place count more.
    """
    def __init__(self, *, frame: tuple[typing.SupportsInt, typing.SupportsInt] = (64, 64), patch: typing.SupportsInt = 8, width: typing.SupportsInt = 192, heads: typing.SupportsInt = 3, encoder_blocks: typing.SupportsInt = 4, decoder_blocks: typing.SupportsInt = 4, codes: typing.SupportsInt = 1024, code_dimensions: typing.SupportsInt = 8, window: typing.SupportsInt = 4, seed: typing.SupportsInt = 0, noise: typing.SupportsFloat = 0.0, emphasis: typing.SupportsFloat = 0.0) -> None:
        """
        frame: (height, width); patch divides both.
        """
    def codebook(self) -> torch.Tensor:
        """
        float32 [codes, code_dimensions], each of length 1: what the tokens stand for, a copy.
        """
    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """
        int64 [N, T, S] -> frames, uint8 [N, T, height, width, 3].
        """
    def encode(self, frames: torch.Tensor, *, bf16: bool = False) -> torch.Tensor:
        """
        Consecutive frames, uint8 [N, T, height, width, 3] -> tokens, int64 [N, T, S]. bf16: faster, by bfloat16 autocast.
        """
    @property
    def codes(self) -> int:
        ...
    @property
    def columns(self) -> int:
        """
        The number of tokens in a row of a frame.
        """
    @property
    def positions(self) -> int:
        """
        S, the number of tokens a frame.
        """
    @property
    def receptive_field(self) -> int:
        """
        The number of frames that a token may depend on, its own included.
        """
class LatentAction(Model):
    """
    The latent action model of Genie: describes the transition between two frames by one of a few codes.
    
    The encoder reads the frames up to the transition's second one and outputs its code. The decoder
    reads the first one and the motion, action_decay * the last motion + (1 - action_decay) * the code,
    and predicts the second. The encoder's attention window is `window` frames, the current included.
    """
    variance_floor: typing.ClassVar[float] = 1e-05
    def __init__(self, *, frame: tuple[typing.SupportsInt, typing.SupportsInt] = (64, 64), patch: typing.SupportsInt = 8, width: typing.SupportsInt = 192, heads: typing.SupportsInt = 3, encoder_blocks: typing.SupportsInt = 4, decoder_blocks: typing.SupportsInt = 4, actions: typing.SupportsInt = 6, code_dimensions: typing.SupportsInt = 8, window: typing.SupportsInt = 8, action_decay: typing.SupportsFloat = 0.0, seed: typing.SupportsInt = 0) -> None:
        """
        frame: (height, width); patch divides both.
        """
    def codes(self) -> torch.Tensor:
        """
        float32 [actions, code_dimensions]: the codebook, a copy.
        """
    def encode(self, frames: torch.Tensor, *, bf16: bool = False) -> torch.Tensor:
        """
        Consecutive frames, uint8 [N, T, height, width, 3] -> the codes of the transitions between them, int64 [N, T - 1]. bf16: faster, by bfloat16 autocast.
        """
    def predict(self, frames: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """
        uint8 [N, T, height, width, 3] and int64 [N, T], the motion before which is 0 -> the next frame of each frame, uint8 of their shape.
        """
    @property
    def actions(self) -> int:
        ...
    @property
    def receptive_field(self) -> int:
        """
        The number of frames that a code may depend on, the transition's second frame included.
        """
class Dynamics(Model):
    """
    The dynamics of Genie: tokens of past frames and latent actions -> the tokens of the next frame.
    
    Training has two streams. Clean frames provide keys and values; the masked copy of a frame attends
    to the clean frames before it, within an attention window of `window` frames, and to itself.
    `action_codes` is the codebook of the latent action model, float32 [actions, dimensions].
    `token_codes`, float32 [codes, dimensions], is Tokenizer.codebook(): embeddings and rows of the
    output layer are initialised with random linear maps of it, with independent weights where it is
    None; it is not stored. Raises ValueError for another shape, dtype or a value that is not finite.
    `passes`,
    the most passes a frame in sampling, sets how much of a frame is masked. With `columns`, the tokens
    in a row of a frame, each token is embedded together with the one that was at its place a frame
    before, and each block begins with a depthwise convolution over the 3 x 3 neighbours of a token (Chu
    et al. 2021, Conditional Positional Encodings); with 0 neither is there.
    """
    feed_forward_factor: typing.ClassVar[int] = 4
    def __init__(self, action_codes: torch.Tensor, *, positions: typing.SupportsInt = 64, codes: typing.SupportsInt = 1024, width: typing.SupportsInt = 192, heads: typing.SupportsInt = 3, blocks: typing.SupportsInt = 4, window: typing.SupportsInt = 16, passes: typing.SupportsInt = 4, columns: typing.SupportsInt = 0, seed: typing.SupportsInt = 0, token_codes: torch.Tensor | None = None) -> None:
        ...
    def cross_entropy_by_frame(self, tokens: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """
        int64 [N, T, S] and [N, T - 1] -> nats a token of each frame from the second on, with all its tokens masked: float32 [T - 1].
        """
    def logits(self, tokens: torch.Tensor, masked: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """
        tokens: int64 [N, T, S], the clean frames. masked: int64 [N, T - 1, S], those from the second on,
        mask_token where a token is masked. actions: int64 [N, T - 1], action t from frame t to t + 1.
        Returns the logits of the masked frames' tokens: float32 [N, T - 1, S, codes].
        """
    @property
    def actions(self) -> int:
        ...
    @property
    def mask_token(self) -> int:
        """
        The value of a masked token.
        """
class Heads(Model):
    """
    What latent actions bring in a world of Genie: reward and termination, judged on the features of its
    frozen dynamics before and after an action.
    
    `rewards`: the smallest and the largest, where they are learned; `termination`: whether terminations
    are, and `judges_termination` whether by the next frame too.
    """
    def __init__(self, *, features: typing.SupportsInt = 768, actions: typing.SupportsInt = 6, rewards: tuple[typing.SupportsFloat, typing.SupportsFloat] | None = None, termination: bool = False, judges_termination: bool = False, seed: typing.SupportsInt = 0) -> None:
        ...
    def judge(self, before: torch.Tensor, actions: torch.Tensor, after: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        before, after: float32 [N, features], of the frame that an action was taken on and of the next;
        actions: int64 [N]. Returns what is learned of "rewards" (expected) and "termination_logits" (trained
        with a higher weight of terminations, so their probabilities are too high): float32 [N] each.
        """
    @property
    def actions(self) -> int:
        ...
    @property
    def features(self) -> int:
        ...
class OptionSpec:
    """
    What an option of a world family may be.
    """
    def __repr__(self) -> str:
        ...
    @property
    def choices(self) -> list[str]:
        """
        Of a choice.
        """
    @property
    def description(self) -> str:
        ...
    @property
    def high(self) -> float:
        """
        Largest integer or number.
        """
    @property
    def low(self) -> float:
        """
        Smallest integer or number.
        """
    @property
    def name(self) -> str:
        ...
    @property
    def range(self) -> str:
        """
        All values, in words.
        """
    @property
    def type(self) -> str:
        """
        "boolean", "integer", "number" or "choice".
        """
class Option:
    """
    An option of a loaded world.
    """
    def __repr__(self) -> str:
        ...
    @property
    def choices(self) -> list[str]:
        """
        Of a choice.
        """
    @property
    def default(self) -> bool | int | float | str:
        """
        What the world's directory says.
        """
    @property
    def description(self) -> str:
        ...
    @property
    def high(self) -> float:
        """
        Largest integer or number.
        """
    @property
    def low(self) -> float:
        """
        Smallest integer or number.
        """
    @property
    def name(self) -> str:
        ...
    @property
    def range(self) -> str:
        """
        All values, in words.
        """
    @property
    def type(self) -> str:
        """
        "boolean", "integer", "number" or "choice".
        """
    @property
    def value(self) -> bool | int | float | str:
        """
        What is in force.
        """
class WorldFamily:
    """
    A kind of world that this build can load.
    """
    def __repr__(self) -> str:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def options(self) -> list[OptionSpec]:
        """
        What its worlds take, in order.
        """
class TensorSpec:
    """
    One row's share of a batched tensor.
    """
    def __repr__(self) -> str:
        ...
    @property
    def dtype(self) -> str:
        """
        NumPy's name of it.
        """
    @property
    def high(self) -> float:
        ...
    @property
    def low(self) -> float:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def shape(self) -> tuple:
        ...
class ActionSpec:
    """
    The actions of a world: numbered ones, int64 [N], or, where `shape` is not None, points of a box, float32 [N, *shape].
    """
    def __repr__(self) -> str:
        ...
    @property
    def high(self) -> list[float]:
        """
        Largest numbers of a point, in row-major order.
        """
    @property
    def low(self) -> list[float]:
        """
        Smallest numbers of a point, in row-major order.
        """
    @property
    def meanings(self) -> list[str]:
        """
        What each numbered action means, in order.
        """
    @property
    def shape(self) -> list[int] | None:
        ...
    @property
    def start(self) -> int:
        """
        The number of the first.
        """
class WorldSpec:
    """
    What a world is, fixed when it is loaded.
    """
    def __repr__(self) -> str:
        ...
    @property
    def actions(self) -> ActionSpec:
        ...
    @property
    def begins_from_frames(self) -> bool:
        """
        Whether `begin` can be given frames, where the world has pictures.
        """
    @property
    def dtype(self) -> str:
        """
        Of its matrix products: "float32" or "bfloat16".
        """
    @property
    def exact_rows(self) -> bool:
        """
        Whether a row's bits depend on that row alone; otherwise they may change with the number of rows and threads, by rounding.
        """
    @property
    def family(self) -> str:
        ...
    @property
    def fingerprint(self) -> str:
        """
        SHA-256 of config, weights and starts; goes with every result.
        """
    @property
    def follows_frames(self) -> bool:
        """
        Whether `follow` can be given them as well.
        """
    @property
    def frame(self) -> TensorSpec | None:
        """
        The observation that is a picture, uint8 [H, W, 3]; None without pictures.
        """
    @property
    def frame_skip(self) -> int:
        ...
    @property
    def frames_per_second(self) -> float | None:
        """
        Steps that a second of play takes; None where its directory does not say.
        """
    @property
    def game(self) -> str:
        """
        That it was learned from, as its recordings say; empty where they do not.
        """
    @property
    def has_latent_statistics(self) -> bool:
        """
        Whether `latent_distance` can be asked for.
        """
    @property
    def max_episode_steps(self) -> int:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def observations(self) -> list[TensorSpec]:
        """
        What `observe` can give; the first is the default.
        """
    @property
    def options(self) -> dict[str, Option]:
        """
        The options of its family, by name, with the values in force.
        """
    @property
    def state_bytes_per_row(self) -> int:
        ...
    @property
    def temperature(self) -> float:
        """
        The calibrated sampling temperature.
        """
class RowCounters:
    """
    Where each row's random draws stand: arrays of integers, one a row.
    """
    def __init__(self, seeds: typing.Any, episodes: typing.Any, steps: typing.Any) -> None:
        ...
    def __len__(self) -> int:
        ...
    def __repr__(self) -> str:
        ...
class WorldState:
    """
    All that moves in a world: tensors whose first dimension is the row. A call while another thread is in one raises Busy.
    """
    @staticmethod
    def copy_rows(src: WorldState, src_rows: torch.Tensor, dst: WorldState, dst_rows: torch.Tensor) -> None:
        """
        dst[dst_rows[i]] = src[src_rows[i]] (int64 [R] each).
        """
    def __repr__(self) -> str:
        ...
    def clone(self) -> WorldState:
        """
        A deep copy of all rows.
        """
    def select(self, rows: torch.Tensor) -> WorldState:
        """
        A deep copy of the given rows (int64 [R]), in that order.
        """
    @property
    def fields(self) -> dict[str, torch.Tensor]:
        """
        The tensors themselves, by name: to write to them moves the world.
        """
    @property
    def rows(self) -> int:
        ...
class WorldStep:
    """
    What one step brought to each of N rows.
    """
    @property
    def observation(self) -> torch.Tensor:
        """
        [N, *shape], of the kind asked for
        """
    @property
    def reward(self) -> torch.Tensor:
        """
        float32 [N]
        """
    @property
    def surprise(self) -> torch.Tensor:
        """
        float32 [N], nats a latent dimension or token, at temperature 1
        """
    @property
    def terminated(self) -> torch.Tensor:
        """
        bool [N]
        """
    @property
    def termination_probability(self) -> torch.Tensor | None:
        """
        float32 [N], what `terminated` was decided by; None where nothing terminates
        """
class World:
    """
    A frozen world model: immutable, and safe to share between environments and threads.
    """
    @staticmethod
    def load(path: os.PathLike | str | bytes, *, device: str = 'cpu', dtype: str = 'auto', options: dict[str, typing.Any] = {}) -> World:
        """
        Reads a world directory.
        
        device: "cpu", "cuda" or "cuda:1". dtype: "float32", "bfloat16", or "auto",
        bfloat16 where it is faster. options: values by name, of the world's family (see
        `world_families`); what is left out is as the world's directory says.
        """
    def __copy__(self) -> typing.Any:
        ...
    def __deepcopy__(self, arg0: dict) -> typing.Any:
        ...
    def __repr__(self) -> str:
        ...
    def begin(self, state: WorldState, mask: torch.Tensor, rng: RowCounters, frames: torch.Tensor | None = None) -> None:
        """
        Begins an episode where `mask` (bool [N]) is true: from a stored start, or from
        `frames` (uint8 [N, H, W, 3]).
        """
    def follow(self, state: WorldState, actions: torch.Tensor, frames: torch.Tensor, rng: RowCounters, observation: str | None = None) -> WorldStep:
        """
        One given frame a row (uint8 [N, H, W, 3]), in place; otherwise as `step`.
        """
    def latent_distance(self, state: WorldState) -> torch.Tensor:
        """
        How far each row's latents are from those of the training frames: float32 [N], their
        Mahalanobis distance.
        """
    def make_state(self, rows: typing.SupportsInt) -> WorldState:
        """
        A state of `rows` rows, none of which has begun.
        """
    def observe(self, state: WorldState, kind: str, rows: torch.Tensor | None = None) -> torch.Tensor:
        """
        The observation `kind` of the given rows (int64 [R]; None: all), as the spec says: a
        fresh tensor.
        """
    def step(self, state: WorldState, actions: torch.Tensor, temperature: torch.Tensor, rng: RowCounters, observation: str | None = None) -> WorldStep:
        """
        One sampled frame a row, in place. actions: int64 [N]; temperature: float32 [N].
        observation: the kind that the step returns; None: the world's first.
        """
    @property
    def device(self) -> torch.device:
        ...
    @property
    def directory(self) -> pathlib.Path:
        """
        The directory that it was loaded from, as an absolute path.
        """
    @property
    def spec(self) -> WorldSpec:
        ...
class ExportedGraph:
    """
    A graph of a model.pt2 that the world has been loaded from, run alone: what a step of the model itself costs. Thread-safe.
    """
    def __init__(self, archive: os.PathLike | str | bytes, name: str) -> None:
        """
        name: "initial", "step", "follow" or "render". Raises FormatError naming the file.
        """
    def run(self, inputs: collections.abc.Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """
        The outputs for these inputs, both in the order of the graph: see genie_env/worlds/exported/world.h. An output may share memory with an input.
        """
class Snapshot:
    """
    Rows of an environment at one moment: an immutable value, that can be saved and pickled.
    
        snapshot = env.snapshot()
        snapshot.save("dream.safetensors")
        env.restore(genie_env.Snapshot.load("dream.safetensors"))
    """
    @staticmethod
    def load(path: os.PathLike | str | bytes) -> Snapshot:
        """
        Raises FormatError naming the file and the tensor.
        """
    def __getstate__(self) -> bytes:
        ...
    def __repr__(self) -> str:
        ...
    def __setstate__(self, arg0: bytes) -> None:
        ...
    def save(self, path: os.PathLike | str | bytes) -> None:
        """
        Writes a safetensors file.
        """
    @property
    def fingerprint(self) -> str:
        """
        That world's: only there can it be restored.
        """
    @property
    def rows(self) -> int:
        ...
    @property
    def world(self) -> str:
        """
        The name of the world that it was taken in.
        """
class StartBank:
    """
    States of one world that episodes may begin from, each at the end of a recorded context. Immutable; environments share it.
    """
    @staticmethod
    def encode(world: World, frames: torch.Tensor, actions: torch.Tensor) -> StartBank:
        """
        Follows K contexts: frames uint8 [K, T + 1, H, W, 3], actions int64 or float32 [K, T, ...].
        """
    def __repr__(self) -> str:
        ...
    @property
    def hash(self) -> str:
        """
        Identifies the contexts and the world.
        """
    @property
    def size(self) -> int:
        """
        K.
        """
class VecEnvOptions:
    """
    What an environment was made with.
    """
    def __repr__(self) -> str:
        ...
    @property
    def autoreset_mode(self) -> str:
        """
        "NextStep", "SameStep" or "Disabled", as gymnasium.vector.AutoresetMode has it.
        """
    @property
    def latent_distance(self) -> bool:
        ...
    @property
    def max_episode_steps(self) -> int | None:
        ...
    @property
    def max_latent_distance(self) -> float | None:
        ...
    @property
    def max_surprise(self) -> float | None:
        ...
    @property
    def num_envs(self) -> int:
        ...
    @property
    def observation(self) -> str:
        ...
    @property
    def seed(self) -> int | None:
        ...
    @property
    def starts(self) -> StartBank | None:
        """
        Where episodes begin; None: where the world has stored starts.
        """
    @property
    def temperature(self) -> float | None:
        ...
class VecEnvStep:
    """
    What a step brought to each of N rows.
    """
    @property
    def began(self) -> torch.Tensor:
        """
        bool [N], rows that began an episode: instead of going on (NextStep; reward and scores are then 0), or after the end of another (SameStep)
        """
    @property
    def final_observation(self) -> torch.Tensor | None:
        """
        SameStep: of the episodes that ended where `began`; None where none did
        """
    @property
    def latent_distance(self) -> torch.Tensor | None:
        """
        float32 [N], a Mahalanobis distance; None unless asked for
        """
    @property
    def observation(self) -> torch.Tensor:
        ...
    @property
    def reward(self) -> torch.Tensor:
        """
        float32 [N]
        """
    @property
    def surprise(self) -> torch.Tensor:
        """
        float32 [N], in nats
        """
    @property
    def terminated(self) -> torch.Tensor:
        """
        bool [N]
        """
    @property
    def termination_probability(self) -> torch.Tensor | None:
        """
        float32 [N], what the world decided `terminated` by; None where nothing terminates in it, and where termination_fn decides
        """
    @property
    def truncated(self) -> torch.Tensor:
        """
        bool [N]
        """
class VecEnv:
    """
    N dreams in one frozen world, stepped together. A call while another thread is in one raises Busy.
    """
    def __init__(self, world: World, *, num_envs: typing.SupportsInt = 1, observation: str = '', temperature: typing.SupportsFloat | None = None, autoreset_mode: str = 'NextStep', max_episode_steps: typing.SupportsInt | None = None, max_surprise: typing.SupportsFloat | None = None, latent_distance: bool = False, max_latent_distance: typing.SupportsFloat | None = None, reward_fn: collections.abc.Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] | None = None, termination_fn: collections.abc.Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] | None = None, starts: StartBank | None = None, seed: typing.SupportsInt | None = None) -> None:
        ...
    def close(self) -> None:
        """
        Waits for a call of another thread, then frees what the rows hold; what is called later raises ClosedEnvironmentError.
        """
    def follow(self, actions: torch.Tensor, frames: torch.Tensor) -> VecEnvStep:
        """
        One given frame a row (uint8 [N, H, W, 3]), reality's for instance.
        """
    def fork(self, row: typing.SupportsInt, into_rows: torch.Tensor, seeds: collections.abc.Sequence[typing.SupportsInt] | None = None) -> torch.Tensor:
        """
        The same with a snapshot of one row.
        """
    def keep(self, rows: torch.Tensor) -> None:
        """
        Goes on with only the given rows (int64 [R], without repeats), in that order.
        """
    def render(self, rows: torch.Tensor | None = None) -> torch.Tensor:
        """
        The current frames: uint8 [R, H, W, 3].
        """
    def reset(self, *, seeds: collections.abc.Sequence[typing.SupportsInt] | None = None, mask: torch.Tensor | None = None, frames: torch.Tensor | None = None, actions: torch.Tensor | None = None, snapshot: Snapshot | None = None, temperature: torch.Tensor | None = None) -> torch.Tensor:
        """
        Begins episodes; returns the observation of all rows.
        """
    def restore(self, snapshot: Snapshot, rows: torch.Tensor | None = None, seeds: collections.abc.Sequence[typing.SupportsInt] | None = None) -> torch.Tensor:
        """
        Rows go on where the snapshot was taken, or branch off with new seeds; returns the observation of all rows.
        """
    def set_temperature(self, temperature: torch.Tensor) -> None:
        """
        float32 [N], above 0: one sampling temperature a row, from the next step on.
        """
    def snapshot(self, rows: torch.Tensor | None = None) -> Snapshot:
        """
        All that the given rows are (int64 [R]; None: all).
        """
    def step(self, actions: torch.Tensor, out: torch.Tensor | None = None) -> VecEnvStep:
        """
        One dreamt frame a row. actions: int64 [N]. out: where the observation is written.
        """
    @property
    def num_envs(self) -> int:
        """
        Rows left (see keep).
        """
    @property
    def options(self) -> VecEnvOptions:
        """
        With every default filled in.
        """
    @property
    def rollback_bytes(self) -> int:
        """
        Bytes that the last step saved so that a failing reward_fn or termination_fn could take it back; 0 without them.
        """
    @property
    def temperature(self) -> torch.Tensor:
        """
        float32 [N], the sampling temperature of each row: a copy.
        """
def build_info() -> dict[str, typing.Any]:
    """
    How this genie_env was built: its "version", the "torch" it was built against, the "compiler", whether its loops run on several threads ("openmp"), the toolkit of its "cuda_kernels" (None without), the "cpu_capability" that torch's kernels use on this machine, the "instruction_sets" that ours use, and the "gpus" that the CUDA kernels see: each "name", "compute_capability", "memory_bytes", and whether it "runs_kernels".
    """
def check_archive(file: os.PathLike | str | bytes, models: collections.abc.Sequence[str], cuda: bool = False) -> dict[str, tuple[list[tuple[str, list[int]]], list[tuple[str, list[int]]]]]:
    """
    The inputs and outputs of the graphs in the archive of an exported world, by the graphs' names.
    
    Each is a name and a shape, whose first length is -1: the number of rows. Nothing is executed. Raises
    FormatError naming the file, the graph and the node unless LibTorch may open the archive: it holds just
    the graphs that `models` names, raw tensors, and nothing that would be unpickled or executed.
    """
def compiled_folder(fingerprint: str) -> pathlib.Path:
    """
    The folder for code that is compiled for the world of that fingerprint: it holds NAME.pt2 for every graph, and machine.txt, whose text is `compiling_machine()`.
    """
def compiling_machine() -> str:
    """
    What compiled code depends on: the version of torch and the processor.
    """
def mask_schedule(positions: typing.SupportsInt, passes: typing.SupportsInt) -> list[int]:
    """
    How many of `positions` tokens are still masked after each of `passes` passes of MaskGIT:
    its cosine schedule.
    """
def safetensors_bytes(tensors: collections.abc.Mapping[str, torch.Tensor], metadata: collections.abc.Mapping[str, str] = {}) -> bytes:
    """
    The bytes of a safetensors file; equal contents give equal bytes.
    
    Tensors of any device and strides, of bool, uint8, int64, float16, bfloat16, float32 or float64.
    Raises ValueError on other types, and on names that are not UTF-8.
    """
def why_not_served(target: str) -> str:
    """
    Why a graph of an exported world may not use the operator "torch.ops.aten.NAME.OVERLOAD", and what to
    do instead; "" where it may.
    """
def world_families() -> dict[str, WorldFamily]:
    """
    The registered world families, by name.
    """
_register_world_family: typing.Any
limits: dict = {'actions': 1024, 'recorded_side': 65535, 'frame_side': 8192, 'latents': 4096, 'hidden': 65536, 'components': 32, 'codes': 65536, 'latent_actions': 256, 'code_dimensions': 1024, 'positions': 4096, 'width': 8192, 'blocks': 64, 'window': 1024, 'passes': 64}
