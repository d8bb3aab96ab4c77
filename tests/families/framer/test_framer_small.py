"""What small Framers have that the released one has not: fewer norm groups, an autoencoder with a linear start."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nakawari.families.framer import build
from nakawari.families.framer.configs import TINY
from nakawari.families.framer.linear_start import start_linear
from nakawari.families.framer.pipeline import FramerPipeline


def groups(pipeline: FramerPipeline) -> set[int]:
    networks = (pipeline.unet, pipeline.vae, pipeline.controlnet)
    return {part.num_groups for network in networks for part in network.modules() if isinstance(part, nn.GroupNorm)}


def test_norm_groups_are_kept_with_the_pipeline(tmp_path: Path):
    assert groups(build(**TINY)) == {32}
    small = build(**TINY, pipeline={"norm_groups": 8})
    assert groups(small) == {8}
    small.save_pretrained(tmp_path)
    assert groups(FramerPipeline.from_pretrained(tmp_path)) == {8}


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
