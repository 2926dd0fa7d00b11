"""Tokenizer, latent action model and dynamics of Genie in plain Python PyTorch: the independent
reference.

Nothing here calls genie_env. The tests compare our C++ networks with these in values and gradients,
and `train_speed.py` compares the time of a training step. Parameters have the names of ours. Noise
is an argument, so that a test can pass the draws of ours.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class Norm(nn.Module):
    """Layer normalisation with a gain, in float32 or better."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x.to(self.gain.dtype), self.gain.shape, self.gain)


def turned(x: Tensor, times: list[int]) -> Tensor:
    """Rotary positions (Su et al. 2021) of x, [N, S, heads, F, head], whose frames are at `times`:
    numbers 2i and 2i + 1 are turned by time / 10000^(2i / head)."""
    head = x.shape[-1]
    speeds = 10000.0 ** (-torch.arange(0, head, 2, dtype=torch.float64) / head)
    angles = torch.tensor(times, dtype=torch.float64)[:, None] * speeds
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Norm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.query_gain = nn.Parameter(torch.ones(width // heads))
        self.output = nn.Linear(width, width)

    def forward(
        self, x: Tensor, times: list[int] | None = None, visible: Tensor | None = None
    ) -> Tensor:
        """x: [N, F, S, width]. Within each frame, or, given when frames happen and whom they see,
        over time at each position."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        gain = self.query_gain
        q = functional.layer_norm(q.to(gain.dtype), gain.shape) * gain
        k = functional.layer_norm(k.to(gain.dtype), gain.shape)
        if times is None:
            q, k, v = (part.transpose(2, 3) for part in (q, k, v))  # [N, F, heads, S, head]
            mixed = functional.scaled_dot_product_attention(
                q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)
            )
            mixed = mixed.unflatten(0, x.shape[:2]).transpose(2, 3)
        else:
            q, k, v = (part.permute(0, 2, 3, 1, 4) for part in (q, k, v))
            q, k = turned(q, times), turned(k, times)  # [N, S, heads, F, head]
            mixed = functional.scaled_dot_product_attention(
                q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), visible
            )
            mixed = mixed.unflatten(0, (x.shape[0], x.shape[2])).permute(0, 3, 1, 2, 4)
        return self.output(mixed.flatten(-2))  # type: ignore[no-any-return]


class Block(nn.Module):
    def __init__(self, width: int, heads: int, timeless: bool, columns: int = 0) -> None:
        super().__init__()
        self.columns = columns
        if columns:
            self.neighbours = nn.Parameter((torch.rand(width, 1, 3, 3) - 0.5) * 2 / 3)
        self.space = Attention(width, heads)
        if not timeless:
            self.time = Attention(width, heads)
        self.norm = Norm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def with_neighbours(self, x: Tensor) -> Tensor:
        if not self.columns:
            return x
        pictures = x.flatten(0, 1).unflatten(1, (-1, self.columns)).permute(0, 3, 1, 2)
        convolved = functional.conv2d(pictures, self.neighbours, padding=1, groups=x.shape[-1])
        return x + convolved.flatten(2).mT.view(x.shape)

    def forward(self, x: Tensor, times: list[int] | None, visible: Tensor | None) -> Tensor:
        x = self.with_neighbours(x)
        x = x + self.space(x)
        if times is not None:
            x = x + self.time(x, times, visible)
        widened = functional.gelu(self.widen(self.norm(x)), approximate="tanh")
        return x + self.narrow(widened)  # type: ignore[no-any-return]


class Transformer(nn.Module):
    def __init__(
        self, blocks: int, width: int, heads: int, timeless: bool = False, columns: int = 0
    ) -> None:
        super().__init__()
        self.blocks = blocks
        for i in range(blocks):
            self.add_module(f"block{i}", Block(width, heads, timeless, columns))
        self.norm = Norm(width)

    def forward(
        self, x: Tensor, times: list[int] | None = None, visible: Tensor | None = None
    ) -> Tensor:
        for i in range(self.blocks):
            x = self.get_submodule(f"block{i}")(x, times, visible)
        return self.norm(x)  # type: ignore[no-any-return]


def window_mask(frames: int, window: int) -> Tensor:
    """bool [frames, frames]: frame t attends to the last `window` frames, itself included."""
    t, s = torch.arange(frames)[:, None], torch.arange(frames)[None, :]
    return (s <= t) & (t - s < window)


def to_patches(pixels: Tensor, patch: int) -> Tensor:
    """[N, T, H, W, 3] to [N, T, H / patch * W / patch, patch * patch * 3]."""
    n, t, h, w, c = pixels.shape
    cut = pixels.reshape(n, t, h // patch, patch, w // patch, patch, c)
    return cut.permute(0, 1, 2, 4, 3, 5, 6).reshape(n, t, -1, patch * patch * c)


class Quantizer(nn.Module):
    def __init__(self, codes: int, dimensions: int, commitment: float) -> None:
        super().__init__()
        self.commitment = commitment
        self.codebook = nn.Parameter(torch.randn(codes, dimensions))

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Codes, straight-through latents, the loss and its terms."""
        book = functional.normalize(self.codebook, dim=-1)
        z = functional.normalize(latents.to(book.dtype), dim=-1)
        codes = torch.cdist(z.detach().flatten(0, -2), book.detach()).argmin(1).view(z.shape[:-1])
        e = book[codes]
        to_latents = (e - z.detach()).square().sum(-1).mean()
        to_codes = (e.detach() - z).square().sum(-1).mean()
        shares = torch.bincount(codes.flatten(), minlength=len(book)) / codes.numel()
        used = shares[shares > 0]
        terms = {
            "codes_used": (shares > 0).double().mean(),
            "perplexity": torch.exp(-(used * used.log()).sum()),
            "quantization_error": to_codes,
        }
        return codes, z + (e - z).detach(), to_latents + self.commitment * to_codes, terms


class PlainTokenizer(nn.Module):
    """Defaults as ours."""

    def __init__(
        self,
        frame: tuple[int, int] = (64, 64),
        patch: int = 8,
        width: int = 192,
        heads: int = 3,
        encoder_blocks: int = 4,
        decoder_blocks: int = 4,
        codes: int = 1024,
        code_dimensions: int = 8,
        window: int = 4,
        noise: float = 0,
        emphasis: float = 0,
    ) -> None:
        super().__init__()
        self.patch, self.window = patch, window
        self.noise, self.emphasis = noise, emphasis
        pixels, positions = patch * patch * 3, (frame[0] // patch) * (frame[1] // patch)
        self.embed = nn.Linear(pixels, width)
        self.encoder_positions = nn.Parameter(torch.randn(positions, width) * 0.1)
        self.encoder = Transformer(encoder_blocks, width, heads)
        self.to_code = nn.Linear(width, code_dimensions)
        self.quantizer = Quantizer(codes, code_dimensions, commitment=0.25)
        self.from_code = nn.Linear(code_dimensions, width)
        self.decoder_positions = nn.Parameter(torch.randn(positions, width) * 0.1)
        self.decoder = Transformer(decoder_blocks, width, heads, timeless=True)
        self.to_pixels = nn.Linear(width, pixels)

    def latents(self, patches: Tensor) -> Tensor:
        frames = patches.shape[1]
        x = self.embed(patches) + self.encoder_positions
        seen = self.encoder(x, list(range(frames)), window_mask(frames, self.window))
        return self.to_code(seen)  # type: ignore[no-any-return]

    def encode(self, frames: Tensor) -> Tensor:
        """Frames uint8 [N, T, H, W, 3] to tokens [N, T, S]."""
        patches = to_patches(frames.to(self.embed.weight.dtype) / 255 - 0.5, self.patch)
        return self.quantizer(self.latents(patches))[0]  # type: ignore[no-any-return]

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [N, T, S] to patches of pixels in [0, 1]: [N, T, S, 3 patch^2]."""
        latents = functional.normalize(self.quantizer.codebook, dim=1)[tokens]
        y = self.decoder(self.from_code(latents) + self.decoder_positions)
        return self.to_pixels(y) + 0.5  # type: ignore[no-any-return]

    def loss(self, frames: Tensor, draws: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Frames uint8 [N, T, H, W, 3], and normal draws, one a colour of a pixel, where the encoder
        sees noise: the loss and its terms."""
        patches = to_patches(frames.to(self.embed.weight.dtype) / 255 - 0.5, self.patch)
        seen = patches if draws is None else patches + self.noise * draws.view_as(patches)
        _, latents, quantizer_loss, terms = self.quantizer(self.latents(seen))
        y = self.to_pixels(self.decoder(self.from_code(latents) + self.decoder_positions))
        squared = (y.to(patches.dtype) - patches).square()
        mse = squared.mean((2, 3))
        learned = mse
        if self.emphasis:
            colours = patches.unflatten(3, (-1, 3))
            far = (colours - colours.mean((0, 1))).square().mean(4, keepdim=True)
            weight = (1 + self.emphasis * far / far.mean()) / (1 + self.emphasis)
            learned = (squared.view_as(colours) * weight).mean((2, 3, 4))
        terms["psnr"] = (-10 * torch.log10(mse)).mean()
        return torch.log(learned + 1e-4).mean() + quantizer_loss, terms


class PlainLatentAction(nn.Module):
    """Defaults as ours."""

    def __init__(
        self,
        frame: tuple[int, int] = (64, 64),
        patch: int = 8,
        width: int = 192,
        heads: int = 3,
        encoder_blocks: int = 4,
        decoder_blocks: int = 4,
        actions: int = 6,
        code_dimensions: int = 8,
        window: int = 8,
        action_decay: float = 0.0,
    ) -> None:
        super().__init__()
        self.patch, self.window, self.action_decay = patch, window, action_decay
        pixels, positions = patch * patch * 3, (frame[0] // patch) * (frame[1] // patch)
        self.encoder_embed = nn.Linear(2 * pixels, width)
        self.encoder_positions = nn.Parameter(torch.randn(positions, width) * 0.1)
        self.encoder = Transformer(encoder_blocks, width, heads)
        self.to_code = nn.Linear(width, code_dimensions)
        self.quantizer = Quantizer(actions, code_dimensions, commitment=0.02)
        self.from_code = nn.Linear(code_dimensions, width)
        self.decoder_embed = nn.Linear(pixels, width)
        self.decoder_positions = nn.Parameter(torch.randn(positions, width) * 0.1)
        self.decoder = Transformer(decoder_blocks, width, heads, timeless=True)
        self.to_pixels = nn.Linear(width, pixels)

    def standardised(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Patches whose frames have mean 0 and deviation 1 in every channel, and the mean and the
        deviation that they had, for every number of a patch."""
        pixels = frames.to(self.encoder_embed.weight.dtype) / 255
        variance, mean = torch.var_mean(pixels, dim=(2, 3), correction=0, keepdim=True)
        deviation = torch.sqrt(variance + 1e-5)
        patches = to_patches((pixels - mean) / deviation, self.patch)
        repeats = (1, 1, 1, self.patch * self.patch)
        return patches, mean.flatten(2, 3).repeat(repeats), deviation.flatten(2, 3).repeat(repeats)

    def latents(self, patches: Tensor) -> Tensor:
        count = patches.shape[1]
        changes = torch.cat([torch.zeros_like(patches[:, :1]), patches.diff(dim=1)], 1)
        seen = self.encoder(
            self.encoder_embed(torch.cat([patches, changes], -1)) + self.encoder_positions,
            list(range(count)),
            window_mask(count, self.window),
        )
        return self.to_code(seen[:, 1:].mean(2))  # type: ignore[no-any-return]

    def following(self, before: Tensor, latents: Tensor) -> Tensor:
        motions = [(1 - self.action_decay) * latents[:, 0]]
        for latent in latents[:, 1:].unbind(1):
            motions.append(self.action_decay * motions[-1] + (1 - self.action_decay) * latent)
        x = self.decoder_embed(before) + self.decoder_positions
        x = x + self.from_code(torch.stack(motions, 1))[:, :, None]
        return before + self.to_pixels(self.decoder(x))  # type: ignore[no-any-return]

    def encode(self, frames: Tensor) -> Tensor:
        """Frames uint8 [N, T, H, W, 3] to codes [N, T - 1]."""
        codes, *_ = self.quantizer(self.latents(self.standardised(frames)[0]))
        return codes  # type: ignore[no-any-return]

    def predict(self, frames: Tensor, actions: Tensor) -> Tensor:
        """Frames uint8 [N, T, H, W, 3] and codes [N, T] to patches of what follows each of the
        frames, in [0, 1]: [N, T, S, 3 patch^2]."""
        before, mean, deviation = self.standardised(frames)
        following = self.following(
            before, functional.normalize(self.quantizer.codebook, dim=1)[actions]
        )
        return following * deviation + mean

    def loss(self, frames: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Frames uint8 [N, T, H, W, 3]: the loss and its terms."""
        patches, _, _ = self.standardised(frames)
        encoded = self.latents(patches)
        # Nothing but the bias learns to move all of them together.
        shared = (encoded - self.to_code.bias).mean((0, 1))
        _, latents, quantizer_loss, terms = self.quantizer(encoded - shared + shared.detach())
        before, after = patches[:, :-1], patches[:, 1:]
        # From where at most a quarter of the motion began before the clip.
        unknown = [self.action_decay ** (t + 1) > 0.25 for t in range(before.shape[1])]
        first = min(sum(unknown), before.shape[1] - 1)
        mse = (self.following(before, latents) - after)[:, first:].square().mean((2, 3))
        change = (after - before)[:, first:].square().mean((2, 3))
        terms["explained"] = 1 - mse.sum() / change.sum()
        return torch.log(mse + 0.01).mean() + quantizer_loss, terms


class PlainDynamics(nn.Module):
    """Defaults as ours."""

    def __init__(
        self,
        action_codes: Tensor,
        positions: int = 64,
        codes: int = 1024,
        width: int = 192,
        heads: int = 3,
        blocks: int = 4,
        window: int = 16,
        passes: int = 4,
        columns: int = 0,
    ) -> None:
        super().__init__()
        self.codes, self.window, self.passes = codes, window, passes
        self.action_codes = action_codes
        self.embedding = nn.Parameter(torch.randn(codes + 1, width) * 0.5)
        self.positions = nn.Parameter(torch.randn(positions, width) * 0.1)
        self.from_action = nn.Linear(action_codes.shape[1], width)
        self.previous = nn.Parameter(torch.randn(codes, width) * 0.5) if columns else None
        self.transformer = Transformer(blocks, width, heads, columns=columns)
        self.to_logits = nn.Linear(width, codes)

    def embed(self, tokens: Tensor, actions: Tensor, before: Tensor) -> Tensor:
        """Tokens [N, F, S]; of the last of these frames, the actions that led to them and the clean
        tokens before them."""
        x = functional.embedding(tokens, self.embedding) + self.positions
        led = self.from_action(self.action_codes[actions])[:, :, None]
        if self.previous is not None:
            led = led + functional.embedding(before, self.previous)
        unled = x.shape[1] - led.shape[1]
        return torch.cat([x[:, :unled], x[:, unled:] + led], dim=1)

    def visible(self, frames: int) -> Tensor:
        """Who sees whom among `frames` clean frames and the masked copies of all but the first."""
        stamps = [(t, True) for t in range(frames)] + [(t, False) for t in range(1, frames)]
        sees = [
            [
                (t - self.window < s < t and s_clean) or (s == t and s_clean == t_clean)
                for s, s_clean in stamps
            ]
            for t, t_clean in stamps
        ]
        return torch.tensor(sees)

    def logits(self, tokens: Tensor, masked: Tensor, actions: Tensor) -> Tensor:
        frames = tokens.shape[1]
        before = tokens[:, :-1]
        streams = [self.embed(stream, actions, before) for stream in (tokens, masked)]
        x = torch.cat(streams, dim=1)
        times = [*range(frames), *range(1, frames)]
        y = self.transformer(x, times, self.visible(frames))
        return self.to_logits(y[:, frames:])  # type: ignore[no-any-return]

    def logits_frame_by_frame(self, tokens: Tensor, masked: Tensor, actions: Tensor) -> Tensor:
        """The same by its meaning: every masked frame by itself, after the clean ones before it."""
        logits = []
        for t in range(1, tokens.shape[1]):
            x = torch.cat([tokens[:, :t], masked[:, t - 1 : t]], dim=1)
            embedded = self.embed(x, actions[:, :t], tokens[:, :t])
            y = self.transformer(embedded, list(range(t + 1)), window_mask(t + 1, self.window))
            logits.append(self.to_logits(y[:, -1]))
        return torch.stack(logits, dim=1)

    def draws(self, clips: int, frames: int, positions: int) -> int:
        """How many uniform draws a step takes."""
        return clips * (1 + 2 * frames * positions + (frames - 1) * (1 + positions))

    def loss(
        self, tokens: Tensor, actions: Tensor, noise: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Tokens [N, T, S], actions [N, T - 1], noise: draws(N, T, S) uniform numbers, for the
        clips' rates of mistakes, where those are, what they say, the frames' rates of masking, and
        where that is. weights [N, T - 1, S]: how much each token counts."""
        n, t, s = tokens.shape
        ends = [0]
        for size in (n, n * t * s, n * t * s, n * (t - 1), n * (t - 1) * s):
            ends.append(ends[-1] + size)
        rate, where, what, ratio, hide = (noise[a:b] for a, b in pairwise(ends))
        mistaken = where.view(n, t, s) < 0.1 * rate.view(n, 1, 1)
        wrong = (what.view(n, t, s) * self.codes).long()
        hidden_share = torch.cos(math.pi / 2 * ratio * (self.passes - 1) / self.passes)
        hidden = hide.view(n, t - 1, s) < hidden_share.view(n, t - 1, 1)
        next_tokens = tokens[:, 1:]
        logits = self.logits(
            torch.where(mistaken, wrong, tokens),
            torch.where(hidden, self.codes, next_tokens),
            actions,
        )
        every = functional.cross_entropy(
            logits.flatten(0, 2).to(self.embedding.dtype), next_tokens.flatten(), reduction="none"
        )
        cross_entropy = (every * hidden.flatten()).sum() / hidden.sum()
        learned = cross_entropy
        if weights is not None:
            learned = (every * (hidden * weights).flatten()).sum() / hidden.sum()
        right = (logits.argmax(-1) == next_tokens)[hidden].double().mean()
        return learned, {"cross_entropy": cross_entropy, "accuracy": right}
