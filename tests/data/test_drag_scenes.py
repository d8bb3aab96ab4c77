"""Scenes with tracks: the sprite follows the track, which the keys do not determine."""

from __future__ import annotations

import numpy as np
import pytest

from nakawari.data.drag_scenes import DETOUR, DragSamples, DragScene
from nakawari.errors import UsageError
from nakawari.families.framer.tracks import check_tracks
from nakawari.training.data_sources import held_out_samples, training_samples
from nakawari.training.recipe import parse_recipe

SIZE = (80, 112)


def centre(frame: np.ndarray, scene: DragScene) -> np.ndarray:
    rows, columns = np.nonzero(np.abs(frame - scene.ground).sum(-1) > 60)
    return np.array([columns.mean(), rows.mean()])


@pytest.mark.parametrize("look", ["plain", "target"])
def test_the_sprite_is_where_the_track_says(look: str):
    samples = DragSamples([5], SIZE, 1, look=look)
    for index in range(5):
        scene, sample = samples.scene(index), samples.sample(index)
        frames = (sample["frames"].numpy().transpose(0, 2, 3, 1) + 1) * 127.5
        for frame, (place,) in zip(frames, sample["tracks"], strict=True):
            assert np.hypot(*(centre(frame, scene) - place)) < 0.6  # whole pixels are counted
        assert check_tracks(sample["tracks"], 5, SIZE) is sample["tracks"]


def test_a_path_goes_through_its_middle_and_keys_do_not_tell_it():
    scene = DragSamples([3], SIZE, 1).scene(0)
    start, middle, end = scene.track([0.0, 0.5, 1.0])
    assert tuple(middle) == pytest.approx(scene.middle)
    assert DETOUR[0] - 1e-6 <= np.hypot(*(middle - (start + end) / 2)) <= DETOUR[1] + 1e-6
    other = scene.through(scene.mirrored)
    assert np.array_equal(other.render([0.0, 1.0]), scene.render([0.0, 1.0]))
    assert np.allclose(other.track([0.5])[0] + middle, start + end)


def test_samples_are_a_function_of_seed_and_index():
    one, again = (DragSamples([3], SIZE, 2, seed=4).sample(7) for _ in range(2))
    other = DragSamples([3], SIZE, 2, seed=5).sample(7)
    assert one["frames"].equal(again["frames"]) and np.array_equal(one["tracks"], again["tracks"])
    assert not one["frames"].equal(other["frames"])


def test_a_window_holds_the_sprite_and_has_no_track():
    sample = DragSamples([2], (96, 144), 1, window=(32, 48)).sample(0)
    assert sample["frames"].shape == (2, 3, 32, 48) and "tracks" not in sample
    assert sample["frames"][0].amax() > 0.6


def test_a_size_too_small_for_drags_is_refused():
    with pytest.raises(UsageError, match="too small for drags; give at least 96x64"):
        DragSamples([3], (32, 48), 1).sample(0)
    assert DragSamples([3], (64, 96), 1).sample(0)["frames"].shape == (3, 3, 64, 96)


def recipe(*sources: dict[str, object]) -> object:
    return parse_recipe(
        {
            "name": "drags",
            "model": {"base": "none"},
            "objective": {"kind": "denoise"},
            "data": {"sources": list(sources), "size": list(SIZE), "frames": [3]},
            "optim": {"lr": 1e-3, "steps": 1, "batch_size": 2},
            "validation": {"samples": 2},
        }
    )


def test_a_recipe_mixes_drags_with_other_sources_batch_by_batch():
    mixed = training_samples(recipe({"kind": "drags"}, {"kind": "synthetic"}))
    batches = [["tracks" in mixed.sample(2 * batch + place) for place in range(2)] for batch in range(12)]
    assert all(first == second for first, second in batches)
    assert {first for first, _ in batches} == {True, False}
    held_out = held_out_samples(recipe({"kind": "drags"}, {"kind": "synthetic"}))
    assert all("tracks" in sample for sample in held_out)
    assert not held_out[0]["frames"].equal(training_samples(recipe({"kind": "drags"})).sample(0)["frames"])
