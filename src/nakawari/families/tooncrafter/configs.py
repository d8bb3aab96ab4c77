"""Named configurations of the ToonCrafter denoiser, as keyword arguments of `ToonCrafterUNet`.

`FULL` is the released 320x512 interpolation model (Xing et al. 2024, its inference configuration v1.0). The two
students are those of a distillation study of that model: half as wide, v1.0 with narrower lower levels and heads of
32, v2.0 with the teacher's proportions and heads of 64 (two heads, 128 channels inside, at its first level).
"""

from __future__ import annotations

from typing import Any

FULL: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 4,
    "model_channels": 320,
    "attention_resolutions": (1, 2, 4),
    "num_res_blocks": 2,
    "channel_mult": (1, 2, 4, 4),
    "dropout": 0.1,
    "num_head_channels": 64,
    "context_dim": 1024,
    "temporal_length": 16,
    "addition_attention": True,
    "image_cross_attention": True,
    "fps_condition": True,
    "default_fps": 24,
}
"""1,438,854,980 parameters."""

STUDENT_V1: dict[str, Any] = {**FULL, "model_channels": 160, "channel_mult": (1, 2, 2, 4), "num_head_channels": 32}
"""238,804,132 parameters."""

STUDENT_V2: dict[str, Any] = {**FULL, "model_channels": 160}
"""374,246,180 parameters."""
