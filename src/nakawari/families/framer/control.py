"""Point control of a batch: check tracks, and render them as heatmaps for the ControlNet."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from ...errors import NakawariWarning, UsageError
from ...media import to_uint8
from .heatmaps import heatmaps
from .matching import automatic_tracks
from .tracks import Tracks, check_tracks

Control = Tracks | Tensor | Sequence[Tracks | Tensor | None] | Literal["auto"] | None
"""Tracks (F, P, 2) for all clips, (B, F, P, 2) or a list of one each; "auto" = match the keys; None = no control."""

NOTHING_MATCHES = "No points match between the two keys: this clip is drawn without point control."


def resolve_tracks(
    control: Control, start: Tensor, end: Tensor, num_frames: int, seeds: Sequence[int]
) -> list[Tracks | None]:
    """The tracks of every clip, (F, P, 2) in pixels of the keys, or None for a clip without control.

    Args:
        control: see `Control`.
        start, end: the keys (B, 3, H, W) in [-1, 1].
        num_frames: F.
        seeds: one per clip, for "auto".

    Raises:
        NakawariError: tracks that do not fit the clip.
    """
    batch, size = start.shape[0], (start.shape[-2], start.shape[-1])
    if control is None:
        return [None] * batch
    if isinstance(control, str):
        if control != "auto":
            raise UsageError(f"tracks={control!r} is not valid; give tracks, 'auto' or None.")
        keys = zip(to_uint8(start), to_uint8(end), seeds, strict=True)
        return [_matched(first, last, num_frames, seed) for first, last, seed in keys]
    if isinstance(control, (np.ndarray, Tensor)):
        each: Sequence[Tracks | Tensor | None] = [control] * batch if control.ndim == 3 else list(control)
    else:
        each = list(control)
    if len(each) != batch:
        raise UsageError(f"There are tracks for {len(each)} clips and {batch} clips; give one set per clip.")
    return [None if own is None else check_tracks(_array(own), num_frames, size) for own in each]


def _array(tracks: Tracks | Tensor) -> Tracks:
    return tracks.detach().cpu().numpy() if isinstance(tracks, Tensor) else np.asarray(tracks)


def _matched(start: NDArray[np.uint8], end: NDArray[np.uint8], num_frames: int, seed: int) -> Tracks | None:
    tracks = automatic_tracks(start, end, num_frames, seed=seed)
    if tracks is None:
        warnings.warn(NOTHING_MATCHES, NakawariWarning, stacklevel=2)
    return tracks


def control_maps(
    tracks: Sequence[Tracks | None], num_frames: int, size: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Heatmaps (B, F, 1, H, W), 0 to 255 in float32: drawn at `size`, then padded below and to the right with zeros."""
    empty = np.zeros((num_frames, *size), np.uint8)
    maps = np.stack([empty if own is None else heatmaps(own, size) for own in tracks])
    return pad(torch.from_numpy(maps)[:, :, None].float(), (0, padding[1], 0, padding[0]))
