"""ST-LPIPS, a learned perceptual distance that tolerates small shifts, as an offline metric and loss.

Source: Ghildyal & Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022, AlexNet variant. The weights (BSD-2,
see assets/LICENSES.md) are stored in half precision; computation is in float32.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import NakawariError, UsageError
from .precision import in_float32

WEIGHTS = Path(__file__).parent / "assets" / "st_lpips_alex.safetensors"

# (input channels, output channels, kernel, padding) of the five convolutions; every stride is 1.
_LAYERS = ((3, 64, 11, 2), (64, 192, 5, 2), (192, 384, 3, 1), (384, 256, 3, 1), (256, 256, 3, 1))
_MIN_SIDE = 32


class ShiftTolerantLPIPS(nn.Module):
    """ST-LPIPS (alex). All subsampling is blur pooling with a binomial 3x3 filter and reflection padding of 2.

    `forward(x, y)`: (N, 3, H, W) in [-1, 1], both sides at least 32 -> distance (N,), 0 for equal images, lower is
    nearer. Differentiable in both; always computed in float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, kernel, padding=pad) for i, o, kernel, pad in _LAYERS)
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(o)) for _, o, _, _ in _LAYERS)
        self.register_buffer("mean", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)
        binomial = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("blur", torch.outer(binomial, binomial).view(1, 1, 3, 3), persistent=False)

    def _halve(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
        return F.conv2d(padded, self.blur.expand(channels, -1, -1, -1), stride=2, groups=channels)

    def features(self, x: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) in [-1, 1] -> five feature maps (N, C, h, w), each of unit norm over channels.

        The features of a fixed ground truth can be reused for `distance`.
        """
        if min(x.shape[-2:]) < _MIN_SIDE:
            raise NakawariError(
                f"ST-LPIPS needs frames of at least {_MIN_SIDE}x{_MIN_SIDE}, not {x.shape[-1]}x{x.shape[-2]}; "
                "use larger frames or leave this metric out."
            )
        with in_float32(x):
            h = (x.float() - self.mean) / self.std
            maps = []
            for index, conv in enumerate(self.convs):
                if index in (1, 2):
                    h = self._halve(F.max_pool2d(h, 3, stride=1))
                h = conv(h)
                h = (self._halve(h) if index == 0 else h).relu()
                # The root has no gradient where every channel is zero; the ReLU above masks it there.
                norm = h.square().sum(1, keepdim=True).sqrt()
                maps.append(h / (norm + 1e-10))
        return maps

    def distance(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Distance (N,) of two sets of features."""
        total = torch.zeros(first[0].shape[0], device=first[0].device)
        for head, a, b in zip(self.heads, first, second, strict=True):
            total = total + ((a - b).square() * head.view(1, -1, 1, 1)).sum(1).mean((1, 2))
        return total

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.distance(self.features(x), self.features(y))


Kind = Literal["st-lpips", "lpips-vgg", "lpips-alex"]


def load_perceptual(kind: Kind = "st-lpips") -> nn.Module:
    """The frozen perceptual distance, on the CPU, in eval mode, float32; a fresh module each call.

    `lpips-vgg` and `lpips-alex` are canonical LPIPS v0.1 (Zhang et al. 2018), by the package `lpips`, which downloads
    the trunk's weights on first use.

    Raises:
        UsageError: an unknown `kind`, or a missing package or weights.
        NakawariError: the bundled weights are missing or broken.
    """
    if kind in ("lpips-vgg", "lpips-alex"):
        return CanonicalLPIPS(kind.removeprefix("lpips-")).eval().requires_grad_(False)
    if kind != "st-lpips":
        raise UsageError(f"{kind!r} is not a perceptual distance; give st-lpips, lpips-vgg or lpips-alex.")
    module = ShiftTolerantLPIPS()
    module.load_state_dict({name: value.float() for name, value in _weights().items()})
    return module.eval().requires_grad_(False)


class CanonicalLPIPS(nn.Module):
    """LPIPS with the call signature of `ShiftTolerantLPIPS`. `trunk`: vgg or alex."""

    def __init__(self, trunk: str) -> None:
        super().__init__()
        try:
            import lpips
        except ImportError as error:
            raise UsageError(
                "LPIPS needs the packages lpips and torchvision; install them, or use the bundled st-lpips."
            ) from error
        try:
            self.distance = lpips.LPIPS(net=trunk, verbose=False)
        except OSError as error:
            raise UsageError(
                f"LPIPS could not download its {trunk} weights ({error}); use the bundled st-lpips."
            ) from error

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        with in_float32(x):
            return self.distance(x.float(), y.float()).flatten()


@cache
def _weights() -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise NakawariError(f"{WEIGHTS} is missing or broken ({error}); install nakawari again.") from error
