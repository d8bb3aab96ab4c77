"""Frames drawn by another program, in the same table."""

import csv
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from evaluation_stubs import StubPipeline
from PIL import Image

from nakawari.errors import NakawariError, UsageError
from nakawari.evaluation.contestants import Model
from nakawari.evaluation.drawn import Drawn, parse_frames, to_draw
from nakawari.evaluation.protocol import Protocol, Row
from nakawari.evaluation.runner import evaluate

PADDED = Protocol(name="padded", width=64, height=40, metrics=("psnr", "ssim", "st-lpips", "flicker", "key-drift"))

# Knows nothing of this project: reads the list, mixes the keys, writes the pictures.
CROSS_FADE = """
import csv, pathlib, sys
import numpy
from PIL import Image
todo, drawn = map(pathlib.Path, sys.argv[1:])
for row in csv.DictReader((todo / "list.csv").open()):
    start, end = (numpy.asarray(Image.open(todo / row[key]), float) for key in ("start", "end"))
    t = float(row["time"])
    picture = numpy.rint(start * (1 - t) + end * t).astype("uint8")
    assert picture.shape == (int(row["height"]), int(row["width"]), 3)
    (drawn / row["picture"]).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(drawn / row["picture"])
"""


def fade(samples, protocol, folder):
    to_draw(samples, protocol, folder / "todo")
    subprocess.run([sys.executable, "-c", CROSS_FADE, folder / "todo", folder / "drawn"], check=True)
    return folder / "drawn"


@pytest.mark.parametrize(
    "protocol",
    [
        PADDED,
        PADDED.model_copy(update={"fit": "crop"}),
        Protocol(name="own-size", num_frames=4, scored="mid-pair", metrics=("psnr",)),
    ],
    ids=["padded", "cropped", "two times, own size"],
)
def test_a_cross_fade_of_another_program_scores_as_the_floor_to_the_last_digit(tmp_path, triplets, protocol):
    drawn = Drawn("fade", fade(triplets, protocol, tmp_path), triplets, protocol)
    found = evaluate([Model("stub", StubPipeline()), drawn], triplets, protocol, tmp_path / "out", cost=False)
    fade_row, floor = (tmp_path / "out" / name / "seed-0.csv" for name in ("fade", "average_of_the_keys"))
    assert fade_row.read_text() == floor.read_text()
    means = {entry["name"]: entry["results"] for entry in found["entries"]}
    assert means["fade"] == means["average of the keys"]
    assert found["reference"] == "stub"
    verdicts = {item["verdict"] for item in found["paired"] if item["entry"] == "fade"}
    assert verdicts <= {"too few films", "equal"}


def test_the_list_names_every_picture_once(tmp_path, triplets):
    samples = [replace(triplets[0], name="a/b"), triplets[1]]
    lines = list(csv.DictReader(to_draw(samples, PADDED, tmp_path).open()))
    assert [line["sample"] for line in lines] == ["a/b", "s1"]
    assert [float(line["time"]) for line in lines] == [0.5, 0.5]
    assert lines[1]["picture"] == "s1/t0.5000.png" and lines[0]["picture"].startswith("a_b-")
    for line in lines:
        assert Image.open(tmp_path / line["start"]).size == (int(line["width"]), int(line["height"])) == (50, 40)


def test_pictures_of_the_data_sets_own_size_are_brought_to_the_protocols(tmp_path, triplets):
    for sample in triplets:
        place = tmp_path / "drawn" / sample.name / "t0.5000.png"
        place.parent.mkdir(parents=True)
        place.write_bytes(sample.truth[0].read_bytes())
    drawn = Drawn("truth", tmp_path / "drawn", triplets, PADDED)
    found = evaluate([drawn], triplets, PADDED, tmp_path / "out", floors=False, cost=False)
    assert found["entries"][0]["results"]["padded"]["psnr"]["all"]["mean"] == 100.0


def test_what_is_missing_of_another_size_or_changed_is_named(tmp_path, triplets):
    folder = fade(triplets, PADDED, tmp_path)
    first, second = folder / "s1/t0.5000.png", folder / "s2/t0.5000.png"
    kept = first.read_bytes()
    first.unlink()
    Image.fromarray(np.zeros((7, 9, 3), np.uint8)).save(second)

    def again():
        drawn = Drawn("fade", folder, triplets, PADDED)
        return evaluate([drawn], triplets, PADDED, tmp_path / "out", floors=False, cost=False)

    with pytest.raises(NakawariError, match=r"failed on sample s1: .*t0.5000.png is missing") as caught:
        again()
    assert "2 failures" in str(caught.value)
    first.write_bytes(kept)
    second.write_bytes(kept)
    assert again()["entries"][0]["status"] == "ok"
    first.write_bytes(second.read_bytes()[:-1] + b"x")
    with pytest.raises(UsageError, match=r"frames of s1 changed"):
        again()


def test_departures_that_show_other_scenes_are_not_asked_of_it(tmp_path, triplets):
    rows = (
        Row(name="pooled", note="n", change={"pool": 2}),
        Row(name="small", note="n", change={"width": 32, "height": 32}),
    )
    protocol = PADDED.model_copy(update={"rows": rows})
    drawn = Drawn("fade", fade(triplets, protocol, tmp_path), triplets, protocol)
    found = evaluate([drawn], triplets, protocol, tmp_path / "out", floors=False, cost=False)
    assert list(found["entries"][0]["results"]) == ["padded", "pooled"]


def test_words_that_are_no_frames():
    assert parse_frames(["a=b", "c=d/e"]).keys() == {"a", "c"}
    for words in (["a"], ["=b"], ["a="], ["a=b", "a=c"]):
        with pytest.raises(UsageError, match="NAME=DIR"):
            parse_frames(words)
