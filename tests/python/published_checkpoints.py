"""Checkpoints of random weights, written as three repositories write theirs, and what these say that
V and M are: their forward passes, in float64, in the order of their own tensors.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

LATENTS, HIDDEN, COMPONENTS = 6, 20, 3
"""M's are not multiples of what kernels compute at once."""

Tensors = dict[str, Tensor]
CONVOLUTIONS = ((3, 32, 4), (32, 64, 4), (64, 128, 4), (128, 256, 4))
DECONVOLUTIONS = ((1024, 128, 5), (128, 64, 5), (64, 32, 6), (32, 3, 6))


class Networks:
    """What V and M of a layout compute, as its repository says. Frames are [N, 3, 64, 64] in [0, 1]."""

    log_std = False
    """Whether the encoder's second head gives log standard deviations."""
    layout = ""

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of z."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        raise NotImplementedError

    def step(
        self, z: Tensor, action: Tensor, first: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The LSTM's new h and c. first: [N], whether z is of an episode's first frame."""
        raise NotImplementedError

    def mixture(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights [N, mixtures, components], means and deviations [N, latents, components]."""
        raise NotImplementedError

    def reward(self, h: Tensor) -> Tensor | None:
        return None

    def termination_logit(self, h: Tensor) -> Tensor | None:
        return None

    def write(self, folder: Path) -> tuple[Path, Path]:
        """V's file and M's."""
        raise NotImplementedError


def randomly(module: nn.Module, seed: int, gain: float = 2.0) -> nn.Module:
    """Larger weights than torch's own, so that pictures have contrast and M has something to say."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        bound = gain * parameter.abs().max().item()
        with torch.no_grad():
            parameter.uniform_(-bound, bound, generator=generator)
    return module


class _CtallecDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(LATENTS, 1024)
        for i, (inputs, outputs, kernel) in enumerate(DECONVOLUTIONS, 1):
            setattr(self, f"deconv{i}", nn.ConvTranspose2d(inputs, outputs, kernel, stride=2))


class _CtallecEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for i, (inputs, outputs, kernel) in enumerate(CONVOLUTIONS, 1):
            setattr(self, f"conv{i}", nn.Conv2d(inputs, outputs, kernel, stride=2))
        self.fc_mu = nn.Linear(1024, LATENTS)
        self.fc_logsigma = nn.Linear(1024, LATENTS)


class Ctallec(Networks):
    """models/vae.py and models/mdrnn.py of ctallec/world-models, best.tar of its trainings."""

    layout = "ctallec"

    def __init__(self, actions: int = 3, heads: bool = True, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.heads = heads
        self.v = nn.ModuleDict({"encoder": _CtallecEncoder(), "decoder": _CtallecDecoder()})
        outputs = (2 * LATENTS + 1) * COMPONENTS + (2 if heads else 0)
        self.m = nn.ModuleDict(
            {"gmm_linear": nn.Linear(HIDDEN, outputs), "rnn": nn.LSTM(LATENTS + actions, HIDDEN)}
        )
        randomly(self.v, seed)
        randomly(self.m, seed + 1, 3)

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        encoder, x = self.v["encoder"].double(), frames.double()
        for i in range(1, 5):
            x = F.relu(getattr(encoder, f"conv{i}")(x))
        x = x.reshape(len(x), -1)
        return encoder.fc_mu(x), encoder.fc_logsigma(x).exp()

    def decode(self, z: Tensor) -> Tensor:
        decoder = self.v["decoder"].double()
        x = F.relu(decoder.fc1(z))[..., None, None]
        for i in range(1, 4):
            x = F.relu(getattr(decoder, f"deconv{i}")(x))
        return torch.sigmoid(decoder.deconv4(x))

    def step(
        self, z: Tensor, action: Tensor, first: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor]:
        inputs = torch.cat([action, z], dim=-1)[None]
        _, (h, c) = self.m["rnn"].double()(inputs, (h[None], c[None]))
        return h[0], c[0]

    def _outputs(self, h: Tensor) -> Tensor:
        outputs: Tensor = self.m["gmm_linear"].double()(h)
        return outputs

    def mixture(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, stride = self._outputs(h), COMPONENTS * LATENTS
        means = out[:, :stride].view(-1, COMPONENTS, LATENTS)
        sigmas = torch.exp(out[:, stride : 2 * stride].view(-1, COMPONENTS, LATENTS))
        log_pi = F.log_softmax(out[:, 2 * stride : 2 * stride + COMPONENTS], dim=-1)
        return log_pi[:, None], means.transpose(1, 2), sigmas.transpose(1, 2)

    def reward(self, h: Tensor) -> Tensor | None:
        return self._outputs(h)[:, -2] if self.heads else None

    def termination_logit(self, h: Tensor) -> Tensor | None:
        return self._outputs(h)[:, -1] if self.heads else None

    def write(self, folder: Path) -> tuple[Path, Path]:
        files = []
        for name, network in (("vae", self.v), ("mdrnn", self.m)):
            file = folder / name / "best.tar"
            file.parent.mkdir(parents=True, exist_ok=True)
            optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-3, alpha=0.9)
            scheduler = {"factor": 0.5, "best": float("inf"), "num_bad_epochs": 0}
            state = network.float().state_dict()
            torch.save(
                {
                    "epoch": 7,
                    "state_dict": state,
                    "precision": 1.25,
                    "optimizer": optimizer.state_dict(),
                    "scheduler": scheduler,
                },
                file,
            )
            files.append(file)
        return files[0], files[1]


class Sksq96(Networks):
    """vae.py of sksq96/pytorch-vae and mdn-rnn.ipynb of sksq96/pytorch-mdn; M reads actions too."""

    layout = "sksq96"

    def __init__(self, actions: int = 3, seed: int = 0) -> None:
        torch.manual_seed(seed)
        encoder: list[nn.Module] = []
        for inputs, outputs, kernel in CONVOLUTIONS:
            encoder += [nn.Conv2d(inputs, outputs, kernel, stride=2), nn.ReLU()]
        decoder: list[nn.Module] = [nn.Unflatten(1, (1024, 1, 1))]
        for inputs, outputs, kernel in DECONVOLUTIONS:
            decoder += [nn.ConvTranspose2d(inputs, outputs, kernel, stride=2), nn.ReLU()]
        decoder[-1] = nn.Sigmoid()
        self.v = nn.ModuleDict(
            {
                "encoder": nn.Sequential(*encoder, nn.Flatten()),
                "fc1": nn.Linear(1024, LATENTS),
                "fc2": nn.Linear(1024, LATENTS),
                "fc3": nn.Linear(LATENTS, 1024),
                "decoder": nn.Sequential(*decoder),
            }
        )
        heads = {f"fc{i}": nn.Linear(HIDDEN, COMPONENTS * LATENTS) for i in (1, 2, 3)}
        lstm = nn.LSTM(LATENTS + actions, HIDDEN, batch_first=True)
        self.m = nn.ModuleDict({"lstm": lstm, **heads})
        randomly(self.v, seed)
        randomly(self.m, seed + 1, 3)

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        v = self.v.double()
        h = v["encoder"](frames.double())
        return v["fc1"](h), v["fc2"](h).mul(0.5).exp()

    def decode(self, z: Tensor) -> Tensor:
        v = self.v.double()
        image: Tensor = v["decoder"](v["fc3"](z))
        return image

    def step(
        self, z: Tensor, action: Tensor, first: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor]:
        inputs = torch.cat([z, action], dim=-1)[:, None]
        _, (h, c) = self.m["lstm"].double()(inputs, (h[None], c[None]))
        return h[0], c[0]

    def mixture(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m = self.m.double()
        pi, mu, sigma = (m[f"fc{i}"](h).view(-1, COMPONENTS, LATENTS) for i in (1, 2, 3))
        pi, sigma = F.softmax(pi, 1), torch.exp(sigma)
        return pi.log().transpose(1, 2), mu.transpose(1, 2), sigma.transpose(1, 2)

    def write(self, folder: Path) -> tuple[Path, Path]:
        folder.mkdir(parents=True, exist_ok=True)
        files = folder / "vae.torch", folder / "rnn.torch"
        for file, network in zip(files, (self.v, self.m), strict=True):
            torch.save(OrderedDict(network.float().state_dict()), file)
        return files


class Hardmaru(Networks):
    """vae.json and rnn.json of hardmaru/WorldModelsExperiments, of doomrnn/ or of carracing/.

    In NumPy: TensorFlow's layers are the sums that its documentation says they are.
    """

    layout = "hardmaru"

    def __init__(self, actions: int = 1, doom: bool = True, seed: int = 0) -> None:
        self.doom = doom
        generator = np.random.default_rng(seed)

        def variable(*shape: int, inputs: int, gain: float = 2.0) -> np.ndarray:
            bound = gain / np.sqrt(inputs)
            return np.round(generator.uniform(-bound, bound, shape) * 10000).astype(int)

        self.vision: dict[str, np.ndarray] = {}

        def layer(name: str, kernel: tuple[int, ...], outputs: int, inputs: int) -> None:
            self.vision[f"{name}/kernel"] = variable(*kernel, inputs=inputs)
            self.vision[f"{name}/bias"] = variable(outputs, inputs=inputs, gain=1)

        for i, (inputs, outputs, k) in enumerate(CONVOLUTIONS, 1):
            layer(f"enc_conv{i}", (k, k, inputs, outputs), outputs, inputs * k * k)
        layer("enc_fc_mu", (1024, LATENTS), LATENTS, 1024)
        layer("enc_fc_log_var", (1024, LATENTS), LATENTS, 1024)
        layer("dec_fc", (LATENTS, 1024), 1024, LATENTS)
        for i, (inputs, outputs, k) in enumerate(DECONVOLUTIONS, 1):
            layer(f"dec_deconv{i}", (k, k, outputs, inputs), outputs, inputs * k * k // 4)
        read = LATENTS + actions + int(doom)
        outputs = LATENTS * COMPONENTS * 3 + int(doom)
        lstm = [
            variable(read + HIDDEN, 4 * HIDDEN, inputs=HIDDEN, gain=3),
            variable(4 * HIDDEN, inputs=HIDDEN, gain=3),
        ]
        output = [
            variable(HIDDEN, outputs, inputs=HIDDEN, gain=3),
            variable(outputs, inputs=HIDDEN, gain=3),
        ]
        self.memory = lstm + output if doom else output + lstm
        (self.kernel, self.bias), (self.w, self.b) = (
            [torch.from_numpy(array / 10000.0) for array in pair] for pair in (lstm, output)
        )

    def _variable(self, name: str) -> Tensor:
        return torch.from_numpy(self.vision[name] / 10000.0)

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        x = frames.double().permute(0, 2, 3, 1)  # TensorFlow's images have their channels innermost
        for i in range(1, 5):
            kernel, side = self._variable(f"enc_conv{i}/kernel"), (x.shape[1] - 4) // 2 + 1
            windows = x.unfold(1, 4, 2).unfold(2, 4, 2)[:, :side, :side]  # [N, y, x, c, ky, kx]
            x = torch.einsum("nyxcij,ijco->nyxo", windows, kernel)
            x = F.relu(x + self._variable(f"enc_conv{i}/bias"))
        x = x.reshape(-1, 2 * 2 * 256)
        mu, logvar = (
            x @ self._variable(f"{name}/kernel") + self._variable(f"{name}/bias")
            for name in ("enc_fc_mu", "enc_fc_log_var")
        )
        return mu, torch.exp(logvar / 2)

    def decode(self, z: Tensor) -> Tensor:
        h = z @ self._variable("dec_fc/kernel") + self._variable("dec_fc/bias")
        x = h.reshape(-1, 1, 1, 1024)
        for i in range(1, 5):
            kernel = self._variable(f"dec_deconv{i}/kernel")  # [height, width, outputs, inputs]
            k, side = kernel.shape[0], 2 * (x.shape[1] - 1) + kernel.shape[0]
            out = torch.zeros(len(x), side, side, kernel.shape[2], dtype=torch.float64)
            for at_y in range(x.shape[1]):
                for at_x in range(x.shape[2]):
                    square = torch.einsum("nc,ijoc->nijo", x[:, at_y, at_x], kernel)
                    out[:, 2 * at_y : 2 * at_y + k, 2 * at_x : 2 * at_x + k] += square
            out += self._variable(f"dec_deconv{i}/bias")
            x = torch.sigmoid(out) if i == 4 else F.relu(out)
        return x.permute(0, 3, 1, 2)

    def step(
        self, z: Tensor, action: Tensor, first: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor]:
        flag = [first.double()[:, None]] if self.doom else []
        gates = torch.cat([z, action, *flag, h], 1) @ self.kernel + self.bias
        i, j, f, o = gates.chunk(4, dim=1)
        c = c * torch.sigmoid(f + 1.0) + torch.sigmoid(i) * torch.tanh(j)
        return torch.tanh(c) * torch.sigmoid(o), c

    def mixture(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out = (h @ self.w + self.b)[:, int(self.doom) :]
        logmix, mean, logstd = out.reshape(-1, 3 * COMPONENTS).chunk(3, dim=1)
        logmix = logmix - torch.logsumexp(logmix, 1, keepdim=True)
        shape = (len(h), LATENTS, COMPONENTS)
        return logmix.view(shape), mean.reshape(shape), logstd.exp().view(shape)

    def termination_logit(self, h: Tensor) -> Tensor | None:
        return (h @ self.w + self.b)[:, 0] if self.doom else None

    def write(self, folder: Path) -> tuple[Path, Path]:
        folder.mkdir(parents=True, exist_ok=True)
        files = folder / "vae.json", folder / "rnn.json"
        for file, arrays in zip(files, (self.vision.values(), self.memory), strict=True):
            file.write_text(json.dumps([array.tolist() for array in arrays]))
        return files


def write_starts(file: Path, count: int = 5, logvar: float | None = -2.0) -> Path:
    """Latents that dreams begin from."""
    mu = np.random.default_rng(1).normal(size=(count, LATENTS)).astype(np.float32)
    spread = {} if logvar is None else {"logvar": np.full_like(mu, logvar)}
    np.savez(file, mu=mu, **spread)
    return file
