"""The denoiser and the image projector against the reference's vectors, float32 on the CPU."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from nakawari.families.tooncrafter.resampler import Resampler
from nakawari.families.tooncrafter.unet import ToonCrafterUNet
from parity.vectors import assert_near, case_params, frames_first, load_case, weights

pytestmark = pytest.mark.parity

TOLERANCE = 5e-5
RENAMED = {"default_fs": "default_fps", "fs_condition": "fps_condition"}
FIXED = {
    "use_linear": True,
    "temporal_conv": True,
    "temporal_attention": True,
    "temporal_selfatt_only": True,
    "use_relative_position": False,
    "use_causal_attention": False,
}
"""Switches of the reference that every released model has in one position; ours is built that way."""


def unet_config(page: dict[str, Any], override: dict[str, Any] | None = None) -> dict[str, Any]:
    """nakawari's configuration for the reference's."""
    config = {**page["config"], **(override or {})}
    config.pop("use_checkpoint", None)
    for name, value in FIXED.items():
        assert config.pop(name, value) == value
    return {RENAMED.get(name, name): value for name, value in config.items()}


def build_unet(tensors: dict[str, Tensor], page: dict[str, Any], case: dict[str, Any]) -> ToonCrafterUNet:
    """The network with the reference's weights, all of them used unless the case removes parts."""
    override = case.get("config_override")
    model = ToonCrafterUNet(**unet_config(page, override)).eval()
    state = {name.replace("temopral_conv", "temporal_conv"): value for name, value in weights(tensors).items()}
    state |= dict(zip(case.get("alpha_keys_sorted", []), tensors.get("alpha_values", torch.empty(0)), strict=False))
    if override:
        state = {name: value for name, value in state.items() if name in model.state_dict()}
    model.load_state_dict(state, strict=True)
    return model


def resolve(expression: str, tensors: dict[str, Tensor]) -> Tensor:
    """A case's input, written as NAME, NAME[:N], NAME*SCALE or both."""
    match = re.fullmatch(r"(\w+)(?:\[:(\d+)\])?(?:\*([\d.e+-]+))?", expression)
    assert match, f"cannot read {expression!r}"
    name, stop, scale = match.groups()
    return tensors[name][: int(stop) if stop else None] * float(scale or 1)


def run_case(model: ToonCrafterUNet, tensors: dict[str, Tensor], page: dict[str, Any], case: dict[str, Any]) -> Tensor:
    """The network output in the layout of the vectors."""
    inputs = {name: resolve(case.get(name, default), tensors) for name, default in page["default_inputs"].items()}
    fps = None if case.get("fs") is None else torch.tensor(case["fs"])
    return frames_first(model(frames_first(inputs["x"]), torch.tensor(case["t"]), inputs["context"], fps))


@pytest.mark.parametrize("case", case_params("unet"))
def test_unet_answers_as_the_reference(case: dict[str, Any]) -> None:
    tensors, page = load_case("unet")
    answer = run_case(build_unet(tensors, page, case), tensors, page, case)
    assert_near(answer, tensors[case["name"]], TOLERANCE)


@pytest.mark.parametrize("tap", case_params("unet", key="taps"))
def test_unet_taps_agree_inside(tap: tuple[str, dict[str, Any]]) -> None:
    name, expected = tap
    tensors, page = load_case("unet")
    case = next(case for case in page["cases"] if case["name"] == page["taps_case"])
    model = build_unet(tensors, page, case)
    seen: list[Tensor] = []
    model.get_submodule(name).register_forward_hook(lambda module, inputs, output: seen.append(output))
    run_case(model, tensors, page, case)
    (value,) = seen
    assert list(value.shape) == expected["shape"]
    assert_near(value.flatten()[: len(expected["first8"])], torch.tensor(expected["first8"]), TOLERANCE)
    assert value.mean().item() == pytest.approx(expected["mean"], abs=TOLERANCE)
    assert value.std().item() == pytest.approx(expected["std"], abs=TOLERANCE)


def test_resampler_with_queries_per_frame() -> None:
    tensors, page = load_case("resampler")
    model = Resampler(**page["config"]).eval()
    model.load_state_dict(weights(tensors), strict=True)
    assert_near(model(tensors["x"]), tensors["y"], TOLERANCE)
    assert_near(model(tensors["x"], num_frames=page["config"]["video_length"]), tensors["y"], TOLERANCE)


def test_resampler_with_one_group_of_queries() -> None:
    tensors, page = load_case("resampler")
    config = {**page["config"], "video_length": None}
    state = weights(tensors)
    state["latents"] = state["latents"][:, : config["num_queries"]]
    model = Resampler(**config).eval()
    model.load_state_dict(state, strict=True)
    assert_near(model(tensors["x"]), tensors["y_single"], TOLERANCE)
