"""V and M of World Models in plain Python PyTorch: the independent reference.

Nothing here calls genie_env. The tests compare our C++ networks with these in values and gradients,
and `train_speed.py` compares the time of a training step. Parameters have the names of ours, except
that torch's LSTM has a second bias, which `load_ours` sets to zero. Noise is an argument, so that a
test can pass the draws of ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional


class PlainVision(nn.Module):
    """The variational autoencoder (Ha & Schmidhuber 2018, appendix A.1); with frames of 64 x 64 x 3 the
    paper's. A side of 48 has a border of 8 black pixels at either end."""

    def __init__(
        self,
        latents: int = 64,
        beta: float = 1,
        frame: tuple[int, int] = (64, 64),
        emphasis: float = 0,
    ) -> None:
        super().__init__()
        self.borders = [8 if side == 48 else 0 for side in frame]
        seen = [max(side, 64) for side in frame]
        self.grid = [(side - 48) // 16 for side in seen]
        encoded = self.grid_of_encoder(*seen)
        self.latents = latents
        self.beta, self.emphasis = beta, emphasis
        self.conv1 = nn.Conv2d(3, 32, 4, stride=2)
        self.conv2 = nn.Conv2d(32, 64, 4, stride=2)
        self.conv3 = nn.Conv2d(64, 128, 4, stride=2)
        self.conv4 = nn.Conv2d(128, 256, 4, stride=2)
        self.mu = nn.Linear(256 * encoded, latents)
        self.logvar = nn.Linear(256 * encoded, latents)
        self.expand = nn.Linear(latents, 1024 * self.grid[0] * self.grid[1])
        self.deconv1 = nn.ConvTranspose2d(1024, 128, 5, stride=2)
        self.deconv2 = nn.ConvTranspose2d(128, 64, 5, stride=2)
        self.deconv3 = nn.ConvTranspose2d(64, 32, 6, stride=2)
        self.deconv4 = nn.ConvTranspose2d(32, 3, 6, stride=2)

    @staticmethod
    def grid_of_encoder(height: int, width: int) -> int:
        """Pixels of what four convolutions make of an image."""
        for _ in range(4):
            height, width = (height - 4) // 2 + 1, (width - 4) // 2 + 1
        return height * width

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels in [0, 1], [N, 3, H, W], to mu and logvar, [N, latents] each."""
        (top, left), x = self.borders, pixels
        if top or left:
            x = functional.pad(x, (left, left, top, top))
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        x = functional.relu(self.conv3(x))
        x = functional.relu(self.conv4(x)).flatten(1)
        return self.mu(x), self.logvar(x)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents, [N, latents], to pixels in [0, 1], [N, 3, H, W]."""
        x = self.expand(latents).unflatten(1, (*self.grid, 1024)).permute(0, 3, 1, 2)
        x = functional.relu(self.deconv1(x))
        x = functional.relu(self.deconv2(x))
        x = functional.relu(self.deconv3(x))
        x = torch.sigmoid(self.deconv4(x))
        (top, left), (height, width) = self.borders, x.shape[2:]
        return x[:, :, top : height - top, left : width - left]

    def loss(self, frames: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Frames uint8 [N, H, W, 3], noise [N, latents]: the loss and its terms."""
        pixels = frames.permute(0, 3, 1, 2).to(noise.dtype) / 255
        mu, logvar = (x.to(noise.dtype) for x in self.encode(pixels))
        decoded = self.decode(mu + torch.exp(logvar / 2) * noise).to(noise.dtype)
        errors = (decoded - pixels).square()
        squared_error = errors.sum((1, 2, 3)).mean()
        learned = squared_error
        if self.emphasis:
            far = (pixels - pixels.mean(0)).square().mean(1, keepdim=True)
            weight = (1 + self.emphasis * far / far.mean()) / (1 + self.emphasis)
            learned = (weight * errors).sum((1, 2, 3)).mean()
        kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1)
        floored = kl.clamp(min=0.5 * self.latents).mean()
        return learned + self.beta * floored, {"squared_error": squared_error, "kl": kl.mean()}


class PlainMemory(nn.Module):
    """The MDN-RNN (appendix A.2): an LSTM, a mixture a latent dimension, a termination logit.

    With `joint`, as other implementations of the paper have it, one mixture over whole latent vectors,
    whose components have diagonal covariances.
    """

    def __init__(
        self,
        latents: int = 64,
        hidden: int = 512,
        components: int = 5,
        actions: int = 1,
        rewards: tuple[float, float] | None = None,
        judges_termination: bool = False,
        joint: bool = False,
    ) -> None:
        """`rewards` and `judges_termination` add a head that reads the next z too."""
        super().__init__()
        self.latents, self.components, self.joint = latents, components, joint
        self.lstm = nn.LSTM(latents + actions + 1, hidden, batch_first=True)
        mixtures = 1 if joint else latents
        self.output = nn.Linear(hidden, (mixtures + 2 * latents) * components + 1)
        self.judges_termination = judges_termination
        self.bins = None
        if rewards is not None:
            ends = torch.tensor(rewards, dtype=torch.float64)
            symlog = torch.sign(ends) * torch.log1p(ends.abs())
            even = torch.linspace(float(symlog[0]), float(symlog[1]), 63, dtype=torch.float64)
            self.bins = torch.sign(even) * torch.expm1(even.abs())
        if rewards is not None or judges_termination:
            self.outcome = nn.ModuleDict(
                {
                    "units": nn.Linear(hidden + latents, 256),
                    "output": nn.Linear(256, 63 * (rewards is not None) + judges_termination),
                }
            )

    def load_ours(self, weights: Mapping[str, Tensor]) -> None:
        """Takes the weights of our C++ M (one LSTM bias)."""
        self.load_state_dict(
            {
                "lstm.weight_ih_l0": weights["weight_ih"],
                "lstm.weight_hh_l0": weights["weight_hh"],
                "lstm.bias_ih_l0": weights["bias"],
                "lstm.bias_hh_l0": torch.zeros_like(weights["bias"]),
                "output.weight": weights["output.weight"],
                "output.bias": weights["output.bias"],
                **{name: weight for name, weight in weights.items() if "outcome" in name},
            }
        )

    def gradients_as_ours(self) -> dict[str, Tensor | None]:
        """The gradients under the names of our C++ M."""
        ours = {
            "lstm.weight_ih_l0": "weight_ih",
            "lstm.weight_hh_l0": "weight_hh",
            "lstm.bias_ih_l0": "bias",
        }
        return {
            ours.get(name, name): parameter.grad
            for name, parameter in self.named_parameters()
            if name != "lstm.bias_hh_l0"
        }

    def log_likelihood(self, output: Tensor, z: Tensor) -> Tensor:
        """Of z, [..., latents], under what M's output says of it; divided by the latents, [...]."""
        gaussians = self.latents * self.components
        sizes = [output.shape[-1] - 1 - 2 * gaussians, gaussians, gaussians, 1]
        parts = output.split(sizes, dim=-1)[:3]
        log_weight, mean, log_std = (part.unflatten(-1, (-1, self.components)) for part in parts)
        distance = (z[..., None] - mean) * torch.exp(-log_std)
        log_normal = -0.5 * distance.square() - log_std - 0.5 * math.log(2 * math.pi)
        if self.joint:
            log_normal = log_normal.sum(-2, keepdim=True)
        log_likelihood = torch.logsumexp(log_weight.log_softmax(-1) + log_normal, dim=-1)
        return log_likelihood.sum(-1) / self.latents

    def loss(
        self, batch: Mapping[str, Tensor], noise: Tensor, kept: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The batch of `genie_env/models/vision_memory/memory.h`, noise [N, T, latents]: the loss and its terms.

        `kept`, bool [N, hidden], are the units that outcomes are read from in training (dropout,
        one mask a window: Gal & Ghahramani 2016); without it, all of them.

        M reads (z_t, a_t, restart_t) and says z_{t+1} and whether a_t ends the episode. Windows are
        cut from a stream of episodes, whose last frames say nothing of the next one's first.
        """
        restarts, deaths = batch["restarts"], batch["terminations"]
        z = batch["mu"] + torch.exp(batch["logvar"] / 2) * noise
        hidden, _ = self.lstm(torch.cat([z, batch["actions"], restarts[..., None]], dim=-1))
        output = self.output(hidden)
        read = hidden if kept is None else hidden * 2 * kept[:, None]
        logit = read @ self.output.weight[-1] + self.output.bias[-1]

        has_next = restarts[:, 1:] == 0
        nll = -self.log_likelihood(output[:, :-1], z[:, 1:])[has_next].mean()
        judged = batch["finals"] == 0
        terms = {"nll": nll}
        if self.bins is not None or self.judges_termination:
            units = self.outcome["units"](torch.cat([read[:, :-1], z[:, 1:]], dim=-1))
            outcomes = self.outcome["output"](torch.relu(units))
        if self.judges_termination:
            logit = torch.cat([logit[:, :-1] + outcomes[..., -1], logit[:, -1:]], dim=1)
            judged = torch.cat([has_next, torch.zeros_like(has_next[:, :1])], dim=1)
        if self.bins is not None:
            distance = (batch["rewards"][:, :-1, None] - self.bins).abs()
            near, where = distance.topk(2, largest=False)
            share = near.flip(-1) / near.sum(-1, keepdim=True)
            chosen = outcomes[..., :63].log_softmax(-1).gather(-1, where)
            terms["reward"] = -(share * chosen).sum(-1)[has_next].mean()
        terms["termination"] = functional.binary_cross_entropy_with_logits(
            logit[judged], deaths[judged], pos_weight=torch.full_like(logit[0, 0], 10)
        )
        return sum(terms.values()), terms
