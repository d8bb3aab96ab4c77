"""`nakawari interpolate` with a tiny random Framer: options have an effect, wrong arguments give one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from nakawari.cli.drawing_options import Cache
from nakawari.families.cache import LEVELS
from nakawari.media import read_frames, read_image

Cli = Callable[..., Result]


@pytest.fixture
def draw(cli: Cli, framer_model: Path, keys: list[Path], tmp_path: Path) -> Callable[..., Result]:
    """Draws two in-betweens of two 22x14 keys into `tmp_path/out`, in two steps."""

    def run(*words: object, output: str = "out") -> Result:
        basic = ("--model", framer_model, "--between", 2, "--steps", 2, "-o", tmp_path / output, "--overwrite")
        return cli("interpolate", *keys[:2], *basic, *words)

    return run


@pytest.fixture
def drawn(draw: Callable[..., Result], tmp_path: Path) -> Callable[..., np.ndarray]:
    """The in-betweens drawn with the given arguments."""

    def run(*words: object) -> np.ndarray:
        result = draw(*words)
        assert result.exit_code == 0, result.stderr
        return np.stack(read_frames(tmp_path / "out")[1:-1])

    return run


@pytest.fixture(scope="session")
def plain() -> dict[str, np.ndarray]:
    """The result without the option under test, cached between tests."""
    return {}


INSIDE = ("--track", "4,5 10,7 18,9")
LED = ("--track", "20,30 45,10 70,30")


@pytest.mark.parametrize(
    "words",
    [
        ("--min-guidance", "4"),
        ("--max-guidance", "9"),
        ("--peak-guidance",),
        ("--guidance", "5"),
        ("--noise-aug", "0.6"),
        ("--motion-bucket", "3"),
        ("--fps", "30"),
        ("--seed", "1"),
        ("--scheduler", "dpm++"),
        INSIDE,
    ],
    ids=lambda words: words[0],
)
def test_every_option_changes_the_output(drawn: Callable, plain: dict, words: tuple[str, ...]) -> None:
    if "plain" not in plain:
        plain["plain"] = drawn()
    assert not np.array_equal(plain["plain"], drawn(*words))


@pytest.mark.parametrize(
    "words",
    [
        ("--control-scale", "0.2"),
        ("--control-range", "0,0.4"),
        ("--control-range", "0.5,1"),
        ("--track", "80,50"),
    ],
    ids=lambda words: " ".join(words),
)
def test_every_control_option_changes_the_output(
    cli: Cli, framer_model: Path, plain: dict, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """On drawings larger than the heatmap of a point, which would fill smaller ones at any position."""
    for name, left in (("a", 12), ("b", 62)):
        picture = np.full((60, 100, 3), 200, np.uint8)
        picture[20:40, left : left + 16] = (200, 50, 50)
        Image.fromarray(picture).save(tmp_path / f"{name}.png")

    def drawn(*more: str) -> np.ndarray:
        basic = (
            "--model",
            framer_model,
            "--between",
            3,
            "--steps",
            2,
            "-o",
            tmp_path / "out",
            "--format",
            "png",
            "--palette",
            "free",
        )
        result = cli("interpolate", tmp_path / "a.png", tmp_path / "b.png", *basic, *LED, *more)
        assert result.exit_code == 0, result.stderr
        return np.stack(read_frames(tmp_path / "out")[1:-1])

    if "led" not in plain:
        plain["led"] = drawn()
    assert not np.array_equal(plain["led"], drawn(*words))


def test_the_same_command_makes_the_same_bytes(draw: Callable, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert draw(*INSIDE, output=name).exit_code == 0
    first, second = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert first == second


def test_sizes_are_kept_and_tracks_are_shown_on_sheet_and_gif_only(draw: Callable, tmp_path: Path) -> None:
    for name, words in (("bare", ("--no-overlay",)), ("shown", ())):
        assert draw(*INSIDE, *words, output=name).exit_code == 0
    for file in ("0001.png", "0002.png", "0004.png"):
        assert np.array_equal(read_image(tmp_path / "bare" / file), read_image(tmp_path / "shown" / file))
        assert read_image(tmp_path / "shown" / file).shape == (14, 22, 3)
    for file in ("contact-sheet.png", "in-betweens.gif"):
        assert (tmp_path / "bare" / file).read_bytes() != (tmp_path / "shown" / file).read_bytes()
    record = json.loads((tmp_path / "shown/interpolation.json").read_text())
    rows = np.array(record["tracks"]["1"])
    assert rows.shape == (4, 1, 2)
    assert rows[[0, -1], 0].tolist() == [[4, 5], [18, 9]]


def test_more_points_than_frames_and_one_point(draw: Callable, tmp_path: Path) -> None:
    many = " ".join(f"{x},{x // 2}" for x in range(20))
    assert draw("--track", many, "--track", "7,7").exit_code == 0
    rows = np.array(json.loads((tmp_path / "out/interpolation.json").read_text())["tracks"]["1"])
    assert rows[[0, -1], 0].tolist() == [[0, 0], [19, 9]]
    assert (rows[:, 1] == 7).all()


def test_tracks_of_every_gap_over_several_passes(
    cli: Cli, framer_model: Path, keys: list[Path], tmp_path: Path
) -> None:
    """Five in-betweens need two passes of a model that makes five frames at once; RGBA keys are drawn in two layers."""
    image = Image.open(keys[0])
    image.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 22).astype(np.uint8), (14, 1))))
    image.save(keys[0])
    (tmp_path / "tracks.json").write_text(json.dumps({"2": [[[1, 1], [20, 12]], [[5, 5]]]}))
    words = ("--track", tmp_path / "tracks.json", "--track", "1: 3,3 15,9", "--between", "5,1", "--steps", 1)
    result = cli("interpolate", *keys, "-o", tmp_path / "out", "--model", framer_model, *words)
    assert result.exit_code == 0, result.stderr
    assert [frame.shape for frame in read_frames(tmp_path / "out")] == [(14, 22, 4)] * 9
    tracks = json.loads((tmp_path / "out/interpolation.json").read_text())["tracks"]
    assert np.array(tracks["1"]).shape == (7, 1, 2)
    assert np.array(tracks["2"]).shape == (3, 2, 2)


def test_automatic_tracks_where_nothing_matches_are_a_warning(draw: Callable) -> None:
    result = draw("--auto-tracks")
    assert result.exit_code == 0
    warning = "nakawari: warning: No points match between the two keys of gap 1: it has no automatic tracks."
    assert result.stderr.splitlines()[0] == warning


def test_automatic_tracks_lead_what_matches(cli: Cli, framer_model: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (12, 16, 3), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
    for name, shift in (("a", 0), ("b", 6)):
        Image.fromarray(np.roll(picture, shift, axis=1)).save(tmp_path / f"{name}.png")
    words = ("--model", framer_model, "--between", 1, "--steps", 1, "--auto-tracks", "-o", tmp_path / "out")
    result = cli("interpolate", tmp_path / "a.png", tmp_path / "b.png", *words)
    assert result.exit_code == 0, result.stderr
    rows = np.array(json.loads((tmp_path / "out/interpolation.json").read_text())["tracks"]["1"])
    np.testing.assert_allclose(rows[-1] - rows[0], np.tile([6.0, 0.0], (rows.shape[1], 1)), atol=0.5)


def test_lcm_on_weights_that_are_not_distilled_is_a_warning(draw: Callable) -> None:
    result = draw("--scheduler", "lcm")
    assert result.exit_code == 0
    assert "nakawari: warning: The LCM sampler needs consistency-distilled weights" in result.stderr


def test_schedulers_are_compared(draw: Callable, tmp_path: Path) -> None:
    result = draw("--compare", "--schedulers", "euler,dpm++")
    assert result.exit_code == 0, result.stderr
    head, euler, dpm, *files = [line.split() for line in result.stdout.splitlines()]
    assert head[:3] == ["scheduler", "steps", "seconds"]
    assert (euler[0], euler[1], euler[-1]) == ("euler", "2", "-")
    assert dpm[0] == "dpm++"
    assert float(dpm[-1]) > 0
    names = ["comparison.png", "euler.gif", "dpm++.gif", "interpolation.json"]
    assert [Path(file[0]).name for file in files] == names
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(names)


WRONG = {
    "outside": (("--track", "99,5 120,9"), "never enters the image of 22x14"),
    "no points": (("--track", "4,5 wrong"), "not a list of points"),
    "no such gap": (("--track", "3: 4,5 6,7"), "for gap 3, but the gaps are 1 to 1"),
    "not finite": (("--track", "nan,5"), "not a finite number"),
    "no such file": (("--track", "nowhere.json"), "nowhere.json does not exist"),
    "scale without tracks": (("--control-scale", "2"), "has no effect without tracks"),
    "range without tracks": (("--control-range", "0,1"), "has no effect without tracks"),
    "range upside down": ((*INSIDE, "--control-range", "0.8,0.2"), "0 <= FROM <= TO <= 1"),
    "scheduler": (("--scheduler", "ddim"), "no scheduler 'ddim'"),
    "schedulers alone": (("--schedulers", "euler,lcm"), "add --compare"),
    "scheduler and compare": (("--scheduler", "lcm", "--compare"), "exclude each other"),
    "two guidances": (("--guidance", "2", "--max-guidance", "3"), "sets one value for all frames"),
    "motion": (("--motion-bucket", "0"), "--motion-bucket"),
    "words": (("--prompt", "a walk"), "reads no text"),
    "other family": (("--family", "tooncrafter"), "of the family framer, not tooncrafter"),
    "format": (("--compare", "--format", "png"), "--format does not apply"),
}


@pytest.mark.parametrize(("words", "sentence"), WRONG.values(), ids=WRONG)
def test_a_wrong_word_gets_one_sentence(draw: Callable, tmp_path: Path, words: tuple, sentence: str) -> None:
    result = draw(*words)
    assert result.exit_code in (1, 2)
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_track_in_several_gaps_must_say_which(cli: Cli, framer_model: Path, keys: list[Path], tmp_path: Path) -> None:
    result = cli("interpolate", *keys, "-o", tmp_path / "out", "--model", framer_model, *INSIDE)
    assert result.exit_code == 2
    assert "does not name one of the 2 gaps" in result.stderr


def test_one_key_is_not_enough(cli: Cli, framer_model: Path, keys: list[Path], tmp_path: Path) -> None:
    result = cli("interpolate", keys[0], "-o", tmp_path / "out", "--model", framer_model)
    assert result.exit_code == 2
    assert "two or more" in result.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--auto-tracks",), "matches its keys itself"),
        (("--motion-bucket", "9"), "has no motion bucket id"),
        (("--scheduler", "euler"), "has one scheduler"),
        (("--compare",), "nothing to compare"),
        (("--family", "framer", "--model", "mini"), "of the family mini, not framer"),
        (("--family", "tooncrafter"), "No model of the family tooncrafter is shipped; give --model"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_another_family_refuses_what_is_framers(
    cli: Cli, keys: list[Path], tmp_path: Path, words: tuple, sentence: str
) -> None:
    result = cli("interpolate", *keys[:2], "-o", tmp_path / "out", "--between", 1, *words)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_cache_level_draws_other_frames_and_is_recorded(drawn: Callable[..., np.ndarray], tmp_path: Path) -> None:
    plain, kept = drawn("--steps", 6, "--cache", "none"), drawn("--steps", 6, "--cache", "high")
    assert np.array_equal(plain, drawn("--steps", 6)) and not np.array_equal(plain, kept)
    drawn("--steps", 6, "--cache", "high")
    (record,) = (tmp_path / "out").glob("*.json")
    assert '"cache": "high"' in record.read_text()


def test_a_family_without_cache_levels_refuses(cli: Cli, keys: list[Path], tmp_path: Path) -> None:
    refused = cli("interpolate", *keys[:2], "--between", 1, "--cache", "low", "-o", tmp_path / "mini")
    assert refused.exit_code == 2 and "has no cache" in refused.stderr


def test_the_levels_of_the_command_are_those_of_the_families() -> None:
    assert [level.value for level in Cache] == list(LEVELS)
