"""The bundled tiny Framer: a drag moves the dragged object."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from nakawari.data.drag_scenes import DragSamples
from nakawari.files import read_json
from nakawari.training.objectives.params_parts import TeacherParams
from nakawari.training.teacher import Teacher
from nakawari.variants import SHIPPED, load


def test_it_is_small_and_says_what_made_it() -> None:
    folder = SHIPPED["framer-tiny"]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 4e6
    for run in read_json(folder / "record.json")["runs"]:
        assert run["recipe"]["seed"]
        assert run["provenance"]["packages"]


def test_the_sprite_lands_where_the_track_asks() -> None:
    pipeline = load("framer-tiny").pipeline
    scene = DragSamples([3], (160, 256), 1, 77_000).scene(0)
    start, end = (np.stack([key] * 2) for key in scene.render([0.0, 1.0]))
    asked = [scene.track([0.0, 0.5, 1.0])[:, None], None]
    generators = [torch.Generator().manual_seed(0) for _ in asked]
    how = {"num_frames": 3, "num_inference_steps": 6, "guidance_scale": 1.0, "output_type": "np"}
    frames = pipeline(start, end, tracks=asked, generator=generators, **how).frames[:, 1] * 255
    contrast = np.abs(scene.colours[0] - scene.ground.mean((0, 1))).sum()
    misses = []
    for frame in frames:
        rows, columns = np.nonzero(np.abs(frame - scene.ground).sum(-1) > contrast / 2)
        misses.append(np.hypot(columns.mean() - scene.middle[0], rows.mean() - scene.middle[1]))
    assert misses[0] < 4
    assert misses[1] > 15


def test_as_a_teacher_it_follows_the_tracks() -> None:
    teacher = Teacher.load(TeacherParams.model_validate({"teacher": "framer-tiny", "teacher_sampling": {"steps": 2}}))
    sample = DragSamples([3], (80, 96), 1, 5).sample(0)
    batch = {"frames": sample["frames"][None], "index": [0]}
    assert not torch.equal(teacher.draw(batch), teacher.draw(batch | {"tracks": [sample["tracks"]]}))


def test_loads_in_a_process_that_has_imported_nothing_of_the_family() -> None:
    code = "from nakawari.variants import load; print(type(load('framer-tiny').pipeline).__name__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "FramerPipeline", found.stderr
