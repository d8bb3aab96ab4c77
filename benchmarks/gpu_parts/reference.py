"""Part b with `--reference`: ToonCrafter's original UNet and nakawari's, same weights, alternating on the same
device."""

from __future__ import annotations

import contextlib
import copy
import sys
import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from nakawari.families.tooncrafter.unet import ToonCrafterUNet

from . import models
from .session import Found, Session, timed, weighed

CONFIG: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 4,
    "model_channels": 320,
    "attention_resolutions": [4, 2, 1],
    "num_res_blocks": 2,
    "channel_mult": [1, 2, 4, 4],
    "dropout": 0.1,
    "num_head_channels": 64,
    "context_dim": 1024,
    "use_linear": True,
    "use_checkpoint": False,
    "temporal_conv": True,
    "use_relative_position": False,
    "temporal_length": 16,
    "addition_attention": True,
    "image_cross_attention": True,
    "default_fs": 24,
    "fs_condition": True,
}
"""Its inference configuration v1.0 for 512x320, without checkpointing, which would only cost time here."""
TINY = {"model_channels": 64, "num_head_channels": 32, "context_dim": 32}
FP32, FP16 = "fp32", "fp16 autocast"


def run(session: Session, family: str) -> None:
    """A guided step: two sequential evaluations, as the reference samples, and nakawari's sequential and batched."""
    settings = session.settings
    stand_in_for_xformers()
    sys.path.insert(0, str(settings.reference))
    from lvdm.modules.networks.openaimodel3d import UNetModel

    config = CONFIG | (TINY if settings.tiny else {})
    ours = models.made(lambda: ToonCrafterUNet(**(TINY if settings.tiny else {})), settings.device, torch.float32)
    with torch.device("meta"):
        theirs = UNetModel(**config).eval()
    given = inputs(settings, config["context_dim"])
    weights = ours.state_dict()
    theirs.load_state_dict({name: weights[renamed(name)] for name in theirs.state_dict()}, assign=True)
    theirs.requires_grad_(False)
    for label in (FP32, "tf32", FP16):
        session.measure(f"reference {label}", 10, lambda label=label: compared(theirs, ours, given, label))


def renamed(name: str) -> str:
    """nakawari's name of a reference parameter."""
    return name.replace("temopral_conv", "temporal_conv")


def stand_in_for_xformers() -> None:
    """Replace a missing xformers by torch's fused attention, which favours the reference."""
    if "xformers" in sys.modules:
        return
    package, ops = types.ModuleType("xformers"), types.ModuleType("xformers.ops")

    def attention(q: Tensor, k: Tensor, v: Tensor, **_: Any) -> Tensor:
        return scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]

    ops.memory_efficient_attention = attention
    package.ops = ops
    sys.modules |= {"xformers": package, "xformers.ops": ops}


def inputs(settings: models.Settings, context: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The reference's inputs: latents (1, C, F, h, w), time, context tokens, frame stride."""
    frames, height, width = models.clip_shape(settings, "tooncrafter")
    generator = torch.Generator().manual_seed(7)
    side = 8 if settings.tiny else 1  # minimum for its three downsamplings
    x = torch.randn(1, 8, frames, height * side // 8, width * side // 8, generator=generator)
    tokens = torch.randn(1, 77 + 16 * frames, context, generator=generator)
    one = torch.ones(1, dtype=torch.long)
    return tuple(value.to(settings.device) for value in (x, 500 * one, tokens, 10 * one))


@torch.no_grad()
def compared(theirs: nn.Module, ours: nn.Module, given: tuple[Tensor, ...], label: str) -> Found:
    """Milliseconds of a guided step of the reference and of nakawari on the same weights, alternating.

    nakawari's is timed sequential as the reference, and batched as it is used; against autocast it is cast to float16.
    """
    models.set_tf32("tf32" if label == "tf32" else "fp32")
    x, t, tokens, stride = given
    half = label == FP16
    if half:
        ours = copy.deepcopy(ours).half()
    dtype = torch.float16 if half else torch.float32
    own = (x.transpose(1, 2).to(dtype), t, tokens.to(dtype), stride)
    twice = tuple(torch.cat([value, value]) for value in own)

    def reference() -> Tensor:
        with torch.autocast(x.device.type, torch.float16) if half else contextlib.nullcontext():
            return theirs(x, t, context=tokens, fs=stride)

    found = weighed(reference)
    a, b = reference().transpose(1, 2).float(), ours(*own).float()
    ours(*twice)
    spent: dict[str, list[float]] = {"ms": [], "ours_apart_ms": [], "ours_together_ms": []}
    for _ in range(2 if label == FP32 else 3):
        spent["ms"].append(timed(lambda: (reference(), reference()), 1, 0)["ms"])
        spent["ours_apart_ms"].append(timed(lambda: (ours(*own), ours(*own)), 1, 0)["ms"])
        spent["ours_together_ms"].append(timed(lambda: ours(*twice), 1, 0)["ms"])
    found |= {name: min(values) for name, values in spent.items()}
    difference = ((a - b).norm() / b.norm()).item()
    return found | {"ratio": found["ms"] / found["ours_together_ms"], "difference": difference}
