"""Conditions in training: building, dropout per sample, selection of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...families.base import Condition, InterpolationPipeline
from ...guide import Guide
from .base import Batch
from .params import DenoisingParams

CONTROL = "controlnet"
"""Name of the ControlNet component, in families that have one."""


def keys_of(frames: Tensor) -> tuple[Tensor, Tensor]:
    """First and last frame of clips (B, F, 3, H, W)."""
    return frames[:, 0], frames[:, -1]


def condition_of(
    pipeline: InterpolationPipeline, batch: Batch, guided: Sequence[bool], generators: Sequence[Any] | None = None
) -> Condition:
    """The condition of a batch of clips, sample i with motion guidance where `guided[i]`.

    `generators`, one per sample, supply the random numbers of the condition; see `InterpolationPipeline.condition`.
    """
    parts, order = [], []
    for wanted in (True, False):
        chosen = [index for index, flag in enumerate(guided) if flag == wanted]
        if chosen:
            parts.append(_build(pipeline, batch, chosen, wanted, generators))
            order += chosen
    if len(parts) == 1:
        return parts[0]
    return Condition.cat(parts).select([order.index(index) for index in range(len(order))])


def _build(
    pipeline: InterpolationPipeline, batch: Batch, chosen: list[int], guided: bool, generators: Sequence[Any] | None
) -> Condition:
    frames = batch["frames"][chosen]
    words: dict[str, Any] = {}
    if batch.get("prompt") is not None:
        words["prompt"] = [batch["prompt"][i] for i in chosen]
    if (rates := rates_of(pipeline, batch)) is not None:
        words["fps"] = [rates[i] for i in chosen]
    if (tracks := tracks_of(pipeline, batch)) is not None:
        words["control"] = [tracks[i] for i in chosen]
    if generators is not None:
        words["generator"] = [generators[i] for i in chosen]
    if guided and batch.get("guide") is not None:
        words["guide"] = Guide.from_stacked(batch["guide"][chosen])
    return pipeline.condition(*keys_of(frames), num_frames=frames.shape[1], guided=guided, **words)


def rates_of(pipeline: InterpolationPipeline, batch: Batch) -> list[int] | None:
    """Frames per second of a batch's clips for the family's condition, its default for clips of unknown rate; None
    if the family has no such condition (see `InterpolationPipeline.trained_fps`)."""
    if pipeline.trained_fps is None or batch.get("fps") is None:
        return None
    low, high = pipeline.trained_fps
    return [min(max(round(rate), low), high) if rate else pipeline.config.default_fps for rate in batch["fps"]]


def tracks_of(pipeline: InterpolationPipeline, batch: Batch) -> list[Any] | None:
    """The tracks of a batch's clips, (F, P, 2) each; None without tracks, or if the model has no point control."""
    return batch.get("tracks") if pipeline.components.get(CONTROL) is not None else None


def without_control(condition: Condition) -> Condition:
    """The condition for clips without tracks: the ControlNet's residuals are multiplied by zero."""
    scale = condition.extra["control_scale"]
    return condition.replace(extra={**condition.extra, "control_scale": torch.zeros_like(scale)})


def drop_parts(
    pipeline: InterpolationPipeline, condition: Condition, params: DenoisingParams, drawn: Tensor
) -> Condition:
    """The condition with text, image or both dropped at the rates of `params`; `drawn` (B,) is uniform in [0, 1)."""
    if condition.tokens is None:
        return condition
    both = params.image_dropout
    text = both + params.text_dropout
    alone = text + params.image_only_dropout
    without_text = pipeline.unconditional(condition, keep_image=True)
    for other, low, high in (
        (without_text, both, text),
        (without_image(condition), text, alone),
        (pipeline.unconditional(condition), 0.0, both),
    ):
        condition = exchange(condition, other, ((drawn >= low) & (drawn < high)).tolist())
    return condition


def drop_control(condition: Condition, rate: float, draw: Callable[[], Tensor]) -> Condition:
    """The condition with tracks dropped at `rate`, if it has any; `draw` returns uniform numbers (B,)."""
    if condition.control is None or not rate:
        return condition
    return exchange(condition, without_control(condition), (draw() < rate).tolist())


def exchange(condition: Condition, other: Condition, taken: Sequence[bool]) -> Condition:
    """`condition`, with sample i from `other` where `taken[i]`."""
    if not any(taken):
        return condition
    joined = Condition.cat([condition, other])
    return joined.select([index + condition.batch * flag for index, flag in enumerate(taken)])


def without_image(condition: Condition) -> Condition:
    """The condition with text and without image.

    The layout of the tokens depends on the family; tokens that are equal with and without the
    image are text.
    """
    if condition.tokens is None or condition.image_tokens is None or condition.null_tokens is None:
        return condition
    is_text = condition.image_tokens == condition.null_tokens
    return condition.replace(tokens=torch.where(is_text, condition.tokens, condition.null_tokens))


def pick(values: Tensor, frames: Tensor) -> Tensor:
    """The frames listed in `frames` (B, k) for each sample, from `values` (B, F, ...)."""
    rows = torch.arange(len(values), device=values.device)[:, None]
    return values[rows, frames.to(values.device)]


def some_frames(condition: Condition, frames: Tensor) -> Condition:
    """The condition for decoding only the frames listed per sample in `frames` (B, k)."""
    return condition.replace(
        num_frames=frames.shape[1],
        base=None if condition.base is None else pick(condition.base, frames),
        guide=None if condition.guide is None else condition.guide.map_frames(lambda tensor: pick(tensor, frames)),
    )


def drawn_by_nothing(frames: Tensor, condition: Condition) -> Tensor:
    """The frames of a zero prediction: the guide's blend, or the average of the keys; shaped like `frames`."""
    if condition.guide is not None:
        return condition.guide.blend()[..., : frames.shape[-2], : frames.shape[-1]]
    start, end = keys_of(frames)
    return ((start + end) / 2)[:, None].expand_as(frames)


def inner(values: Tensor, inner_only: bool = True) -> Tensor:
    """(B, F, ...) without the two key frames, if there are others."""
    return values[:, 1:-1] if inner_only and values.shape[1] > 2 else values
