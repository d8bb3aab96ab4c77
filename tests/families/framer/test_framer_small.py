"""Options of small Framers that the released one does not use: fewer norm groups, an autoencoder with a linear
start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nakawari.families.framer import build
from nakawari.families.framer.autoencoder import FramerAutoencoder
from nakawari.families.framer.configs import TINY
from nakawari.families.framer.controlnet import ControlNetSVD
from nakawari.families.framer.linear_start import start_linear
from nakawari.families.framer.pipeline import FramerPipeline
from nakawari.families.framer.unet import FramerUNet
from nakawari.files import read_json, write_json
from nakawari.variants import SHIPPED, load


def groups(pipeline: FramerPipeline) -> set[int]:
    networks = (pipeline.unet, pipeline.vae, pipeline.controlnet)
    return {part.num_groups for network in networks for part in network.modules() if isinstance(part, nn.GroupNorm)}


def test_norm_groups_are_kept_with_each_part(tmp_path: Path):
    assert groups(build(**TINY)) == {32}
    small = build(**TINY, pipeline={"norm_groups": 8})
    assert groups(small) == {8}
    small.save_pretrained(tmp_path)
    assert groups(FramerPipeline.from_pretrained(tmp_path)) == {8}


def test_a_second_pipeline_over_the_same_parts_changes_nothing():
    first = build(**TINY, pipeline={"norm_groups": 8})
    FramerPipeline(**first.components)
    assert groups(first) == {8}


def test_a_network_loaded_alone_computes_what_it_computes_in_its_pipeline():
    whole = load("framer-tiny:fp32").pipeline
    kinds = {"unet": FramerUNet, "controlnet": ControlNetSVD, "vae": FramerAutoencoder}
    alone = {
        name: kind.from_pretrained(SHIPPED["framer-tiny"] / name, dtype=torch.float32) for name, kind in kinds.items()
    }
    g = torch.Generator().manual_seed(0)
    sample, tokens, ids = (torch.randn(shape, generator=g) for shape in [(1, 3, 9, 4, 6), (1, 2, 16), (1, 3)])
    frame = torch.randn(1, 3, 32, 48, generator=g)

    def answers(parts: Any) -> list[torch.Tensor]:
        unet = parts["unet"](sample, 0.3, tokens, ids).sample
        return [unet, parts["controlnet"](sample, 0.3, tokens, ids)[1], parts["vae"].encode(frame).latent_dist.mode()]

    with torch.no_grad():
        for one, other in zip(answers(alone), answers(whole.components), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_what_an_earlier_revision_saved_says_its_groups_to_its_parts(tmp_path: Path):
    build(**TINY, pipeline={"norm_groups": 8}).save_pretrained(tmp_path)
    for name in ("unet", "controlnet", "vae"):
        config = tmp_path / name / "config.json"
        write_json(config, {key: value for key, value in read_json(config).items() if key != "norm_groups"})
    index = read_json(tmp_path / "model_index.json")
    former = {"norm_groups": 8, "vae": ["diffusers", "AutoencoderKLTemporalDecoder"]}
    write_json(tmp_path / "model_index.json", index | former)
    loaded = FramerPipeline.from_pretrained(tmp_path)
    assert groups(loaded) == {8}
    loaded.save_pretrained(tmp_path / "again")
    assert groups(FramerPipeline.from_pretrained(tmp_path / "again")) == {8}
    assert FramerUNet.from_pretrained(tmp_path / "again" / "unet").config.norm_groups == 8


LEVELS = {
    "down_block_types": ("CrossAttnDownBlockSpatioTemporal",) * 2 + ("DownBlockSpatioTemporal",),
    "up_block_types": ("UpBlockSpatioTemporal",) + ("CrossAttnUpBlockSpatioTemporal",) * 2,
    "block_out_channels": (32, 32, 32),
    "num_attention_heads": (2, 2, 4),
    "layers_per_block": [2, 1, 1],
    "transformer_layers_per_block": (1, 2, 1),
    "cross_attention_dim": (16, 16, 16),
}


def test_a_controlnet_has_layers_per_level_as_its_unet():
    pipeline = build(**{**TINY, "unet": {**TINY["unet"], **LEVELS}})
    unet, controlnet = pipeline.unet, pipeline.controlnet
    assert [len(block.resnets) for block in controlnet.down_blocks] == [2, 1, 1]
    sample, tokens, ids = torch.randn(1, 3, 9, 8, 8), torch.randn(1, 2, 16), torch.randn(1, 3)
    with torch.no_grad():
        down, middle = controlnet(sample, 0.3, tokens, ids)
        more = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        assert torch.equal(unet(sample, 0.3, tokens, ids, **more).sample, unet(sample, 0.3, tokens, ids).sample)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layers_per_block", (1,)),
        ("layers_per_block", [1, 1, 1]),
        ("cross_attention_dim", [16]),
        ("transformer_layers_per_block", (1, 1, 1)),
        ("num_attention_heads", (2,)),
        ("block_out_channels", (32, 32, 32)),
    ],
)
def test_another_number_of_levels_is_refused(name: str, value: Any):
    unet = {key: entry for key, entry in TINY["unet"].items() if key not in ("out_channels", "up_block_types")}
    with pytest.raises(ValueError, match=f"{name} has {len(value)} entries for 2 levels"):
        ControlNetSVD(**{**unet, name: value})


@pytest.mark.parametrize("kind", [FramerUNet, ControlNetSVD])
def test_an_unknown_temporal_context_is_refused(kind: Any):
    with pytest.raises(ValueError, match="temporal_context is 'mixed'; it must be interleaved or blocked"):
        kind(temporal_context="mixed")


def test_a_linear_start_is_the_picture_at_an_eighth():
    torch.manual_seed(0)
    pipeline = build(**{**TINY, "vae": {**TINY["vae"], "linear_start": True}}, pipeline={"norm_groups": 8})
    pipeline.vae.register_to_config(scaling_factor=1.0)
    colours = 1.2 * torch.rand(1, 2, 3, 4, 6) - 0.6
    frames = colours.repeat_interleave(8, -2).repeat_interleave(8, -1)
    with torch.no_grad():
        latents = pipeline.encode(frames)
        condition = pipeline.condition(frames[:, 0], frames[:, 1], num_frames=2)
        drawn = pipeline.decode(latents, condition)[..., : frames.shape[-2], : frames.shape[-1]]
    shown = latents[:, :, :3, :4, :6]
    assert (shown - colours).abs().max() < 0.03
    assert not latents[:, :, 3].any()
    # Away from the blocks' edges, which are smoothed.
    assert (drawn - frames)[..., 3::8, 3::8].abs().max() < 0.05


def test_a_linear_start_needs_one_width():
    pipeline = build(**{**TINY, "vae": {**TINY["vae"], "block_out_channels": (32, 32, 32, 64)}})
    with pytest.raises(ValueError, match="one width for all levels"):
        start_linear(pipeline.vae)
