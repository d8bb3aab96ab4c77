"""The structure of every weight axis of a `UNetBody`, for making a narrower copy.

An axis is a concatenation of parts (a decoder stage reads hidden channels, then skip channels), and each part a
product of widths (heads by head width). Two denoisers of different widths have axes of the same structure.
"""

from __future__ import annotations

from torch import nn

from .attention import GEGLU, Attention, TransformerBlock
from .blocks import ResBlock
from .body import UNetBody

Axis = tuple[tuple[int, ...], ...]
"""Parts of an axis, each as widths whose product is its length."""


def weight_axes(unet: UNetBody) -> dict[str, tuple[Axis, ...]]:
    """Parameter name -> its axes, including the spatial axes of convolution kernels."""
    found = {name: tuple(((size,),) for size in value.shape) for name, value in unet.named_parameters()}
    for name, module in unet.named_modules():
        if isinstance(module, TransformerBlock):
            for part in ("attn1", "attn2"):
                _attention(found, f"{name}.{part}", getattr(module, part))
        elif isinstance(module, GEGLU):
            half = module.proj.out_features // 2
            _set(found, f"{name}.proj", 0, ((half,), (half,)))
    for name in ("time_embed.0", "fps_embedding.0"):
        half = unet.config.model_channels // 2
        _set(found, name, 1, ((half,), (half,)))  # cosines, then sines
    for name, block, parts in _decoder_blocks(unet):
        for layer, axis in (("in_layers.0", 0), ("in_layers.2", 1), ("skip_connection", 1)):
            if not isinstance(block.get_submodule(layer), nn.Identity):
                _set(found, f"{name}.{layer}", axis, parts)
    if hasattr(unet, "guide_redraw"):
        _set(found, "guide_redraw.refine.look.0", 1, tuple((size,) for size in unet.guide_redraw.refine.seen))
    return found


def counterparts(student: UNetBody, teacher: UNetBody) -> dict[str, str]:
    """Stage of the student -> the corresponding stage of the teacher, by module name.

    A student with fewer blocks per level has each level's first ones, and in the up path the last, which reads the
    level's first skip.
    """
    theirs = {role: name for name, role in _roles(teacher).items()}
    last = teacher.config.num_res_blocks
    found = {}
    for name, (kind, level, index) in _roles(student).items():
        at_end = kind == "up" and index == student.config.num_res_blocks
        role = (kind, level, last if at_end else index)
        if role in theirs:
            found[name] = theirs[role]
    return found


def _roles(unet: UNetBody) -> dict[str, tuple[str, int, int]]:
    levels, blocks = len(unet.config.channel_mult), unet.config.num_res_blocks
    roles = [("in", 0, 0)]
    for level in range(levels):
        roles += [("down", level, index) for index in range(blocks)]
        roles += [("half", level, 0)] * (level < levels - 1)
    named = {f"input_blocks.{index}": role for index, role in enumerate(roles)}
    ups = [("up", level, index) for level in reversed(range(levels)) for index in range(blocks + 1)]
    return named | {"middle_block": ("middle", 0, 0)} | {f"output_blocks.{i}": role for i, role in enumerate(ups)}


def _decoder_blocks(unet: UNetBody) -> list[tuple[str, ResBlock, Axis]]:
    """The blocks of the up path, and the parts of their input: hidden channels, then skip."""
    config = unet.config
    widths = [config.model_channels * mult for mult in config.channel_mult]
    skips = [widths[0]]
    for level, width in enumerate(widths):
        skips += [width] * config.num_res_blocks
        skips += [skips[-1]] * (level < len(widths) - 1)
    hidden = skips[-1]
    found = []
    for index, stage in enumerate(unet.output_blocks):
        level = len(widths) - 1 - index // (config.num_res_blocks + 1)
        block = stage[0]
        if isinstance(block, ResBlock):
            found.append((f"output_blocks.{index}.0", block, ((hidden,), (skips[-1],))))
        skips.pop()
        hidden = widths[level]
    return found


def _attention(found: dict[str, tuple[Axis, ...]], name: str, attention: Attention) -> None:
    inner = attention.to_q.out_features
    heads: Axis = ((attention.heads, inner // attention.heads),)
    for layer in ("to_q", "to_k", "to_v", "to_k_ip", "to_v_ip"):
        _set(found, f"{name}.{layer}", 0, heads)
    _set(found, f"{name}.to_out.0", 1, heads)


def _set(found: dict[str, tuple[Axis, ...]], layer: str, axis: int, parts: Axis) -> None:
    for name in (f"{layer}.weight", f"{layer}.bias"):
        if name in found and axis < len(found[name]):
            axes = list(found[name])
            axes[axis] = parts
            found[name] = tuple(axes)
