"""Post-processing of in-betweens: static areas, palettes, mattes, grain."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from crossfade import CrossFade
from nakawari.interpolation import Key, Settings, draw
from nakawari.interpolation.erased import erases
from nakawari.interpolation.grain import Grain
from nakawari.interpolation.held import hold
from nakawari.interpolation.palette import has_soft_edges, in_colours, is_kept

SKY, RED, INK = (140, 198, 238), (220, 50, 60), (20, 16, 24)


class Careless(CrossFade):
    """A stub with a network's errors: three levels off everywhere, also in static areas."""

    def __call__(self, start, end, **options):
        made = super().__call__(start, end, **options)
        made.frames = (made.frames + 3 / 255).clamp(0, 1)
        return made


def drawn(first: np.ndarray, last: np.ndarray, model: CrossFade | None = None, **settings: object) -> np.ndarray:
    keys = [Key(Path("a.png"), first), Key(Path("b.png"), last)]
    return draw(keys, Settings((1,), **settings), model or Careless()).frames[1]


def ball(left: int, ground: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(ground.copy())
    ImageDraw.Draw(picture).ellipse((left, 20, left + 20, 40), RED)
    return np.asarray(picture)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("parts", [True, False])
def test_equal_keys_give_equal_bytes(channels: int, parts: bool):
    key = np.random.default_rng(0).integers(0, 256, (40, 56, channels), dtype=np.uint8)
    assert np.array_equal(drawn(key, key.copy(), parts=parts), key)


def test_what_both_keys_agree_on_is_held_to_the_bit_and_what_moves_is_not():
    ground = np.random.default_rng(1).integers(90, 110, (64, 120, 3), dtype=np.uint8)
    first, last = ball(10, ground), ball(80, ground)
    middle = drawn(first, last, parts=False)
    apart = (first != last).any(axis=2)
    assert np.array_equal(middle[~apart], first[~apart])
    assert (middle[apart] != first[apart]).any()


def test_what_passes_over_a_still_ground_stays_there():
    ground = np.full((64, 120, 3), SKY, np.uint8)
    truth = ball(45, ground)
    assert np.array_equal(hold((ball(10, ground), ball(80, ground)), truth), truth)


def test_what_passes_over_a_still_ground_of_many_edges_gets_no_holes():
    ground = np.random.default_rng(3).integers(0, 200, (64, 120, 3), dtype=np.uint8)
    truth = ball(45, ground)  # redder than any place of the ground
    made = hold((ball(30, ground), ball(60, ground)), truth)
    assert np.array_equal(made, truth), "a textured ground is no figure before a moving ground"


def test_a_still_title_over_a_moving_ground_stays_whole():
    stripes = np.random.default_rng(2).integers(0, 256, (64, 200, 3), dtype=np.uint8)
    title = Image.new("L", (120, 64))
    ImageDraw.Draw(title).text((12, 14), "HELD", 255, font_size=34)
    mask = np.asarray(title) > 127
    keys = [np.where(mask[..., None], 255, stripes[:, shift : shift + 120]).astype(np.uint8) for shift in (0, 16)]
    torn = np.roll(keys[0], 8, axis=1)  # as a flow that follows the ground draws it
    made = hold((keys[0], keys[1]), torn)
    assert (torn[mask] != 255).any()
    assert (made[mask] == 255).all()
    assert np.array_equal(made[~mask & (keys[0] != keys[1]).any(2)], torn[~mask & (keys[0] != keys[1]).any(2)])
    passed = hold((keys[0], keys[1]), torn, torn=False)
    assert np.array_equal(passed, torn), "parts tear nothing: what they draw over a still thing passes over it"


PINK, PALE = (247, 228, 238), (231, 231, 236)


def ringed(ball_at: tuple[int, int], ring_at: float) -> np.ndarray:
    """A moving ball, and a pale ring that moves by less than a pixel."""
    picture = Image.new("RGB", (320 * 8, 200 * 8), PINK)
    pencil = ImageDraw.Draw(picture)
    left, top = (8 * place for place in ball_at)
    pencil.ellipse((left, top, left + 352, top + 352), (40, 130, 200))
    pencil.ellipse((8 * (178 + ring_at), 460, 8 * (262 + ring_at), 1140), outline=PALE, width=40)
    return np.asarray(picture.resize((320, 200), Image.Resampling.BOX))


def test_a_still_thing_that_the_parts_lose_is_drawn_all_the_same():
    first, last = ringed((48, 38), 0), ringed((62, 52), 0.56)
    both = [np.abs(key.astype(int) - PALE).max(axis=2) <= 2 for key in (first, last)]
    ring = both[0] & both[1]
    assert ring.sum() > 500
    assert np.abs(drawn(first, last)[ring].astype(int) - PALE).max() <= 6


def test_what_passes_over_a_still_thing_erases_nothing_and_the_ground_in_its_place_does():
    first, truth, last = ringed((168, 100), 0), ringed((198, 100), 0), ringed((228, 100), 0)
    assert not erases((first, last), [truth])
    assert erases((first, last), [truth, np.where((first == PALE).all(2)[..., None], PINK, truth).astype(np.uint8)])
    matted = [np.dstack([one, 255 * (one != PINK).any(2)]).astype(np.uint8) for one in (first, truth, last)]
    assert not erases((matted[0], matted[2]), [matted[1]])
    assert erases((matted[0], matted[2]), [np.zeros_like(matted[1])])


def few(left: int, mode: str) -> np.ndarray:
    """An aliased drawing of three colours, or of black and white."""
    picture = Image.new("RGB", (96, 64), "white" if mode == "1" else SKY)
    fill = (0, 0, 0) if mode == "1" else RED
    ImageDraw.Draw(picture).ellipse((left, 16, left + 30, 46), fill, INK if mode == "P" else (0, 0, 0), 2)
    return np.asarray(picture)


def colours_of(*pictures: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(one) for picture in pictures for one in picture.reshape(-1, picture.shape[2]).tolist()}


@pytest.mark.parametrize("mode", ["1", "P"])
@pytest.mark.parametrize("parts", [True, False])
def test_few_colours_get_no_new_one(mode: str, parts: bool):
    first, last = few(10, mode), few(22, mode)
    assert colours_of(drawn(first, last, parts=parts)) <= colours_of(first, last)
    faded = drawn(first, last, parts=False, palette="free")
    assert not colours_of(faded) <= colours_of(first, last)


def test_a_palette_that_is_asked_for_is_kept_whatever_the_keys_are():
    first, last = np.random.default_rng(3).integers(0, 256, (2, 40, 56, 4), dtype=np.uint8)
    assert not is_kept((first, last), "auto")
    assert colours_of(drawn(first, last, palette="keep")) <= colours_of(first, last)


def test_a_soft_edge_between_keys_with_soft_edges_takes_the_nearest_of_their_colours():
    def disc(left: float, steps: int) -> np.ndarray:
        y, x = np.mgrid[:40, :60]
        cover = np.clip(12.5 - np.hypot(x - left, y - 20), 0, 1)[..., None]
        levels = np.round(cover * steps) / steps
        return np.rint(np.array(INK) * levels + np.array(SKY) * (1 - levels)).astype(np.uint8)

    first, last, middle = disc(20.2, 8), disc(40.4, 8), disc(30.3, 255)
    assert has_soft_edges((first, last))
    made = in_colours((first, last), middle)
    assert np.abs(made.astype(int) - middle).max() <= 14, "half a step between two colours of the edge"
    assert not has_soft_edges((ball(10, np.full((60, 60, 3), SKY, np.uint8)),) * 2)


def test_light_that_changes_all_colours_is_no_palette():
    assert not is_kept((np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 200, np.uint8)), "auto")


def test_a_soft_edge_takes_one_of_its_two_colours_and_no_third():
    first = np.full((10, 30, 3), (0, 0, 255), np.uint8)
    first[:, 15:] = (255, 0, 0)
    first[0, 0] = (150, 0, 110)  # nearer to the edge's mean than either
    soft = first.copy()
    soft[:, 15] = (128, 0, 127)
    assert colours_of(in_colours((first, first), soft)[1:]) == {(0, 0, 255), (255, 0, 0)}


def test_hard_mattes_stay_hard():
    def cel(left: int) -> np.ndarray:
        frame = np.random.default_rng(4).integers(0, 256, (40, 80, 4), dtype=np.uint8)
        frame[..., 3] = 0
        frame[10:30, left : left + 24, 3] = 255
        return frame

    made = drawn(cel(10), cel(22), parts=False)
    assert set(np.unique(made[..., 3])) == {0, 255}


def grainy(left: int, seed: int) -> np.ndarray:
    ground = np.linspace((60, 120, 180), (180, 90, 60), 160).astype(np.uint8)[None].repeat(96, axis=0)
    noise = np.random.default_rng(seed).normal(0, 8, (96, 160, 1))
    return np.clip(np.rint(ball(left, ground) + noise), 0, 255).astype(np.uint8)


def grain_of(frame: np.ndarray) -> np.ndarray:
    """What is left of the lower half of a picture, where nothing moves, without its mean along columns."""
    lower = frame[50:].astype(float).mean(axis=2)
    return lower - lower.mean(axis=0)


def test_grain_between_grainy_keys_is_as_strong_as_theirs_and_never_the_same_twice():
    keys = [Key(Path("a.png"), grainy(20, 1)), Key(Path("b.png"), grainy(90, 2))]
    between = draw(keys, Settings((3,), parts=False), CrossFade()).frames[1:-1]
    own = grain_of(keys[0].pixels).std()
    assert all(0.85 < grain_of(frame).std() / own < 1.1 for frame in between)
    assert all(np.corrcoef(grain_of(a).ravel(), grain_of(b).ravel())[0, 1] < 0.8 for a, b in pairwise(between))
    again = draw(keys, Settings((3,), parts=False), CrossFade()).frames[1:-1]
    assert all(np.array_equal(a, b) for a, b in zip(between, again, strict=True))


def test_texture_that_pans_is_no_grain():
    wide = np.random.default_rng(4).normal(128, 40, (96, 200, 3)).astype(np.float32)
    wide = np.clip(cv2.GaussianBlur(wide, (0, 0), 1.2), 0, 255).astype(np.uint8)
    assert not Grain((wide[:, :160], wide[:, 6:166])).there
    assert not Grain((ball(20, wide[:, :160]), ball(90, wide[:, :160]))).there


def test_flat_drawings_have_no_grain():
    """Rounding makes some mean squares slightly negative."""
    for number in range(20):
        random = np.random.default_rng(number)
        key = np.full((64, 64, 3), 240, np.uint8)
        for y, x in random.integers(0, 44, (3, 2)):
            key[y : y + 15, x : x + 15] = random.integers(0, 255, 3)
        with np.errstate(invalid="raise"):
            assert not Grain((key, key)).there
