"""The tiny Framer that ships: a drag moves the thing dragged."""

from __future__ import annotations

import numpy as np
import torch

from nakawari.data.drag_scenes import DragSamples
from nakawari.files import read_json
from nakawari.variants import SHIPPED, load

SIZE = (80, 96)


def test_it_is_small_and_says_what_made_it() -> None:
    folder = SHIPPED["framer-tiny"]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 4e6
    assert all(run["recipe"]["seed"] and run["provenance"]["packages"] for run in read_json(folder / "record.json")["runs"])


def test_the_sprite_lands_where_the_track_asks() -> None:
    pipeline = load("framer-tiny").pipeline
    sample = DragSamples([3], SIZE, 1, 5).sample(0)
    frames, tracks = sample["frames"][None], sample["tracks"][None]
    drawn = pipeline(
        frames[:, 0],
        frames[:, -1],
        num_frames=3,
        num_inference_steps=6,
        control=tracks,
        generator=[torch.Generator().manual_seed(0)],
        output_type="pt",
    ).frames[0, 1]
    drawn, truth = (drawn * 2 - 1), frames[0, 1]
    ground = torch.minimum(frames[0, 0], frames[0, -1])

    def centre(frame: torch.Tensor) -> np.ndarray:
        far = (frame - ground).clamp(min=0).amax(0)
        return np.argwhere((far > 0.5 * far.max()).numpy()).mean(0)

    assert np.linalg.norm(centre(drawn) - centre(truth)) < 6
