"""A tiny Framer in which every part affects the output."""

from __future__ import annotations

import torch

from nakawari.families.framer import build
from nakawari.families.framer.configs import TINY
from nakawari.families.framer.pipeline import FramerPipeline

SIZE = (32, 48)
STEPS = 4
"""Of a call that names none."""


def tiny(temporal_context: str = "interleaved") -> FramerPipeline:
    """Fixed random weights, also in zero-initialised layers, so that all paths have an effect."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = TINY["unet"] | {"temporal_context": temporal_context}
        pipeline = build(**TINY | {"unet": unet, "pipeline": {"default_steps": STEPS}})
        assert pipeline.controlnet is not None
        for name, parameter in pipeline.controlnet.named_parameters():
            if name.startswith(("controlnet_down", "controlnet_mid", "controlnet_cond_embedding.conv_out")):
                torch.nn.init.normal_(parameter, std=0.1)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
