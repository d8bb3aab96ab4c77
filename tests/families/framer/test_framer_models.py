"""UNet and ControlNet: layout of the released weights, order of the temporal context, adapters, residuals."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from peft import LoraConfig
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from nakawari.families.framer.blocks import OrderedTemporalBlock, context_rows
from nakawari.families.framer.configs import FULL
from nakawari.families.framer.controlnet import ControlNetSVD
from nakawari.families.framer.unet import LORA_PATTERNS, FramerUNet
from tiny_framer import tiny


def full(part: str) -> nn.Module:
    """A part of the released model, without memory for its weights."""
    with torch.device("meta"):
        if part == "unet":
            return FramerUNet(**FULL[part])
        if part == "controlnet":
            return ControlNetSVD(**FULL[part])
        if part == "vae":
            return AutoencoderKLTemporalDecoder(**FULL[part])
        return CLIPVisionModelWithProjection(CLIPVisionConfig(**FULL[part]))


@pytest.mark.parametrize(
    ("part", "tensors", "parameters", "digest"),
    [
        ("unet", 1429, 1_524_625_966, "b22c84e313650162"),
        ("controlnet", 671, 682_024_417, "345d926d03e65f0b"),
        ("vae", 374, 97_742_847, "258775fe3fbea0a2"),
        ("image_encoder", 520, 632_076_800, "d260f16faa7589f6"),
    ],
)
def test_full_size_has_exactly_the_keys_and_shapes_of_the_release(
    part: str, tensors: int, parameters: int, digest: str
) -> None:
    state = full(part).state_dict()
    lines = "\n".join(f"{name} {list(state[name].shape)}" for name in sorted(state))
    assert len(state) == tensors
    assert sum(value.numel() for value in state.values()) == parameters
    # Of the sorted "name shape" lines of the published files.
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("preset", "rank", "layers", "parameters"),
    [
        ("attention+feed-forward", 64, 352, 52_117_504),
        ("attention+feed-forward", 4, 352, 3_257_344),
        ("attention", 64, 256, None),
        ("temporal-attention", 64, 128, None),
    ],
)
def test_lora_presets_adapt_the_layers_they_name(preset: str, rank: int, layers: int, parameters: int | None) -> None:
    unet = full("unet")
    with torch.device("meta"):
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=LORA_PATTERNS[preset]))
    trainable = {name: value for name, value in unet.named_parameters() if value.requires_grad}
    assert sum("lora_A" in name for name in trainable) == layers
    if parameters is not None:
        assert sum(value.numel() for value in trainable.values()) == parameters


def test_context_rows_of_the_reference_are_row_modulo_batch() -> None:
    batch, positions = 2, 15
    assert context_rows(batch, positions, batch).tolist() == [row % batch for row in range(batch * positions)]
    assert context_rows(3, 5, 1).tolist() == [row // 5 for row in range(15)]


def test_context_rows_never_mix_samples() -> None:
    branches, samples, positions = 2, 3, 5
    rows = context_rows(branches * samples, positions, branches).reshape(branches, samples, positions)
    for sample in range(samples):
        alone = context_rows(branches, positions, branches).reshape(branches, positions)
        assert torch.equal(rows[:, sample] // samples, alone)
        assert (rows[:, sample] % samples == sample).all()


def inputs(batch: int, unet: FramerUNet) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    return {
        "sample": torch.randn(batch, 3, 9, 4, 6, generator=draw),
        "timestep": torch.tensor(0.3),
        "encoder_hidden_states": torch.randn(batch, 2, unet.config.cross_attention_dim, generator=draw),
        "added_time_ids": torch.tensor([[6.0, 127.0, 0.02]]).expand(batch, -1),
    }


@torch.no_grad()
def test_contexts_agree_for_one_branch_and_differ_for_two() -> None:
    interleaved, blocked = tiny("interleaved"), tiny("blocked")
    for part in ("unet", "controlnet"):
        one, other = getattr(interleaved, part), getattr(blocked, part)
        told = inputs(2, interleaved.unet)
        answers = [model(**told, branches=b, **_plain(part)) for model in (one, other) for b in (1, 2)]
        first = [answer[0][-1] if part == "controlnet" else answer[0] for answer in answers]
        assert torch.equal(first[0], first[2])
        assert torch.equal(first[2], first[3])
        assert not torch.allclose(first[0], first[1], atol=1e-4)


def _plain(part: str) -> dict[str, bool]:
    return {"return_dict": False} if part == "unet" else {}


@torch.no_grad()
def test_blocked_order_is_that_of_diffusers() -> None:
    unet = tiny("blocked").unet
    own = ("temporal_context", "_use_default_values")
    config = {name: value for name, value in unet.config.items() if name not in own}
    stock = UNetSpatioTemporalConditionModel.from_config(config).eval()
    stock.load_state_dict({name: value for name, value in unet.state_dict().items() if name != "mask_token"})
    told = inputs(2, unet)
    assert torch.equal(unet(**told).sample, stock(**told).sample)
    assert not torch.allclose(tiny("interleaved").unet(**told).sample, stock(**told).sample, atol=1e-4)


@torch.no_grad()
def test_a_copy_keeps_its_own_order() -> None:
    unet = tiny().unet
    twin = copy.deepcopy(unet)
    blocks = [module for module in twin.modules() if isinstance(module, OrderedTemporalBlock)]
    assert blocks
    assert all(block.order is twin.context_order for block in blocks)
    assert twin.context_order is not unet.context_order
    told = inputs(2, unet)
    assert torch.equal(twin(**told).sample, unet(**told).sample)


@torch.no_grad()
@torch.no_grad()
def test_a_fresh_controlnet_says_nothing_and_is_a_copy_of_the_encoder() -> None:
    unet = tiny().unet
    fresh = ControlNetSVD.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8, 16))
    down, middle = fresh(**inputs(2, unet), controlnet_cond=torch.full((2, 3, 3, 32, 48), 200.0))
    assert all(residual.abs().max() == 0 for residual in [*down, middle])
    assert len(down) == 4
    shared = unet.state_dict()
    copied = [name for name in fresh.state_dict() if name in shared]
    assert any(name.startswith("add_embedding") for name in copied)
    assert all(torch.equal(fresh.state_dict()[name], shared[name]) for name in copied)
    assert fresh.config.temporal_context == unet.config.temporal_context


@torch.no_grad()
def test_control_scale_is_per_clip() -> None:
    pipeline = tiny()
    told = {**inputs(2, pipeline.unet), "controlnet_cond": torch.full((2, 3, 3, 32, 48), 200.0)}
    whole, _ = pipeline.controlnet(**told)
    scaled, _ = pipeline.controlnet(**told, conditioning_scale=torch.tensor([1.0, 0.5]))
    for one, other in zip(whole, scaled, strict=True):
        torch.testing.assert_close(other[:3], one[:3])
        torch.testing.assert_close(other[3:], one[3:] / 2)


def test_latents_that_do_not_halve_are_refused() -> None:
    unet = tiny().unet
    told = inputs(1, unet)
    with pytest.raises(ValueError, match="not divisible by 2"):
        unet(**{**told, "sample": told["sample"][..., :3, :]})
    with pytest.raises(ValueError, match="3 guidance branches"):
        unet(**inputs(2, unet), branches=3)


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    pipeline = tiny()
    gradients = []
    for part in ("plain", "checkpointed"):
        if part == "checkpointed":
            pipeline.unet.enable_gradient_checkpointing()
        pipeline.unet.zero_grad()
        pipeline.unet(**inputs(2, pipeline.unet), branches=2).sample.square().sum().backward()
        gradients.append(
            {name: value.grad.clone() for name, value in pipeline.unet.named_parameters() if value.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[0].items():
        torch.testing.assert_close(value, gradients[1][name], msg=name)


def test_an_adapter_is_saved_and_loaded(tmp_path: Path) -> None:
    unet = tiny().unet
    told = inputs(1, unet)
    with torch.no_grad():
        plain = unet(**told).sample
    unet.add_adapter(
        LoraConfig(r=2, target_modules=LORA_PATTERNS["attention+feed-forward"], init_lora_weights="gaussian")
    )
    for name, value in unet.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(value, std=0.2)
    unet.save_lora_adapter(tmp_path)
    other = tiny().unet
    other.load_lora_adapter(tmp_path, prefix=None, use_safetensors=True)
    with torch.no_grad():
        adapted = unet(**told).sample
        assert not torch.allclose(adapted, plain, atol=1e-4)
        torch.testing.assert_close(other(**told).sample, adapted)
