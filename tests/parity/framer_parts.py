"""Framer's parts with the reference weights, for the parity tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from nakawari.families.framer.controlnet import ControlNetSVD
from nakawari.families.framer.unet import FramerUNet
from parity.vectors import load_case, load_json, parity_folder, weights

FAMILY = "framer"


def config(part: str) -> dict[str, Any]:
    """Configuration of one part of the reference."""
    return load_json("configs", FAMILY)[part]


def vectors(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and page of one set."""
    return load_case(name, FAMILY)


def picture(name: str) -> Path:
    """Path of an input picture."""
    folder = parity_folder()
    assert folder is not None
    return folder / FAMILY / name


@cache
def part(name: str) -> nn.Module:
    """UNet, ControlNet, autoencoder or image encoder with the reference weights, key for key."""
    settings = config(name)
    if name == "unet":
        model: nn.Module = FramerUNet.from_config(settings)
    elif name == "controlnet":
        known = ControlNetSVD._get_init_keys(ControlNetSVD)
        model = ControlNetSVD.from_config({key: value for key, value in settings.items() if key in known})
    elif name == "vae":
        model = AutoencoderKLTemporalDecoder(**settings)
    else:
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(**settings))
    tensors = load_weights(name)
    model.load_state_dict(weights(tensors, ""), strict=True)
    return model.eval()


@cache
def load_weights(name: str) -> dict[str, Tensor]:
    """The stored weights of one part."""
    from safetensors.torch import load_file

    return load_file(picture(f"weights_{name}.safetensors"))


def group(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one case, floats in float32."""
    own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
    return {key: value.float() if value.dtype == torch.float16 else value for key, value in own.items()}


def numbered(tensors: dict[str, Tensor], stem: str) -> list[Tensor]:
    """`stem_0`, `stem_1`, ... in order."""
    found: list[Tensor] = []
    while f"{stem}_{len(found)}" in tensors:
        found.append(tensors[f"{stem}_{len(found)}"])
    return found


def assert_close(actual: Tensor, expected: Tensor, rtol: float = 1e-5) -> None:
    """Within `rtol` of the largest expected value."""
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    actual, expected = actual.double(), expected.double()
    scale = expected.abs().max().clamp(min=1e-12)
    worst = ((actual - expected).abs().max() / scale).item()
    assert worst <= rtol, f"largest error {worst:.3g} of the largest value, allowed {rtol:.3g}"
