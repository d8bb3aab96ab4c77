"""The plan of passes, and drawing with a stub model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossfade import CrossFade
from nakawari.errors import NakawariError, UsageError
from nakawari.interpolation import Drawn, Key, Output, Settings, draw, gap_counts, parse_counts, plan_gap, seed_of
from nakawari.interpolation.keys import bled_colour


def ramp(*levels: int, alpha: int | None = None) -> list[Key]:
    """Flat key drawings of 6 x 4, one per level."""
    pixels = [np.full((4, 6, 3), level, np.uint8) for level in levels]
    if alpha is not None:
        pixels = [np.concatenate([one, np.full((4, 6, 1), alpha, np.uint8)], axis=2) for one in pixels]
    return [Key(Path(f"{number}.png"), one) for number, one in enumerate(pixels)]


def noisy_keys(count: int, channels: int = 3) -> list[Key]:
    random = np.random.default_rng(1)
    shape = (6, 8, channels)
    return [Key(Path(f"{n}.png"), random.integers(0, 256, shape, dtype=np.uint8)) for n in range(count)]


def same(first: Drawn, second: Drawn) -> bool:
    return first.keys == second.keys and all(map(np.array_equal, first.frames, second.frames))


# --- plan ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1000), st.integers(1, 30))
def test_every_place_is_drawn_once_from_drawings_that_are_there(count: int, most: int):
    there = {0, count + 1}
    for item in plan_gap(count, most):
        assert {item.start, item.end} <= there
        assert 1 <= len(item.places) <= most
        assert not there & set(item.places)
        assert item.start < min(item.places)
        assert max(item.places) < item.end
        there |= set(item.places)
    assert there == set(range(count + 2))


@given(st.integers(1, 200), st.integers(1, 30))
def test_frames_of_a_pass_are_even_to_half_a_step(count: int, most: int):
    for item in plan_gap(count, most):
        grid = np.diff([item.start, *item.places, item.end])
        assert grid.max() - grid.min() <= 1


def test_a_count_that_fits_is_one_pass_and_one_that_does_not_takes_the_fewest():
    assert [item.places for item in plan_gap(14, 14)] == [tuple(range(1, 15))]
    assert plan_gap(0, 14) == []
    passes = plan_gap(31, 14)
    assert passes[0].places == (8, 16, 24)
    assert len(passes) == 5
    assert [item.level for item in passes] == [0, 1, 1, 1, 1]


def test_a_prime_number_of_steps_is_halved():
    assert next(item.places for item in plan_gap(16, 14)) == (8,)


def test_counts_are_parsed_and_spread():
    assert parse_counts("7") == (7,)
    assert parse_counts("3, 0,5") == (3, 0, 5)
    assert gap_counts((7,), 3, loop=False) == (7, 7)
    assert gap_counts((7,), 3, loop=True) == (7, 7, 7)
    assert gap_counts((7, 3, 5), 3, loop=True) == (7, 3, 5)


@pytest.mark.parametrize("text", ["", "x", "3,", "2.5", "-1", "3,-2", "1001"])
def test_bad_counts(text: str):
    with pytest.raises(UsageError):
        parse_counts(text)


@pytest.mark.parametrize(("counts", "keys", "loop"), [((3, 4), 2, False), ((3,), 1, False), ((3, 4), 3, True)])
def test_counts_that_do_not_fit_the_gaps(counts: tuple[int, ...], keys: int, loop: bool):
    with pytest.raises(UsageError):
        gap_counts(counts, keys, loop=loop)


# --- drawing ------------------------------------------------------------------------------------------------------


def test_keys_stand_unchanged_between_in_betweens():
    keys = noisy_keys(3)
    drawn = draw(keys, Settings((7, 3, 5), loop=True), CrossFade(noise=1.0))
    assert len(drawn.frames) == 18
    assert [index for index, key in enumerate(drawn.keys) if key is not None] == [0, 8, 12]
    for index, key in enumerate(drawn.keys):
        if key is not None:
            assert np.array_equal(drawn.frames[index], keys[key].pixels)


def test_loop_ends_on_the_way_back_to_the_first_key():
    drawn = draw(ramp(0, 100), Settings((1, 3), loop=True), CrossFade())
    assert [int(frame[0, 0, 0]) for frame in drawn.frames] == [0, 50, 100, 75, 50, 25]


def test_many_passes_put_frames_where_one_would():
    drawn = draw(ramp(0, 240), Settings((23,)), CrossFade(max_frames=6))
    levels = [int(frame[0, 0, 0]) for frame in drawn.frames]
    assert np.abs(np.array(levels) - np.arange(0, 241, 10)).max() <= 1


@pytest.mark.parametrize("channels", [3, 4])
def test_batch_changes_nothing(channels: int):
    keys = noisy_keys(4, channels)
    settings = Settings((20, 3, 20), seed=5)
    model = CrossFade(noise=0.5)
    single = draw(keys, settings, model)
    together = CrossFade(noise=0.5, device="cuda")
    assert same(single, draw(keys, replace(settings, batch=4), together))
    assert max(call["batch"] for call in together.calls) == 4
    assert len(together.calls) < len(model.calls)
    # On a CPU, sums over a batch round differently: passes run one by one whatever the batch.
    draw(keys, replace(settings, batch=4), model)
    assert {call["batch"] for call in model.calls} == {1}


def test_seed_gap_and_pass_each_change_the_noise():
    assert len({seed_of(0, 0, 0), seed_of(1, 0, 0), seed_of(0, 1, 0), seed_of(0, 0, 1)}) == 4
    keys = noisy_keys(2)
    first = draw(keys, Settings((3,), seed=0), CrossFade(noise=0.5))
    assert same(first, draw(keys, Settings((3,), seed=0), CrossFade(noise=0.5)))
    assert not same(first, draw(keys, Settings((3,), seed=1), CrossFade(noise=0.5)))


def test_one_gap_does_not_depend_on_the_others():
    keys = noisy_keys(3)
    short = draw(keys, Settings((2, 4)), CrossFade(noise=0.5))
    long = draw(keys, Settings((9, 4)), CrossFade(noise=0.5))
    assert all(map(np.array_equal, short.frames[-6:], long.frames[-6:]))


def test_settings_reach_the_model_and_silence_leaves_its_defaults():
    model = CrossFade()
    draw(ramp(0, 9), Settings((3,), steps=4, guidance=2.5, fps=24, prompt="a walk"), model)
    call = model.calls[0]
    assert (call["num_inference_steps"], call["guidance_scale"], call["fps"]) == (4, 2.5, [24])
    assert (call["prompt"], call["num_frames"], call["output_type"]) == ("a walk", 5, "pt")
    draw(ramp(0, 9), Settings((3,)), model)
    assert {"num_inference_steps", "guidance_scale", "fps"}.isdisjoint(model.calls[1])


def test_a_coarse_pass_is_told_its_own_speed():
    model = CrossFade(max_frames=5)
    draw(ramp(0, 9), Settings((15,), fps=24), model)
    assert [call["fps"] for call in model.calls] == [[6]] + [[24]] * 4


def test_nothing_between_needs_no_model():
    keys = noisy_keys(2, 4)
    drawn = draw(keys, Settings((0,)))
    assert [frame.tobytes() for frame in drawn.frames] == [key.pixels.tobytes() for key in keys]


def test_progress_counts_in_betweens_to_the_end_also_where_the_matte_is_drawn_too():
    seen: list[tuple[int, int]] = []
    draw(noisy_keys(3, 4), Settings((2, 3)), CrossFade(), lambda *pair: seen.append(pair))
    assert seen[-1] == (5, 5)
    assert sorted(seen) == seen


def test_values_that_are_not_finite_and_lack_of_memory_are_one_sentence():
    class Broken(CrossFade):
        def __call__(self, *args: object, **options: object):
            made = super().__call__(*args, **options)
            made.frames[0, 1] = float("nan")
            return made

    class Exhausted(CrossFade):
        def __call__(self, *_args: object, **_options: object):
            raise torch.OutOfMemoryError("CUDA out of memory")

    for model, words in ((Broken(), "not finite"), (Exhausted(), "--batch")):
        with pytest.raises(NakawariError, match=words):
            draw(ramp(0, 9), Settings((1,)), model)


# --- transparency -------------------------------------------------------------------------------------------------


def disc(left: int) -> np.ndarray:
    """A red square on a transparent background with white as hidden colour."""
    frame = np.full((16, 32, 4), 255, np.uint8)
    frame[..., 3] = 0
    frame[4:12, left : left + 8] = (200, 0, 0, 255)
    return frame


def test_rgba_keys_give_rgba_frames_without_fringe():
    keys = [Key(Path("a.png"), disc(4)), Key(Path("b.png"), disc(8))]
    drawn = draw(keys, Settings((1,), parts=False), CrossFade())
    middle = drawn.frames[1]
    assert middle.shape == (16, 32, 4)
    assert middle[8, 9].tolist() == [200, 0, 0, 255]
    assert middle[8, 5].tolist() == [200, 0, 0, 255]  # half a matte: hard mattes stay hard
    assert middle[0, 0, 3] == 0
    assert np.array_equal(drawn.frames[0], keys[0].pixels)


def test_full_mattes_cost_no_second_layer():
    model = CrossFade()
    drawn = draw(ramp(0, 90, alpha=255), Settings((2,)), model)
    assert len(model.calls) == 1
    assert all((frame[..., 3] == 255).all() for frame in drawn.frames)


def test_colour_bleeds_from_the_nearest_visible_pixels():
    frame = np.zeros((32, 64, 4), np.uint8)
    frame[10:20, 4:12] = (250, 0, 0, 255)
    frame[10:20, 52:60] = (0, 0, 250, 255)
    filled = bled_colour(frame)
    assert np.array_equal(filled[10:20, 4:12], frame[10:20, 4:12, :3])
    assert filled[15, 1, 0] > 200
    assert filled[15, 62, 2] > 200
    assert (filled[..., 1] == 0).all()
    assert np.array_equal(bled_colour(np.zeros((5, 3, 4), np.uint8)), np.full((5, 3, 3), 128, np.uint8))


# --- output -------------------------------------------------------------------------------------------------------


def test_output_words():
    assert Output.parse(Path("a"), None).formats == ("png", "gif", "sheet")
    assert Output.parse(Path("a.GIF"), None).formats == ("gif",)
    assert Output.parse(Path("a"), "mp4, png,mp4").formats == ("mp4", "png")
    for path, formats in (("a.mkv", None), ("a.mov", "gif"), ("a.mp4", "gif"), ("a", "avi"), ("a", "")):
        with pytest.raises(UsageError):
            Output.parse(Path(path), formats)


def test_flat_keys_are_drawn_by_their_parts_and_by_the_model_where_asked():
    def square(left: int) -> np.ndarray:
        board = np.full((64, 96, 3), (140, 198, 238), np.uint8)
        board[20:44, left : left + 24] = (220, 50, 60)
        return board

    keys = [Key(Path("a.png"), square(8)), Key(Path("b.png"), square(56))]
    seen: list[tuple[int, int]] = []
    frames = draw(keys, Settings((3,)), CrossFade(), lambda drawn, total: seen.append((drawn, total))).frames
    assert all((frame == square(left)).all() for frame, left in zip(frames, (8, 20, 32, 44, 56), strict=True))
    assert seen[-1] == (3, 3)
    faded = draw(keys, Settings((3,), parts=False), CrossFade()).frames
    assert (faded[2] != square(32)).any()
