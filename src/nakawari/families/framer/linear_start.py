"""Initialise a small autoencoder as average pooling and upsampling instead of randomly.

This saves hundreds of training steps that would otherwise be spent on learning the identity. Every
residual branch starts at zero, downsampling convolutions average, upsampling ones repeat, and red, green and blue pass
through the last group norms and activations unchanged: each colour v is in a group of four channels as
(v, -v, K, -K), whose mean is zero and whose deviation hardly depends on v, and silu(a) - silu(-a) = a.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor, nn

_K = 4.0
_COLOURS = 3
_GROUP = 4


@torch.no_grad()
def start_linear(vae: AutoencoderKLTemporalDecoder) -> None:
    """Give `vae` these weights; its first three latents become the mean colours of 8 x 8 pixels (as deep as it is).

    Raises:
        ValueError: a width that changes with depth, or fewer than 12 channels or 3 latents.
    """
    widths = set(vae.config.block_out_channels)
    if len(widths) != 1 or min(widths) < _COLOURS * _GROUP or vae.config.latent_channels < _COLOURS:
        raise ValueError("a linear start needs one width for all levels, at least 12 channels and at least 3 latents")
    encoder, decoder = vae.encoder, vae.decoder
    for name, parameter in vae.named_parameters():
        # The last layer of every residual branch, in space and in time, and of attention.
        if name.rpartition(".")[0].endswith(("conv2", "to_out.0")):
            parameter.zero_()
    for first in (encoder.conv_in, decoder.conv_in):
        _spread(first)
    for last in (encoder.conv_out, decoder.conv_out):
        _gather(last)
    _identity(vae.quant_conv, vae.quant_conv.weight.shape[0])
    _identity(decoder.time_conv_out, _COLOURS)
    for block in encoder.down_blocks[:-1]:
        _resample(block.downsamplers[0].conv, torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 0]]) / 4, (0, 0))
    for number, block in enumerate(decoder.up_blocks[:-1], start=2):
        tent = torch.tensor([0.25, 0.5, 0.25])
        kernel = torch.outer(tent, tent) if number == len(decoder.up_blocks) else _centre()
        _resample(block.upsamplers[0].conv, kernel, (1, 1))


def _centre() -> Tensor:
    kernel = torch.zeros(3, 3)
    kernel[1, 1] = 1
    return kernel


def _spread(conv: nn.Conv2d) -> None:
    """Copy the colours into their groups of channels."""
    used = _COLOURS * _GROUP
    conv.weight[:used] = 0
    conv.bias[:used] = 0
    for colour in range(_COLOURS):
        first = colour * _GROUP
        conv.weight[first, colour] = _centre()
        conv.weight[first + 1, colour] = -_centre()
        conv.bias[first + 2], conv.bias[first + 3] = _K, -_K


def _gather(conv: nn.Conv2d) -> None:
    """Read the colours from their normalised groups; further outputs start at zero."""
    conv.weight.zero_()
    conv.bias.zero_()
    # The deviation of (v, -v, K, -K) at v = 0.6, a typical value.
    deviation = ((_K**2 + 0.36) / 2) ** 0.5
    for colour in range(_COLOURS):
        conv.weight[colour, colour * _GROUP] = deviation * _centre()
        conv.weight[colour, colour * _GROUP + 1] = -deviation * _centre()


def _identity(conv: nn.Conv2d | nn.Conv3d, channels: int) -> None:
    conv.weight.zero_()
    conv.bias.zero_()
    middle = tuple(side // 2 for side in conv.kernel_size)
    for channel in range(channels):
        conv.weight[(channel, channel, *middle)] = 1


def _resample(conv: nn.Conv2d, kernel: Tensor, still: tuple[int, int]) -> None:
    """`kernel` for the colours; the constants are read from the one tap that never covers padding."""
    used = _COLOURS * _GROUP
    conv.weight[:used] = 0
    conv.bias[:used] = 0
    for channel in range(used):
        if channel % _GROUP < 2:
            conv.weight[channel, channel] = kernel
        else:
            conv.weight[channel, channel, still[0], still[1]] = 1
