import io
import shutil

import numpy as np
import pytest
from PIL import Image

from nakawari.errors import NakawariError
from nakawari.reporting.filmstrips import cases, encode, error_map, pictures_of, ramp, strip_figure, strips
from nakawari.reporting.results import load_evidence


def test_cases_are_best_median_worst_and_disputed(kept):
    evidence = load_evidence([kept])
    values = evidence.by_name["stub"].samples.mean["psnr"]
    order = list(np.argsort(-values))
    found = cases(evidence, 1)
    assert found[:3] == [("best", order[0]), ("median", order[2]), ("worst", order[5])]
    spans = np.ptp([row.samples.mean["psnr"] for row in evidence.models], axis=0)
    disputed = int(np.argmax(spans))
    assert [case for case in found if case[0] == "disputed"] == (
        [] if disputed in (order[0], order[2], order[5]) else [("disputed", disputed)]
    )
    everything = cases(evidence, 10)
    assert sorted(index for _, index in everything) == list(range(6))


def test_a_strip_shows_the_frames_that_were_scored(kept):
    evidence = load_evidence([kept])
    strip = strips(evidence, 1)[0]
    frames = kept / "frames"

    def picture(path):
        return np.asarray(Image.open(frames / path))

    np.testing.assert_array_equal(strip.truth, picture(f"reference/{strip.sample}/t0.5000.png"))
    np.testing.assert_array_equal(strip.keys[1], picture(f"reference/{strip.sample}/end.png"))
    assert [frame.label for frame in strip.frames] == [
        *("stub", "stub+show/best@0.5", "stub+show/best@1"),
        *("DIS flow, both ways", "stub: guide alone"),
    ]
    first = strip.frames[0]
    np.testing.assert_array_equal(first.picture, picture(f"stub/seed-0/{strip.sample}/t0.5000.png"))
    csv = (kept / "stub/seed-0.csv").read_text().splitlines()
    score = next(line for line in csv if line.startswith(strip.sample)).split(",")[2]
    assert first.score == f"{float(score):.2f}"


def test_without_frames_there_are_no_strips(result):
    shutil.rmtree(result / "frames")
    assert strips(load_evidence([result]), 2) == []


def test_a_row_without_frames_is_left_out(result):
    shutil.rmtree(result / "frames/stub")
    shown = strips(load_evidence([result]), 1)
    assert all("stub" not in [frame.label for frame in strip.frames] for strip in shown) and shown


def test_a_broken_picture_is_named(result):
    for file in (result / "frames/stub").rglob("*.png"):
        file.write_bytes(b"\x89PNG\r\n")
    with pytest.raises(NakawariError, match=r"t0\.5000\.png is not a readable picture"):
        strips(load_evidence([result]), 1)


def test_frames_of_another_size_are_refused(result):
    for file in (result / "frames/stub").rglob("*.png"):
        Image.new("RGB", (8, 8)).save(file)
    with pytest.raises(NakawariError, match="differ in size"):
        strips(load_evidence([result]), 1)


def test_error_map_is_white_for_none_and_darker_for_more():
    lightness = ramp().astype(int).sum(-1)
    assert (np.diff(lightness) <= 0).all() and lightness[0] == 765 and lightness[-1] < 100
    truth = np.zeros((1, 3, 3), np.uint8)
    made = truth.copy()
    made[0, 1] = (96, 0, 0)  # 32 levels on average: half of the scale
    made[0, 2] = 255
    found = error_map(made, truth)
    np.testing.assert_array_equal(found[0], ramp()[[0, 128, 255]])


def test_pictures_keep_to_the_budget(kept):
    shown = strips(load_evidence([kept]), 2)
    noise = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    noisy = [type(strip)(**{**vars(strip), "truth": noise.copy()}) for strip in shown]
    widest = encode(noisy)
    assert set(widest) == {id(picture) for strip in noisy for picture in pictures_of(strip)}
    assert Image.open(io.BytesIO(widest[id(noisy[0].truth)])).width == 448
    total = sum(map(len, widest.values()))
    smaller = encode(noisy, total // 2)
    assert sum(map(len, smaller.values())) <= total // 2
    assert Image.open(io.BytesIO(smaller[id(noisy[0].truth)])).width < 448


def test_a_strip_for_papers(kept):
    plot = strip_figure(strips(load_evidence([kept]), 1)[0], "PSNR (dB)")
    assert plot.name == "strip-best" and set(plot.files) == {"png", "pdf"}
