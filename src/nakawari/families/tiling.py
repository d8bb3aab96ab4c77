"""Sliced and tiled decoding, for diffusers' `enable_slicing` and `enable_tiling`: clip by clip, or tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from diffusers.models.autoencoders.vae import AutoencoderMixin
from torch import Tensor

TILE = 512
"""Pixels of a tile along each side."""
OVERLAP = 0.25
"""Overlap of adjacent tiles as a share of a tile, where they are blended."""

Window = tuple[slice, slice]


class DecodesInParts(AutoencoderMixin):
    """An autoencoder whose `decode` supports slicing and tiling. Slicing is exact; tiles have separate normalisation
    and attention, so the result differs slightly."""

    use_slicing = False
    use_tiling = False
    tile_size = TILE


def in_parts(vae: DecodesInParts, latents: Tensor, factor: int, decode: Callable[[slice, Window], Tensor]) -> Tensor:
    """Decode latents (B, ..., h, w) with the slicing and tiling settings of `vae`.

    Args:
        factor: pixels per latent cell.
        decode: maps some clips and a window of the latents to pixels (b, ..., factor * rows, factor * columns).
    """
    clips = len(latents)
    slices = [slice(n, n + 1) for n in range(clips)] if vae.use_slicing else [slice(0, clips)]
    tile = max(2, vae.tile_size // factor)
    height, width = latents.shape[-2:]
    if not vae.use_tiling or (height <= tile and width <= tile):
        whole = slice(0, height), slice(0, width)
        return torch.cat([decode(part, whole) for part in slices])
    return torch.cat([_tiled((height, width), tile, factor, lambda w, part=part: decode(part, w)) for part in slices])


def cut(values: Sequence[Tensor], window: Window, width: int) -> tuple[Tensor, ...]:
    """Crop tensors (..., H, W) of any multiple of a picture `width` cells wide to a window in cells."""
    return tuple(value[..., *(_scaled(side, value.shape[-1] // width) for side in window)] for value in values)


def _scaled(side: slice, factor: int) -> slice:
    return slice(side.start * factor, side.stop * factor)


def _tiled(size: tuple[int, int], tile: int, factor: int, decode: Callable[[Window], Tensor]) -> Tensor:
    total: Tensor | None = None
    weights: Tensor | None = None
    for rows in _places(size[0], tile):
        for columns in _places(size[1], tile):
            drawn = decode((rows, columns))
            ramps = [
                _ramp(side, whole, tile, factor).to(drawn) for side, whole in zip((rows, columns), size, strict=True)
            ]
            weight = ramps[0][:, None] * ramps[1]
            if total is None or weights is None:
                total = drawn.new_zeros(*drawn.shape[:-2], size[0] * factor, size[1] * factor)
                weights = drawn.new_zeros(total.shape[-2:])
            place = ..., _scaled(rows, factor), _scaled(columns, factor)
            total[place] = total[place] + drawn * weight
            weights[place] = weights[place] + weight
    assert total is not None and weights is not None
    return total / weights


def _places(length: int, tile: int) -> list[slice]:
    """Tiles along one side, the last one flush with the end."""
    if length <= tile:
        return [slice(0, length)]
    step = max(1, round(tile * (1 - OVERLAP)))
    starts = [*range(0, length - tile, step), length - tile]
    return [slice(start, start + tile) for start in starts]


def _ramp(side: slice, length: int, tile: int, factor: int) -> Tensor:
    """Blend weights of a tile's pixels along one side, with ramps in the overlaps."""
    count, edge = (side.stop - side.start) * factor, max(1, round(tile * OVERLAP)) * factor
    ramp = torch.ones(count)
    slope = (torch.arange(edge) + 0.5) / edge
    if side.start > 0:
        ramp[:edge] = slope
    if side.stop < length:
        ramp[-edge:] = torch.minimum(ramp[-edge:], slope.flip(0))
    return ramp
