"""Tracks found in footage, compared with known motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nakawari.data.drag_scenes import DragSamples
from nakawari.data.footage_tracks import APART, MOVES, Tracked, find_tracks
from nakawari.families.framer.heatmaps import heatmaps
from nakawari.families.framer.matching import automatic_tracks
from nakawari.training.data_sources import held_out_samples, training_samples
from nakawari.training.recipe import parse_recipe

STEP = np.array([3.0, 1.0])
"""Pixels that the patch moves from frame to frame."""


def scene(frames: int = 5, seed: int = 0) -> NDArray[np.uint8]:
    """A textured patch moving over a static textured background."""
    rng = np.random.default_rng(seed)
    ground = np.kron(rng.integers(60, 120, (12, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    patch = np.kron(rng.integers(140, 255, (6, 6, 3)), np.ones((5, 5, 1))).astype(np.uint8)
    made = []
    for number in range(frames):
        picture = ground.copy()
        left, top = (np.array([20, 25]) + number * STEP).astype(int)
        picture[top : top + 30, left : left + 30] = patch
        made.append(picture)
    return np.stack(made)


def test_points_go_where_the_patch_goes():
    found = [find_tracks(scene(), 1, np.random.default_rng(seed)) for seed in range(8)]
    tracks = np.concatenate(found, axis=1)
    assert tracks.shape == (5, 8, 2)
    ends = np.linalg.norm(tracks[-1] - tracks[0] - 4 * STEP, axis=1)  # endpoint error
    assert np.median(ends) < 0.3 and np.quantile(ends, 0.8) < 1  # a corner on the rim sees both


def test_who_moves_comes_first_and_the_ground_only_for_want_of_others():
    every = find_tracks(scene(), 1000, np.random.default_rng(0))
    moving = np.linalg.norm(every[-1] - every[0], axis=1) >= MOVES
    assert 1 < moving.sum() < len(moving) and (np.diff(moving.astype(int)) <= 0).all()
    still = find_tracks(np.repeat(scene()[:1], 3, axis=0), 4, np.random.default_rng(0))
    assert np.abs(still - still[0]).max() < 0.1


def test_no_point_hides_another_from_the_model():
    tracks = find_tracks(scene(), 1000, np.random.default_rng(0))
    apart = np.abs(tracks[0, :, None] - tracks[0]).max(axis=-1)
    assert len(tracks[0]) > 4 and apart[~np.eye(len(apart), dtype=bool)].min() >= APART
    shown = heatmaps(tracks, scene().shape[1:3])[0]
    columns, rows = np.round(tracks[0]).astype(int).T
    # At the border a stamp is squeezed, and its brightest place is not the point.
    whole = (np.minimum(columns, shown.shape[1] - columns) > 20) & (np.minimum(rows, shown.shape[0] - rows) > 20)
    assert whole.sum() > 1 and shown[rows, columns][whole].min() > 200


def test_what_does_not_come_back_is_not_believed():
    noise = np.random.default_rng(3).integers(0, 255, (3, 48, 64, 3), np.uint8)
    found = find_tracks(noise, 1000, np.random.default_rng(0))
    assert found is None or found.shape[1] < 20
    assert find_tracks(np.zeros((3, 32, 32, 3), np.uint8), 4, np.random.default_rng(0)) is None


def test_automatic_tracks_lead_what_moves():
    start, end = scene(5)[[0, -1]]
    for seed in range(5):
        tracks = automatic_tracks(start, end, 5, seed=seed, count=3)
        assert (np.linalg.norm(tracks[-1] - tracks[0], axis=1) > MOVES).all()


def test_a_recipe_asks_for_tracks_in_training_and_validation(tmp_path: Path):
    for clip in range(5):
        (tmp_path / f"clip{clip}").mkdir()
        for number, picture in enumerate(scene(12, clip)):
            Image.fromarray(picture).save(tmp_path / f"clip{clip}" / f"{number:02d}.png")
    recipe = parse_recipe(
        {
            "name": "control",
            "model": {"base": "framer-tiny"},
            "objective": {"kind": "denoise", "train_control": True, "train_denoiser": False},
            "data": {
                "sources": [{"kind": "clips", "path": str(tmp_path), "span": [2, 4], "held_out": 0.6}],
                "size": [80, 96],
                "frames": [3],
                "tracks": 4,
            },
            "optim": {"lr": 1e-3, "steps": 1, "batch_size": 2},
            "validation": {"samples": 2},
        }
    )
    stream = training_samples(recipe)
    first, again = stream.sample(3), training_samples(recipe).sample(3)
    assert torch.equal(first["frames"], again["frames"])
    np.testing.assert_array_equal(first["tracks"], again["tracks"])
    assert first["tracks"].shape[0] == 3 and 1 <= first["tracks"].shape[1] <= 4
    assert all("tracks" in sample for sample in held_out_samples(recipe))


def test_scenes_keep_the_tracks_that_they_know():
    scenes = DragSamples([3], (64, 96), 1)
    np.testing.assert_array_equal(Tracked(scenes, 4, 0).sample(2)["tracks"], scenes.sample(2)["tracks"])


@pytest.mark.parametrize("seed", range(4))
def test_the_same_seed_finds_the_same(seed: int):
    first, second = (find_tracks(scene(), 3, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
