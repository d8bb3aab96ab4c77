"""What an earlier revision saved loads, and draws what it drew then.

`saved_earlier` was written at commit 9f977a0, when mini was a ToonCrafter with a guide: a mini of width 4
with random weights, an adapter on it, the same in int8, an adapter on framer-tiny, and frames of these and of the
shipped models.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nakawari import precision, variants

SAVED = Path(__file__).parent / "saved_earlier"
NARROW = SAVED / "narrow-mini"
NAMES = {
    "mini": "mini",
    "mini/small": "mini/small",
    "framer-tiny": "framer-tiny",
    "narrow-mini": f"{NARROW}",
    "narrow-mini+narrow-mini-adapter@0.7": f"{NARROW}+{SAVED / 'narrow-mini-adapter'}@0.7",
    "narrow-mini-int8": f"{SAVED / 'narrow-mini-int8'}",
    "framer-tiny+framer-tiny-adapter@1.0": f"framer-tiny+{SAVED / 'framer-tiny-adapter'}@1.0",
}
"""Name in `frames.npz` -> variant."""


def keys() -> tuple[Tensor, Tensor]:
    """A disc over a gradient that moves by ten pixels, (1, 3, 32, 48) each in [-1, 1]."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
    ground = torch.stack([x / 48, y / 32, (x + y) / 80])
    colour = torch.tensor([0.9, 0.2, 0.3])[:, None, None]
    discs = [((x - 16 - shift) ** 2 + (y - 16) ** 2 < 81).float() for shift in (0, 10)]
    start, end = ((ground * (1 - disc) + colour * disc) * 2 - 1 for disc in discs)
    return start[None], end[None]


def drawn(variant: str) -> np.ndarray:
    """Five frames (5, 32, 48, 3), uint8."""
    pipeline = variants.load(variant).pipeline
    pipeline.set_progress_bar_config(disable=True)
    generator = [torch.Generator().manual_seed(3)]
    frames = pipeline(*keys(), num_frames=5, num_inference_steps=2, generator=generator, output_type="pt").frames[0]
    return (frames.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_it_draws_what_it_drew(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: False)  # the frames are from float32 products
    expected = np.load(SAVED / "frames.npz")[name].astype(int)
    off = np.abs(drawn(NAMES[name]) - expected)
    # Other processors round the last bit of a sum their own way, which can tip a value over to the next level.
    assert off.max() <= 1
    assert (off > 0).mean() < 0.001
