"""Image reading: each format gives the same pixels in every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from nakawari.data.check import check
from nakawari.data.clips import load_clips, read_clip
from nakawari.data.inventory import take_inventory
from nakawari.data.samples import Sample
from nakawari.data.triplets import open_dataset
from nakawari.errors import NakawariError
from nakawari.evaluation.protocol import Protocol
from nakawari.evaluation.samples import keep_reference, prepare, read_frames, sample_folder
from nakawari.interpolation import read_keys
from nakawari.media import Picture, read_image, read_pictures, write_image
from nakawari.reporting.filmstrips import kept_reference
from picture_files import DPI, EXCHANGED, FORMATS, ORIENTATION, SIZE, SRGB, drawing, flat, write

LOSSY = {"psd-transparent": 2}
"""Levels: a PSD stores colour on white, so half-transparent colour comes back rounded."""


def written(folder: Path, name: str) -> tuple[list[Path], list[np.ndarray]]:
    """Three frames in one format, and their pixels over white."""
    folder.mkdir(parents=True)
    pairs = [write(folder, name, shift) for shift in range(3)]
    return [path for path, _ in pairs], [flat(p) if p.shape[2] == 4 else p for _, p in pairs]


def same(found: np.ndarray, pixels: np.ndarray, name: str) -> None:
    assert found.shape == pixels.shape
    assert np.abs(found.astype(int) - pixels).max() <= LOSSY.get(name, 0)


@pytest.mark.parametrize("name", FORMATS)
def test_one_picture(tmp_path: Path, name: str):
    path, pixels = write(tmp_path, name)
    same(read_image(path), pixels, name)


@pytest.mark.parametrize("name", FORMATS)
def test_samples_triplets_checks_and_clips(tmp_path: Path, name: str):
    paths, frames = written(tmp_path / "set/triplets/one", name)
    sample = Sample("one", (paths[0], paths[2]), (paths[1],), (0.5,))
    clip, _ = read_clip(paths[0].parent)
    entries = {
        "samples": sample.read(),
        "triplets": open_dataset(tmp_path / "set")[0].read(),
        "clips": clip,
        "loaded clips": load_clips(tmp_path / "set")[0].frames,
        "checks": np.stack(list(take_inventory(tmp_path / "set").items[0].frames())),
    }
    for found in entries.values():
        same(found, np.stack(frames), name)


@pytest.mark.parametrize("name", FORMATS)
def test_evaluation_and_report(tmp_path: Path, name: str):
    paths, frames = written(tmp_path / "pictures", name)
    sample = Sample("one", (paths[0], paths[2]), (paths[1],), (0.5,))
    task = prepare(sample, Protocol(name="t"))
    same(task.task.keys, np.stack([frames[0], frames[2]]), name)
    keep_reference(tmp_path / "result/frames/reference", task)
    kept = read_frames(sample_folder(tmp_path / "result/frames/reference", "one"))
    same(kept["start"], frames[0], name)
    shown = kept_reference(SimpleNamespace(rows=[SimpleNamespace(folder=tmp_path / "result")]), "one")
    same(shown.truth, frames[1], name)


@pytest.mark.parametrize("name", FORMATS)
def test_interpolate(cli: Callable[..., Result], tmp_path: Path, name: str):
    pairs = [write(tmp_path, name, shift) for shift in range(2)]
    result = cli("interpolate", *(path for path, _ in pairs), "--between", "0", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    for number, (_, pixels) in enumerate(pairs, 1):
        same(read_image(tmp_path / f"out/000{number}.png"), pixels, name)
    with Image.open(tmp_path / "out/in-betweens.gif") as film:
        shown = np.asarray(film.convert("RGB")).astype(int)
    assert np.abs(shown[3, 4] - pairs[0][1][3, 4, :3]).max() <= 4


@pytest.mark.parametrize("name", ["gif", "tif", "webp", "png"])
def test_files_of_several_pictures(cli: Callable[..., Result], tmp_path: Path, name: str):
    pictures = [Image.fromarray(drawing(shift)) for shift in range(3)]
    if name == "gif":
        pictures = [picture.quantize(16) for picture in pictures]
    path = tmp_path / f"keys.{name}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **({"lossless": True} if name == "webp" else {}))
    expected = np.stack([drawing(shift) for shift in range(3)])
    np.testing.assert_array_equal(np.stack([key.pixels[..., :3] for key in read_keys([path])]), expected)
    np.testing.assert_array_equal(read_clip(path)[0], expected)
    assert cli("interpolate", path, "--between", "0", "-o", tmp_path / "out").exit_code == 0
    assert sorted(file.name for file in (tmp_path / "out").glob("0*.png")) == ["0001.png", "0002.png", "0003.png"]
    with pytest.raises(NakawariError, match="holds several pictures"):
        read_image(path)


def test_pages_of_sixteen_bits_are_read_as_such(tmp_path: Path):
    import cv2

    pages = [drawing(shift)[..., ::-1].astype(np.uint16) * 257 for shift in range(3)]
    assert cv2.imwritemulti(str(tmp_path / "keys.tif"), pages)
    found = read_pictures(tmp_path / "keys.tif")
    for shift, picture in enumerate(found):
        np.testing.assert_array_equal(picture.deep, drawing(shift).astype(np.uint16) * 257)
    assert len(found) == 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_are_turned_as_eight_are(tmp_path: Path, orientation: int):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    grey = drawing()[..., 0]
    Image.fromarray(grey).save(tmp_path / "eight.png", exif=exif)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "sixteen.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "sixteen.png"), read_image(tmp_path / "eight.png"))


def test_a_ramp_of_sixteen_bits_has_one_mean_everywhere(tmp_path: Path):
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(4, axis=0)
    for number in (1, 2, 3):
        (tmp_path / "triplets/a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(ramp).save(tmp_path / f"triplets/a/frame{number}.png")
    assert read_clip(tmp_path / "triplets/a")[0].mean() == 127.5
    assert open_dataset(tmp_path)[0].read().mean() == 127.5
    assert read_keys([tmp_path / "triplets/a"])[0].pixels.mean() == 127.5


def test_profile_and_resolution_are_kept_and_keys_are_exact(stub, cli: Callable[..., Result], tmp_path: Path):
    for number, shift in enumerate((0, 3), 1):
        picture = Image.fromarray(drawing(shift)[..., [1, 0, 2]])
        picture.save(tmp_path / f"key{number}.png", icc_profile=EXCHANGED, dpi=DPI)
    keys = [tmp_path / "key1.png", tmp_path / "key2.png"]
    assert cli("interpolate", *keys, "--between", "1", "-o", tmp_path / "out").exit_code == 0
    for number in (1, 2, 3):
        with Image.open(tmp_path / f"out/000{number}.png") as frame:
            assert frame.info["icc_profile"] == EXCHANGED
            assert frame.info["dpi"] == pytest.approx(DPI, abs=0.01)
    for key, frame in zip(keys, ("0001.png", "0003.png"), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(key)), np.asarray(Image.open(tmp_path / "out" / frame)))


def test_keys_of_sixteen_bits_come_back_bit_for_bit(stub, cli: Callable[..., Result], tmp_path: Path):
    deep = np.random.default_rng(0).integers(0, 65536, (*SIZE, 3), dtype=np.uint16)
    for number in (1, 2):
        write_image(tmp_path / f"key{number}.png", Picture((deep >> 8).astype(np.uint8), SRGB, DPI, deep + number))
    keys = [tmp_path / "key1.png", tmp_path / "key2.png"]
    assert cli("interpolate", *keys, "--between", "1", "-o", tmp_path / "out").exit_code == 0
    frames = [read_pictures(tmp_path / f"out/000{number}.png")[0] for number in (1, 2, 3)]
    np.testing.assert_array_equal(frames[0].deep, deep + 1)
    np.testing.assert_array_equal(frames[2].deep, deep + 2)
    assert frames[1].deep is not None
    assert all(frame.profile == SRGB and frame.dpi == pytest.approx(DPI, abs=0.01) for frame in frames)


def test_keys_of_different_profiles_are_refused(cli: Callable[..., Result], tmp_path: Path):
    first, _ = write(tmp_path, "8-bit")
    tagged, _ = write(tmp_path, "srgb-profile")
    other, _ = write(tmp_path, "other-profile")
    assert len(read_keys([first, tagged])) == 2
    result = cli("interpolate", first, other, "-o", tmp_path / "out")
    assert result.exit_code == 1 and "different colour profiles" in result.output and other.name in result.output


@pytest.mark.parametrize("stranger", ["2.clip", "2.xcf", "2.dpx", "2.psd"])
def test_a_folder_with_a_drawing_that_cannot_be_read_is_refused_by_name(
    cli: Callable[..., Result], tmp_path: Path, stranger: str
):
    folder = tmp_path / "set/triplets/one"
    folder.mkdir(parents=True)
    for number in (1, 3, 4, 5):
        Image.fromarray(drawing(number % 3)).save(folder / f"{number}.png")
    (folder / stranger).write_bytes(b"8BPS and no more")
    result = cli("interpolate", folder, "--between", "0", "-o", tmp_path / "out")
    assert result.exit_code == 1 and stranger in result.output and not (tmp_path / "out").exists()
    with pytest.raises(NakawariError, match=stranger):
        load_clips(tmp_path / "set")
    with pytest.raises(NakawariError, match=stranger):
        open_dataset(tmp_path / "set")[0].read()
    assert any(stranger in fault.sentence for fault in check(tmp_path / "set").faults)


def test_a_psd_between_pngs_is_a_key(tmp_path: Path):
    folder = tmp_path / "keys"
    folder.mkdir()
    for shift, (number, name) in enumerate((("1", "8-bit"), ("2", "psd"), ("3", "8-bit"))):
        path, _ = write(tmp_path, name, shift)
        path.rename(folder / f"{number}{path.suffix}")
    assert [key.path.name for key in read_keys([folder])] == ["1.png", "2.psd", "3.png"]
    np.testing.assert_array_equal(read_keys([folder])[1].pixels, drawing(1))
