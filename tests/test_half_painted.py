"""Flat-coloured figures on painted backgrounds: figures are drawn by parts, the background by the model."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from crossfade import CrossFade
from nakawari.interpolation import Key, Settings, choice, draw, rivals
from nakawari.interpolation.figures import over, split
from nakawari.variants import load

INK, SHIRT, SKIN = (25, 20, 30), (205, 50, 55), (245, 205, 170)
SIZE = (200, 120)
FINE = 4


def painted() -> np.ndarray:
    """A watercolour-like background without uniform areas."""
    rng = np.random.default_rng(0)
    width, height = SIZE
    layers = [
        cv2.resize(
            rng.normal(0, 255 / 12, (height // side + 2, width // side + 2, 3)), SIZE, interpolation=cv2.INTER_CUBIC
        )
        for side in (40, 12, 4, 1)
    ]
    return np.clip(140 + sum(layers), 0, 255).astype(np.uint8)


def figure(left: int) -> Image.Image:
    """A figure of three outlined regions, antialiased, RGBA."""
    picture = Image.new("RGBA", (SIZE[0] * FINE, SIZE[1] * FINE))
    pencil = ImageDraw.Draw(picture)

    def box(x0: int, y0: int, x1: int, y1: int) -> list[int]:
        return [(left + x0) * FINE, y0 * FINE, (left + x1) * FINE, y1 * FINE]

    pencil.rounded_rectangle(box(0, 45, 34, 100), 8 * FINE, SHIRT, INK, 2 * FINE)
    pencil.ellipse(box(3, 15, 31, 45), SKIN, INK, 2 * FINE)
    pencil.rectangle(box(12, 70, 22, 92), (240, 200, 60), INK, 2 * FINE)
    return picture.resize(SIZE, Image.Resampling.BOX)


def scene(left: int, ground: np.ndarray) -> np.ndarray:
    return over(np.asarray(figure(left)), ground)


def drawn(first: np.ndarray, last: np.ndarray, **settings: object) -> tuple[np.ndarray, str]:
    keys = [Key(Path("a.png"), first), Key(Path("b.png"), last)]
    made = draw(keys, Settings((1,), **settings), CrossFade())
    return made.frames[1], made.used[0]["drawn_by"]


def test_a_figure_over_a_painted_ground_is_drawn_where_it_is_and_the_ground_behind_it_is_whole():
    ground = painted()
    first, truth, last = (scene(left, ground) for left in (15, 75, 135))
    made, by = drawn(first, last)
    apart = np.abs(made.astype(int) - truth).max(axis=2)
    assert by == "both"
    inside = np.asarray(figure(75))[..., 3] > 0
    assert (apart[inside] <= 24).mean() > 0.95
    assert (apart[~inside] > 8).mean() < 0.005, "no ghost of either key is left"
    assert (apart[inside] == 0).mean() > 0.6, "flat colours are exactly the keys'"


def test_the_model_alone_fades_it():
    ground = painted()
    first, truth, last = (scene(left, ground) for left in (15, 75, 135))
    made, by = drawn(first, last, parts=False)
    inside = np.asarray(figure(75))[..., 3] > 0
    assert by == "model"
    assert (np.abs(made.astype(int) - truth).max(axis=2)[inside] <= 24).mean() < 0.2


@pytest.mark.parametrize(("least", "by"), [(0.0, "model"), (1.01, "both")])
def test_a_model_replaces_two_layers_only_if_it_is_certain(least: float, by: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rivals, "SURE", 1.1)  # every gap is doubtful
    monkeypatch.setattr(rivals, "SURER", 1e-9)  # every model is surer
    monkeypatch.setattr(choice, "CERTAIN", least)
    ground = painted()
    keys = [Key(Path(f"{left}.png"), scene(left, ground)) for left in (15, 135)]
    model, seen = CrossFade(noise=0.5), []
    monkeypatch.setattr(model, "guide", object(), raising=False)
    made = draw(keys, Settings((2,)), model, lambda *counts: seen.append(counts))
    assert made.used[0]["drawn_by"] == by
    assert len(model.calls) == 2, "the backgrounds, and the keys"
    assert seen == [(2, 2)], "in-betweens that are drawn twice are counted once"


def test_mini_does_not_replace_a_figure_that_walks_far():
    ground = painted()
    keys = [Key(Path(f"{left}.png"), scene(left, ground)) for left in (15, 135)]
    assert draw(keys, Settings((1,)), load("mini").pipeline).used[0]["drawn_by"] == "both"


def test_figures_are_cut_out_along_their_lines():
    ground = painted()
    pair = scene(15, ground), scene(135, ground)
    (first, _), (own, other) = split(pair)
    alpha = np.asarray(figure(15))[..., 3]
    assert (np.abs(first[..., 3].astype(int) - alpha) > 64).mean() < 0.002
    assert (
        np.array_equal(own[alpha == 0], pair[0][alpha == 0]) or (own != pair[0])[alpha == 0].any(axis=1).mean() < 0.01
    )
    assert np.abs(own.astype(int) - ground).max() <= 1
    assert np.abs(other.astype(int) - ground).max() <= 1


@pytest.mark.parametrize("kind", ["painted", "flat", "gradient", "transparent"])
def test_what_is_not_half_and_half_is_not_split(kind: str):
    width, height = SIZE
    ramp = np.linspace(40, 220, width).astype(np.uint8)
    first = {
        "painted": painted(),
        "flat": scene(15, np.full((height, width, 3), 200, np.uint8)),
        "gradient": np.repeat(np.tile(ramp, (height, 1))[..., None], 3, axis=2),
        "transparent": np.asarray(figure(15)),
    }[kind]
    assert split((first, np.ascontiguousarray(first[:, ::-1]))) is None
