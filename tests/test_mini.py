"""The bundled model mini: its record, its size, and its output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import Result

from nakawari.data.synthetic import SyntheticScene
from nakawari.files import read_json
from nakawari.interpolation import Key, Settings, draw
from nakawari.media import read_image, to_tensor
from nakawari.variants import MINI, load

Cli = Callable[..., Result]
EXAMPLES = MINI.parent / "examples"
RECIPES = Path(__file__).parent.parent / "recipes" / "mini"


def _scene(size: tuple[int, int] = (64, 96)) -> np.ndarray:
    return SyntheticScene(11, size, 0.12).render([0, 0.5, 1])


def test_the_record_says_what_made_it() -> None:
    record = read_json(MINI / "record.json")
    names = [yaml.safe_load(path.read_text())["name"] for path in sorted(RECIPES.glob("*.yaml"))]
    assert [run["recipe"]["name"] for run in record["runs"]] == names
    for run in record["runs"]:
        assert len(run["provenance"]["data"]) == 64
        assert run["provenance"]["git"]
        # A run may have been stopped; its best is what went on.
        assert 0 < run["best"]["step"] <= run["steps"] <= run["recipe"]["optim"]["steps"]
    scores = record["scores"]["means"]
    assert scores["mini"]["psnr"]["all"] > scores["average of the keys"]["psnr"]["all"]


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in MINI.rglob("*") if path.is_file()) < 40e6


@pytest.mark.parametrize("frames", [2, 3, 16])
def test_any_frame_count_and_size(frames: int) -> None:
    pipeline = load("mini").pipeline
    keys = to_tensor(_scene((50, 71)))[:, None]
    drawn = pipeline(keys[0], keys[2], num_frames=frames, generator=torch.Generator().manual_seed(0), output_type="pt")
    assert drawn.frames.shape == (1, frames, 3, 50, 71)


def test_it_adds_little_where_the_guide_is_right_and_never_leaves_the_range() -> None:
    pipeline = load("mini").pipeline
    still = to_tensor(_scene())[:1]
    drawn = pipeline(still, still, num_frames=3, generator=torch.Generator().manual_seed(0), output_type="pt").frames
    assert ((drawn[:, 1] * 2 - 1) - still).abs().mean() * 127.5 < 1.0


def test_things_move_instead_of_fading() -> None:
    pipeline = load("mini").pipeline
    start, middle, end = to_tensor(_scene())[:, None]
    drawn = pipeline(start, end, num_frames=3, generator=torch.Generator().manual_seed(0), output_type="pt").frames
    ours = ((drawn[:, 1] * 2 - 1) - middle).square().mean()
    faded = ((start + end) / 2 - middle).square().mean()
    assert ours < 0.7 * faded


def test_the_same_seed_gives_the_same_frames() -> None:
    pipeline = load("mini").pipeline
    keys = to_tensor(_scene())[:, None]
    first, second = (
        pipeline(keys[0], keys[2], num_frames=4, generator=torch.Generator().manual_seed(3), output_type="pt").frames
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_the_guide_is_part_of_the_condition() -> None:
    pipeline = load("mini").pipeline
    keys = to_tensor(_scene())[:, None]
    condition = pipeline.condition(keys[0], keys[2], num_frames=3)
    assert torch.equal(condition.guide.blend()[:, 0, :, :64, :96], keys[0])


def _sequence(folder: Path) -> list[np.ndarray]:
    return [read_image(path) for path in sorted(folder.glob("[0-9]*.png"))]


def _job(cli: Cli, keys: list[Path], out: Path, *words: str) -> list[np.ndarray]:
    result = cli("interpolate", *keys, "--between", "7,3,5", "--loop", "--format", "png", "-o", out, *words)
    assert result.exit_code == 0, result.stderr
    return _sequence(out)


@pytest.mark.slow
def test_eighteen_frames_of_638_by_358(cli: Cli, tmp_path: Path) -> None:
    keys = []
    for number in (1, 2, 3):
        picture = Image.open(EXAMPLES / f"key{number}.png").resize((638, 358), Image.Resampling.LANCZOS)
        keys.append(tmp_path / f"key{number}.png")
        picture.save(keys[-1])
    first = _job(cli, keys, tmp_path / "a")
    assert len(first) == 18
    for place, key in zip((0, 8, 12), keys, strict=True):
        assert np.array_equal(first[place], read_image(key))
    for again in (_job(cli, keys, tmp_path / "b"), _job(cli, keys, tmp_path / "c", "--batch", "3")):
        assert all(np.array_equal(x, y) for x, y in zip(first, again, strict=True))


def test_rgba_keys_give_rgba_frames(cli: Cli, tmp_path: Path) -> None:
    keys = []
    for number in range(3):
        picture = np.zeros((40, 56, 4), np.uint8)
        picture[8:28, 4 + 10 * number : 24 + 10 * number] = (220, 60, 40, 255)
        keys.append(tmp_path / f"key{number}.png")
        Image.fromarray(picture).save(keys[-1])
    frames = _job(cli, keys, tmp_path / "out")
    assert len(frames) == 18
    assert all(frame.shape == (40, 56, 4) for frame in frames)
    assert np.array_equal(frames[8], read_image(keys[1]))
    # The middle of the first gap: opaque where the square passes, clear in the corner.
    assert frames[4][18, 18, 3] > 200
    assert frames[4][36, 2, 3] == 0


@torch.no_grad()
def test_half_precision_draws_the_same() -> None:
    keys = [to_tensor(read_image(EXAMPLES / name)[None])[:, :3, :160, :256] for name in ("key1.png", "key2.png")]
    whole, half = load("mini").pipeline, load("mini:fp16").pipeline
    drawn = [
        pipeline(*keys, num_frames=3, generator=[torch.Generator().manual_seed(0)], output_type="pt").frames.float()
        for pipeline in (whole, half)
    ]
    assert -10 * (drawn[0] - drawn[1]).square().mean().log10() > 45


def test_mini_draws_at_the_time_it_is_told():
    """A moving disc is at a quarter of the way in a drawing for time 0.25."""
    keys = [np.full((64, 128, 3), 255, np.uint8) for _ in range(2)]
    y, x = np.mgrid[:64, :128]
    for key, centre in zip(keys, (44, 76), strict=True):
        key[(y - 32) ** 2 + (x - centre) ** 2 < 14**2] = (200, 40, 40)
    drawings = [Key(Path(f"{n}.png"), key) for n, key in enumerate(keys)]
    drawn = draw(drawings, Settings((1,), shares=((0.25,),)), load("mini").pipeline)
    covered = drawn.frames[1][..., 1] < 140
    assert abs(float(x[covered].mean()) - 52) < 2
