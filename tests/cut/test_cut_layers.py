"""`nakawari cut` with one layered file per key, with the levels as layers."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from PIL import Image
from psd_tools import PSDImage
from typer.testing import Result

from crossfade import CrossFade
from cut_sheets import document, spelled, write
from nakawari.media import layer_names, read_image

Cli = Callable[..., Result]
Layers = dict[str, list[tuple[np.ndarray, tuple[int, int]]]]
"""Name -> pieces with their corners, bottom first; several pieces are a group."""
SIZE = (24, 16)


@pytest.fixture
def stub(stub: CrossFade) -> CrossFade:
    stub.noise, stub.draws_any_time = 0.0, True
    return stub


def patch(level: int, width: int = 8, height: int = 6) -> np.ndarray:
    return np.full((height, width, 4), (level, level, level, 255), np.uint8)


def psd(path: Path, layers: Layers) -> None:
    image = PSDImage.new("RGB", SIZE)
    for name, pieces in layers.items():
        group = image.create_group(name=name) if len(pieces) > 1 else None
        for pixels, (x, y) in pieces:
            layer = image.create_pixel_layer(Image.fromarray(pixels), name="line" if group else name, top=y, left=x)
            if group is not None:
                group.append(layer)
    image.save(path)


def ora(path: Path, layers: Layers) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "image/openraster")
        words = []
        for number, (name, pieces) in enumerate(layers.items()):
            inner = []
            for place, (pixels, (x, y)) in enumerate(pieces):
                file = f"data/{number}-{place}.png"
                data = io.BytesIO()
                Image.fromarray(pixels).save(data, "PNG")
                archive.writestr(file, data.getvalue())
                called = quoteattr(name if len(pieces) == 1 else "line")
                inner.insert(0, f'<layer name={called} src="{file}" x="{x}" y="{y}"/>')
            words.insert(0, inner[0] if len(inner) == 1 else f"<stack name={quoteattr(name)}>{''.join(inner)}</stack>")
        archive.writestr("stack.xml", f'<image w="{SIZE[0]}" h="{SIZE[1]}"><stack>{"".join(words)}</stack></image>')


WRITE = {"psd": psd, "ora": ora}


def layers_of(move: int, level: int) -> Layers:
    """A level of one layer, one of two layers in a group that extends over the edge, and one not in the sheet."""
    return {
        "A": [(patch(level), (move, 2))],
        "B": [(patch(200), (1, 1)), (patch(90, 3, 3), (22, 14))],
        "notes": [(patch(9), (0, 0))],
    }


@pytest.fixture(params=WRITE)
def drawings(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "drawings"
    folder.mkdir()
    for name, move, level in (("1", 2, 40), ("0003", 6, 120)):
        WRITE[request.param](folder / f"{name}.{request.param}", layers_of(move, level))
    return folder


def sheet(tmp_path: Path, **levels: str) -> Path:
    return write(tmp_path / "cut.xdts", document({name: spelled(text) for name, text in levels.items()}, 6))


def test_every_layer_is_a_level(cli: Cli, stub: CrossFade, drawings: Path, tmp_path: Path):
    path = sheet(tmp_path, A="1@0 2@2 3@4", B="1@0 x@6")
    out = tmp_path / "out"
    result = cli("cut", path, "--drawings", drawings, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert "2 levels, 6 frames, 1 missing drawings" in result.stdout
    first, group = read_image(out / "A" / "1.png"), read_image(out / "B" / "1.png")
    assert first.shape == group.shape == (16, 24, 4)
    assert np.array_equal(first[2:8, 2:10], patch(40))
    assert first[..., 3].sum() == 48 * 255
    assert np.array_equal(group[1:7, 1:9], patch(200))
    assert np.array_equal(group[14:, 22:], patch(90, 2, 2))
    assert read_image(out / "A" / "2.png").shape == (16, 24, 4)
    record = json.loads((out / "cut.json").read_text())
    source = record["levels"][0]["drawings"][0]
    assert source["source"].endswith(("drawings/1.psd/A", "drawings/1.ora/A"))
    assert len(source["sha256"]) == 64
    calls = len(stub.calls)
    assert "were already drawn" in cli("cut", path, "--drawings", drawings, "-o", out).stdout
    assert len(stub.calls) == calls


def test_a_changed_layer_is_drawn_anew(cli: Cli, stub: CrossFade, drawings: Path, tmp_path: Path):
    words = ("cut", sheet(tmp_path, A="1@0 2@2 3@4"), "--drawings", drawings, "-o", tmp_path / "out")
    assert cli(*words).exit_code == 0
    calls, (one,) = len(stub.calls), drawings.glob("1.*")
    WRITE[one.suffix[1:]](one, layers_of(4, 40))
    assert cli(*words).exit_code == 0
    assert len(stub.calls) == 2 * calls


def test_what_is_wrong_with_layers(cli: Cli, stub: CrossFade, drawings: Path, tmp_path: Path):
    words = ("cut", sheet(tmp_path, D="1@0 2@2 3@4"), "--drawings", drawings, "-o", tmp_path / "out")
    assert "with a layer D" in cli(*words).stderr
    (one,) = drawings.glob("1.*")
    one.write_bytes(one.read_bytes()[:90])
    broken = cli(*words)
    assert (broken.exit_code, len(broken.stderr.splitlines())) == (1, 1)
    assert f"The layers of {one} cannot be read" in broken.stderr


def test_two_layers_of_one_name(cli: Cli, stub: CrossFade, tmp_path: Path):
    folder = tmp_path / "drawings"
    folder.mkdir()
    image = PSDImage.new("RGB", SIZE)
    for _ in range(2):
        image.create_pixel_layer(Image.fromarray(patch(40)), name="A")
    image.save(folder / "1.psd")
    assert layer_names(folder / "1.psd") == ["A", "A"]
    result = cli("cut", sheet(tmp_path, A="1@0"), "--drawings", folder, "-o", tmp_path / "out")
    assert (result.exit_code, "are both drawing 1" in result.stderr) == (1, True)


def test_without_psd_tools_one_sentence_says_what_to_install(cli: Cli, stub: CrossFade, tmp_path: Path, monkeypatch):
    folder = tmp_path / "drawings"
    folder.mkdir()
    psd(folder / "1.psd", layers_of(2, 40))
    monkeypatch.setitem(sys.modules, "psd_tools", None)
    result = cli("cut", sheet(tmp_path, A="1@0"), "--drawings", folder, "-o", tmp_path / "out")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "pip install nakawari[psd]" in result.stderr


def test_one_layer_is_a_key_of_interpolate(cli: Cli, stub: CrossFade, drawings: Path, tmp_path: Path):
    (one,), (other,) = drawings.glob("1.*"), drawings.glob("0003.*")
    result = cli("interpolate", one / "A", other / "A", "--between", 1, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(read_image(tmp_path / "out" / "0001.png")[2:8, 2:10], patch(40))
    assert "has no layer named Z" in cli("interpolate", one / "Z", other / "A", "-o", tmp_path / "o").stderr
