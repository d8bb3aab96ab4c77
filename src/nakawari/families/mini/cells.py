"""Pixels and the channels of latent cells: the same numbers in another order in memory.

Convolutions are fastest where channels are last in memory; pictures are planes.
"""

from __future__ import annotations

import torch
from torch import Tensor

_RUNS = {8: torch.complex64, 16: torch.complex128}
"""Bytes -> the dtype of a number of that size."""


def unshuffled(pixels: Tensor, stride: int) -> Tensor:
    """As `pixel_unshuffle`, (N, C, H, W) -> (N, C stride^2, h, w), channels last in memory."""
    count, channels, height, width = pixels.shape
    dtype, run = pixels.dtype, _RUNS.get(stride * pixels.element_size())
    if pixels.device.type == "cpu" and run is not None and not pixels.requires_grad:
        # The pixels of one row of a cell stay together, so they are copied as one number: in a third of the time.
        rows = pixels.contiguous().view(run).view(count, channels, height // stride, stride, width // stride)
        return rows.permute(0, 2, 4, 1, 3).contiguous().view(dtype).flatten(3).permute(0, 3, 1, 2)
    patches = pixels.reshape(count, channels, height // stride, stride, width // stride, stride)
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).permute(0, 3, 1, 2)


def channels_last(values: Tensor) -> Tensor:
    """(N, C, h, w), channels last in memory. `contiguous` takes fifteen times as long."""
    last = values.is_contiguous(memory_format=torch.channels_last)
    if last or values.device.type != "cpu" or values.requires_grad or values.dtype != torch.float32:
        return values.contiguous(memory_format=torch.channels_last)
    import cv2

    count, channels, height, width = values.shape
    rows = values.new_empty(count, height * width, channels)
    for picture, target in zip(values.flatten(2).numpy(), rows.numpy(), strict=True):
        cv2.transpose(picture, target)
    return rows.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def shuffled(patches: Tensor, stride: int) -> Tensor:
    """As `pixel_shuffle`, (N, C stride^2, h, w) -> (N, C, H, W), from channels that are last in memory."""
    dtype, run = patches.dtype, _RUNS.get(stride * patches.element_size())
    if patches.device.type == "cpu" and run is not None and not patches.requires_grad:
        rows = patches.permute(0, 2, 3, 1).contiguous().view(run).unflatten(-1, (-1, stride))  # as in `unshuffled`
        return rows.permute(0, 3, 1, 4, 2).contiguous().view(dtype).flatten(2, 3)
    cells = patches.permute(0, 2, 3, 1).unflatten(-1, (-1, stride, stride))
    return cells.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
