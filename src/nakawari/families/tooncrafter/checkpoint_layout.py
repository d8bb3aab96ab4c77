"""The layout of an upstream ToonCrafter checkpoint: the place of every tensor."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from .towers import text_names, vision_names

COMPONENTS = ("unet", "vae", "text_encoder", "image_encoder", "resampler")
EXTRA = "extra"
"""Tensors that no component uses, kept under their own names."""

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.model."
IMAGE_PREFIX = "embedder.model."
VISUAL_PREFIX = IMAGE_PREFIX + "visual."
RESAMPLER_PREFIX = "image_proj_model."

_PLAIN_PREFIXES = {UNET_PREFIX: "unet", VAE_PREFIX: "vae", RESAMPLER_PREFIX: "resampler"}
UNET_RENAMES = {"framestride_embed": "fps_embedding", "temopral_conv": "temporal_conv"}
_SCHEDULE_BUFFERS = {
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "scale_arr",
}
_UNUSED_TEXT = {"text_projection", "logit_scale"}
_UNUSED_IN_EMBEDDER = {
    *_UNUSED_TEXT,
    "positional_embedding",
    "token_embedding.weight",
    "ln_final.weight",
    "ln_final.bias",
    "visual.proj",
}
_TEXT_BLOCK = re.compile(re.escape(TEXT_PREFIX) + r"transformer\.resblocks\.(\d+)\.")


class Place(NamedTuple):
    """The place of a tensor: a component of `COMPONENTS` or `EXTRA`, and its name there.

    Several names mean that the tensor is split into equal parts along its first axis.
    """

    component: str
    names: tuple[str, ...]


def last_text_block(keys: Iterable[str]) -> int:
    """The index of the text encoder's last block, which is never run; -1 without a text encoder."""
    return max((int(match[1]) for key in keys if (match := _TEXT_BLOCK.match(key))), default=-1)


def classify(key: str, unused_text_block: int = 23) -> Place | None:
    """The place of one upstream tensor; None if it is unknown.

    Args:
        key: the tensor's name in the state dict.
        unused_text_block: the text block that is kept but not run, see `last_text_block`.
    """
    for prefix, component in _PLAIN_PREFIXES.items():
        if key.startswith(prefix):
            return Place(component, (_renamed(component, key.removeprefix(prefix)),))
    if key in _SCHEDULE_BUFFERS or _unused(key, unused_text_block):
        return Place(EXTRA, (key,))
    if key.startswith(TEXT_PREFIX):
        return _tower_place("text_encoder", text_names(key.removeprefix(TEXT_PREFIX)))
    if key.startswith(VISUAL_PREFIX):
        return _tower_place("image_encoder", vision_names(key.removeprefix(VISUAL_PREFIX)))
    return None


def _renamed(component: str, name: str) -> str:
    if component == "unet":
        for old, new in UNET_RENAMES.items():
            name = name.replace(old, new)
    return name


def _unused(key: str, unused_text_block: int) -> bool:
    if (match := _TEXT_BLOCK.match(key)) and int(match[1]) == unused_text_block:
        return True
    if key.startswith(TEXT_PREFIX):
        return key.removeprefix(TEXT_PREFIX) in _UNUSED_TEXT
    return key.startswith(IMAGE_PREFIX) and key.removeprefix(IMAGE_PREFIX) in _UNUSED_IN_EMBEDDER


def _tower_place(component: str, names: tuple[str, ...]) -> Place | None:
    return Place(component, names) if names else None
