"""UNet, ControlNet and the order of the temporal context against the reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import torch
from torch import Tensor, nn

from nakawari.families.framer.blocks import OrderedTemporalBlock
from parity.framer_parts import FAMILY, assert_close, group, numbered, part, vectors
from parity.vectors import case_params

pytestmark = pytest.mark.parity


@contextmanager
def adapter(unet: nn.Module, residuals: list[Tensor]) -> Iterator[None]:
    """The reference's second residual path, which its pipeline never uses: one tensor per down block.

    It joins the main path after the last attention of a block that has some, before the downsampler, else after the
    block; the skips do not have it.
    """

    def entering(residual: Tensor):
        return lambda _, inputs: (inputs[0] + residual, *inputs[1:])

    def leaving(residual: Tensor):
        return lambda _, __, output: (output[0] + residual, output[1])

    with ExitStack() as stack:
        for block, residual in zip(unet.down_blocks, residuals, strict=True):
            if hasattr(block, "attentions") and block.downsamplers is not None:
                handle = block.downsamplers[0].register_forward_pre_hook(entering(residual))
            else:
                handle = block.register_forward_hook(leaving(residual))
            stack.enter_context(removing(handle))
        yield


@contextmanager
def removing(handle: torch.utils.hooks.RemovableHandle) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("case", case_params("unet_forward", family=FAMILY))
def test_unet(case: tuple[str, dict]) -> None:
    name, _ = case
    tensors, _ = vectors("unet_forward")
    own = group(tensors, name)
    unet = part("unet")
    told = [own[key] for key in ("sample", "timestep", "encoder_hidden_states", "added_time_ids")]
    residuals = numbered(own, "down")
    features: list[Tensor] = []
    with ExitStack() as hooks:
        for block in unet.up_blocks:
            hooks.enter_context(removing(block.register_forward_hook(lambda *seen: features.append(seen[-1]))))
        if residuals and "mid" not in own:
            with adapter(unet, residuals):
                answer = unet(*told)
        else:
            answer = unet(*told, residuals or None, own.get("mid"))
    assert_close(answer.sample, own["out"])
    for key, expected in own.items():
        if key.startswith("intermediate_"):
            assert_close(features[int(key.removeprefix("intermediate_"))], expected)


def channels() -> int:
    return part("controlnet").config.conditioning_channels


def test_temporal_context() -> None:
    tensors, page = vectors("temporal_context_block")
    unet = part("unet")
    block = unet.get_submodule(page["module"].removeprefix("unet."))
    assert any(isinstance(module, OrderedTemporalBlock) for module in block.modules())
    tokens = tensors["context_per_batch"].repeat_interleave(page["frames"], dim=0)
    still = torch.zeros(page["batch"], page["frames"])
    answers = {}
    for branches in (page["batch"], 1):
        unet.context_order.branches = branches
        answers[branches] = block(tensors["x"], encoder_hidden_states=tokens, image_only_indicator=still).sample
    assert_close(answers[page["batch"]], tensors["out"])
    with pytest.raises(AssertionError, match="largest error"):
        assert_close(answers[1], tensors["out"])


@pytest.mark.parametrize("case", case_params("controlnet_forward", family=FAMILY))
def test_controlnet(case: tuple[str, dict]) -> None:
    name, settings = case
    tensors, _ = vectors("controlnet_forward")
    # Two cases are recorded as equal to another one, or to half of it.
    factor = 0.5 if settings.get("equals_half_of_scale1") else 1.0
    stored = "scale1" if factor != 1 or settings.get("bitwise_equal_to_scale1") else name
    told = [tensors[key] for key in ("encoder_hidden_states", "added_time_ids")]
    heat = tensors["heatmap_uint8"].float()[None, :, None].expand(len(tensors["sample"]), -1, channels(), -1, -1)
    down, middle = part("controlnet")(
        tensors["sample"], settings["timestep"], *told, None if name == "no_cond" else heat, settings["scale"]
    )
    assert [list(residual.shape) for residual in down] == settings["down_shapes"]
    assert list(middle.shape) == settings["mid_shape"]
    own = group(tensors, stored)
    for residual, expected in zip(down, numbered(own, "down"), strict=bool(numbered(own, "down"))):
        assert_close(residual, expected * factor)
    assert_close(middle, own["mid"] * factor)


def test_heatmap_embedding() -> None:
    tensors, _ = vectors("controlnet_forward")
    heat = tensors["heatmap_uint8"].float()[None, :, None].expand(len(tensors["sample"]), -1, channels(), -1, -1)
    embedded = part("controlnet").controlnet_cond_embedding(heat.flatten(0, 1))
    assert_close(embedded, tensors["cond_embedding"])
