"""The training stream: each sample a pure function of (seed, index)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nakawari.data.augmentation import ALL, changed
from nakawari.data.clips import Clip
from nakawari.data.training_data import (
    ClipSource,
    Curriculum,
    MixedSource,
    SyntheticSource,
    TrainingSamples,
    crop,
)
from nakawari.errors import NakawariError, UsageError

SIZE = (16, 24)


def clips() -> list[Clip]:
    rng = np.random.default_rng(0)
    moving = [Clip(f"move_{k}", rng.integers(0, 255, (24, 20, 30, 3), np.uint8)) for k in range(3)]
    return [*moving, Clip("still_0", np.full((24, 20, 30, 3), 90, np.uint8))]


def stream(**changes: object) -> TrainingSamples:
    source = MixedSource([(SyntheticSource(), 0.5), (ClipSource(clips()), 0.5)])
    options = {"source": source, "num_frames": (2, 3, 5), "size": SIZE, "batch_size": 2, "seed": 4} | changes
    return TrainingSamples(**options)  # type: ignore[arg-type]


def test_batch_is_a_pure_function_of_its_index() -> None:
    forward = [stream().batch(i) for i in range(4)]
    for i in (3, 1, 0, 2):
        again = stream().batch(i)
        assert torch.equal(again["frames"], forward[i]["frames"])
        assert again["name"] == forward[i]["name"]
    assert not torch.equal(
        stream(seed=5, num_frames=(3,)).batch(0)["frames"], stream(num_frames=(3,)).batch(0)["frames"]
    )


def test_a_sample_says_how_many_of_its_frames_a_second_has() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (24, 20, 30, 3), np.uint8)
    for clip_rate, span, rate in ((24.0, 2, 24.0), (24.0, 6, 8.0), (0.0, 6, 0.0)):
        source = ClipSource([Clip("move", frames, clip_rate)], (span, span))
        assert stream(source=source, num_frames=(3,)).sample(0)["fps"] == rate


def test_workers_give_the_same_stream() -> None:
    alone = list(stream().batches(1, 5))
    shared = list(stream().batches(1, 5, workers=2))
    assert len(alone) == len(shared) == 4
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one["frames"], other["frames"])
        assert one["name"] == other["name"]


def test_batches_share_a_frame_count_and_use_all_of_them() -> None:
    samples = stream()
    shapes = [tuple(samples.batch(i)["frames"].shape) for i in range(12)]
    assert {shape[1] for shape in shapes} == {2, 3, 5}
    assert all(shape == (2, samples.frames_of_batch(i), 3, *SIZE) for i, shape in enumerate(shapes))
    frames = samples.batch(0)["frames"]
    assert frames.dtype == torch.float32
    assert frames.min() >= -1 and frames.max() <= 1


def test_sample_does_not_depend_on_the_batch_it_stands_in() -> None:
    one = stream(num_frames=(3,), batch_size=1)
    two = stream(num_frames=(3,), batch_size=2)
    assert torch.equal(one.batch(3)["frames"][0], two.batch(1)["frames"][1])


def test_weights_choose_the_source() -> None:
    both = MixedSource([(SyntheticSource(), 0.0), (ClipSource(clips()), 1.0)])
    names = [name for i in range(8) for name in stream(source=both).batch(i)["name"]]
    assert not any(name.startswith("synthetic") for name in names)
    with pytest.raises(UsageError, match="weights"):
        MixedSource([(SyntheticSource(), 0.0)])


def test_static_windows_are_drawn_again() -> None:
    samples = stream(source=ClipSource(clips()))
    names = [name for i in range(20) for name in samples.batch(i)["name"]]
    assert "still_0" not in names


def test_keys_are_the_ends_of_an_even_window() -> None:
    frames = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None] * 6, (40, 16, 24, 3))
    samples = stream(source=ClipSource([Clip("ramp", frames)]), num_frames=(4,))
    spans = set()
    for i in range(10):
        values = ((samples.sample(i)["frames"][:, 0, 0, 0] + 1) * 127.5).round()
        steps = values.diff()
        assert (steps == steps[0]).all()
        spans.add(int(steps[0]) // 6)
    assert len(spans) > 2


def test_crop_keeps_the_aspect_and_is_alike_for_all_frames() -> None:
    y, x = np.mgrid[:60, :100]
    frame = np.stack([x * 2, y * 4, x * 0], -1).astype(np.uint8)
    for seed in range(12):
        out = crop(np.stack([frame, frame]), (20, 30), np.random.default_rng(seed)).astype(float)
        assert out.shape == (2, 20, 30, 3)
        np.testing.assert_array_equal(out[0], out[1])
        across, down = np.diff(out[0, 10, 4:-4, 0]).mean() / 2, np.diff(out[0, 4:-4, 15, 1]).mean() / 4
        assert across / down == pytest.approx(1, abs=0.06)
    centred = crop(np.stack([frame]), (60, 80), None)
    np.testing.assert_array_equal(centred[0], frame[:, 10:90])


def test_augmentation_treats_all_frames_alike() -> None:
    same = np.repeat(np.random.default_rng(1).integers(0, 255, (1, 6, 8, 3), np.uint8), 3, 0)
    seen = set()
    for seed in range(40):
        out = changed(same, ALL.draw(np.random.default_rng(seed)))
        np.testing.assert_array_equal(out[0], out[2])
        seen.add(out.tobytes())
    assert len(seen) > 15


def test_curriculum_grows_to_full_motion() -> None:
    grow = Curriculum(0.2, 100)
    assert grow(0) == pytest.approx(0.2)
    assert grow(50) == pytest.approx(0.6)
    assert grow(100) == grow(10**9) == 1.0
    assert Curriculum()(0) == 1.0


def test_bad_requests_are_one_sentence() -> None:
    with pytest.raises(NakawariError, match="No clips"):
        ClipSource([])
    with pytest.raises(UsageError, match="span"):
        ClipSource(clips(), span=(5, 2))
    with pytest.raises(NakawariError, match="No clip has 99 frames"):
        stream(source=ClipSource(clips()), num_frames=(99,)).batch(0)
    with pytest.raises(UsageError, match="at least 2"):
        stream(num_frames=(1,))
    with pytest.raises(UsageError, match="batch_size"):
        stream(batch_size=0)
