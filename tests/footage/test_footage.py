"""Footage: held drawings and cuts are found, timing and audio are kept, an interrupted film is resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import Result

from crossfade import CrossFade
from nakawari.data.synthetic import SyntheticScene
from nakawari.footage.changes import Standing, drawings_of
from nakawari.footage.slots import LONGEST_STEP, Spread, slots_of
from nakawari.footage.source import Source, Timed
from tiny_models import towered_model

Cli = Callable[..., Result]
RATE = Fraction(24)
TONE = 44100


def scenes(
    exposures: list[int], count: int = 5, size: tuple[int, int] = (96, 160)
) -> tuple[list[np.ndarray], list[int], list[int]]:
    """Frames of scenes of eight drawings each with cycling exposures; starts of drawings and cuts."""
    frames, begins, cuts = [], [], []
    for scene in range(count):
        drawings = SyntheticScene(40 + scene, size, 0.12).render(np.linspace(0, 1, 8))
        cuts += [len(frames)] * (scene > 0)
        for number, drawing in enumerate(drawings):
            begins.append(len(frames))
            frames += [drawing] * exposures[(scene + number) % len(exposures)]
    return frames, begins, cuts


def film(path: Path, frames: list[np.ndarray], crf: int = 18, rate: int = 24, sound: bool = False) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf)}
        track = container.add_stream("aac", rate=TONE) if sound else None
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
        if track:
            length = TONE * len(frames) // rate
            clicks = (np.arange(length) % (TONE // 4) < 400).astype(np.float32) * 0.5
            for start in range(0, length, 1024):
                part = av.AudioFrame.from_ndarray(clicks[None, start : start + 1024], format="fltp", layout="mono")
                part.sample_rate, part.pts = TONE, start
                container.mux(track.encode(part))
            container.mux(track.encode())
    return path


def timed(frames: list[np.ndarray]) -> Iterator[Timed]:
    return (Timed(frame, number / RATE) for number, frame in enumerate(frames))


@pytest.mark.parametrize("crf", [18, 28])
@pytest.mark.parametrize("exposures", [[1], [2], [3], [1, 2, 2, 3, 4]], ids=["ones", "twos", "threes", "mixed"])
def test_held_drawings_and_cuts_are_found_through_compression(tmp_path: Path, exposures: list[int], crf: int):
    frames, begins, cuts = scenes(exposures, 3, (192, 320))
    place, found, found_cuts = 0, [], []
    for drawing in drawings_of(Source.of(film(tmp_path / "f.mp4", frames, crf), None).frames()):
        found.append(place)
        found_cuts += [place] * drawing.cut
        place += len(drawing.times)
    assert place == len(frames)
    right = len(set(found) & set(begins))
    assert right >= 0.99 * len(begins)
    assert right >= 0.99 * len(found)
    assert found_cuts == cuts


def test_a_sky_that_darkens_and_a_flash_of_one_part_are_no_cuts():
    sky = [np.full((90, 160, 3), (70, 180 - 2 * step, 200 - 2 * step), np.uint8) for step in range(24)]
    for number, frame in enumerate(sky):
        frame[30:60, number * 4 : number * 4 + 30] = (250, 120, 20)
        frame[20:40, 120:150] = (220, 60, 60) if number == 9 else (250, 220, 40)
    drawings = list(drawings_of(timed(sky)))
    assert len(drawings) == 24
    assert not any(drawing.cut for drawing in drawings)


def test_frames_wait_for_few_others_only():
    """Memory is bounded for an hour of video: at most a window of frames is read ahead."""
    taken = 0

    def endless() -> Iterator[Timed]:
        nonlocal taken
        random = np.random.default_rng(0)
        while True:
            taken += 1
            yield Timed(random.integers(0, 255, (20, 30, 3), dtype=np.uint8), taken / RATE)

    drawings = drawings_of(endless())
    for number in range(1, 200):
        next(drawings)
        assert taken <= number + 30


@st.composite
def standing(draw: st.DrawFn) -> list[Standing]:
    time, drawings = Fraction(0), []
    for _ in range(draw(st.integers(1, 8))):
        times = []
        for _ in range(draw(st.sampled_from([1, 1, 2, 3, 4, 9]))):
            times.append(time)
            time += draw(st.sampled_from([Fraction(1, 24), Fraction(1, 24), Fraction(1, 12)]))
        drawings.append(Standing(np.zeros((2, 2, 3), np.uint8), times, draw(st.integers(0, 4)) == 0))
    return drawings


@given(standing(), st.integers(0, 4), st.booleans())
def test_time_is_kept_and_nothing_crosses_a_cut(drawings: list[Standing], between: int, keep: bool):
    slots = list(slots_of(drawings, Spread(between, keep), RATE))
    frames = [frame for slot in slots for frame in slot.frames]
    came = [time for drawing in drawings for time in drawing.times]
    assert len(frames) == len(came) * (between + 1)
    assert [time for time, _ in frames[:: between + 1]] == came
    assert all(low < high for (low, _), (high, _) in pairwise(frames))
    for slot, following in zip(slots, [*drawings[1:], None], strict=True):
        numbers = [number for _, number in slot.frames]
        assert numbers == sorted(numbers)
        assert set(numbers) == set(range(len(slot.shares) + 1))
        if following is None or following.cut:
            assert not slot.shares
        elif keep and len(slot.start.times) <= LONGEST_STEP:
            assert [numbers.count(one) for one in range(between + 1)] == [len(slot.start.times)] * (between + 1)


def test_a_long_hold_stays_a_hold():
    drawings = [
        Standing(np.zeros((2, 2, 3), np.uint8), [n / RATE for n in range(start, end)])
        for start, end in ((0, 40), (40, 42))
    ]
    (first, _) = slots_of(drawings, Spread(0, False), RATE)
    assert [number for _, number in first.frames] == [0] * 39 + [1]
    (first, _) = slots_of(drawings, Spread(1, True), RATE)
    assert [number for _, number in first.frames] == [0] * 78 + [1] * 2


def codec_of(path: Path) -> tuple[str, str]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.name, context.pix_fmt


def watched(path: Path) -> tuple[list[Fraction], np.ndarray]:
    """The times of the frames, and the audio."""
    with av.open(str(path)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = [frame.to_ndarray()[0] for frame in container.decode(audio=0)] if container.streams.audio else []
    return times, np.concatenate(sound) if sound else np.zeros(0)


def test_a_film_keeps_its_sound_and_its_time(cli: Cli, stub: CrossFade, tmp_path: Path):
    frames, begins, cuts = scenes([2], 2)
    clip, out = film(tmp_path / "clip.mp4", frames, sound=True), tmp_path / "out.mp4"
    result = cli("interpolate", "--no-parts", clip, "--between", 1, "-o", out, "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["frames_in"], summary["frames_out"], summary["cuts"]) == (len(frames), 2 * len(frames), len(cuts))
    assert summary["drawn"] == len(begins) - 1 - len(cuts) == len(stub.calls)
    (times, sound), (old_times, old_sound) = watched(out), watched(clip)
    assert times[::2] == old_times
    assert np.array_equal(sound, old_sound)
    for name in ("ones.mp4", "ones.mov"):
        assert cli("interpolate", "--no-parts", clip, "--exposure", "ones", "-o", tmp_path / name).exit_code == 0
        assert watched(tmp_path / name)[0] == old_times
        assert np.array_equal(watched(tmp_path / name)[1], old_sound)
    assert codec_of(tmp_path / "ones.mov") == ("prores", "yuv444p10le")
    assert codec_of(out)[0] == "h264"


def test_a_folder_of_frames_is_footage_where_that_is_said(cli: Cli, stub: CrossFade, tmp_path: Path):
    frames, begins, _ = scenes([2], 1)
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{number:04d}.png")
    words = ("interpolate", "--no-parts", tmp_path / "frames", "--footage", "--fps", 12, "-o", tmp_path / "out.mp4")
    assert cli(*words, "--between", 2).exit_code == 0
    times, _ = watched(tmp_path / "out.mp4")
    assert times == [pytest.approx(number / 36, abs=2e-5) for number in range(3 * len(frames))]
    assert len(stub.calls) == len(begins) - 1


def test_a_seed_without_effect_is_told(cli: Cli, stub: CrossFade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(CrossFade, "reads_noise", lambda self, steps=None: False)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((16, 24, 3), 80 * number, np.uint8)).save(folder / f"{number}.png")
    told = cli("interpolate", folder, "--footage", "-o", tmp_path / "film.mp4", "--seed", 5, "--no-parts")
    assert told.exit_code == 0, told.stderr
    assert told.stderr.count("so --seed 5 has no effect") == 1


def test_a_film_that_was_cut_off_goes_on(cli: Cli, stub: CrossFade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nakawari.footage.work.PART", 3)
    clip = film(tmp_path / "clip.mp4", scenes([2], 2)[0], sound=True)
    assert cli("interpolate", "--no-parts", clip, "-o", tmp_path / "whole.mp4").exit_code == 0
    calls, draw = len(stub.calls), CrossFade.__call__
    stub.calls.clear()

    def stopping(self, *args, **options):
        if len(self.calls) == 8:
            raise KeyboardInterrupt
        return draw(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(CrossFade, "__call__", stopping)
        result = cli("interpolate", "--no-parts", clip, "-o", tmp_path / "cut.mp4")
    assert result.exit_code == 130
    assert "run the same command to resume" in result.stderr
    assert not (tmp_path / "cut.mp4").exists()
    stub.calls.clear()
    assert cli("interpolate", "--no-parts", clip, "-o", tmp_path / "cut.mp4").exit_code == 0
    assert len(stub.calls) <= calls - 5
    assert (tmp_path / "cut.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--loop",), "--loop does not apply to"),
        (("--spacing", "ease"), "--spacing does not apply to"),
        (("--hold", "3"), "--hold does not apply to"),
        (("--exposure", "2"), "a number as --exposure does not apply to"),
        (("--only", "3"), "--only does not apply to"),
        (("--eta", "0"), "--eta does not apply to"),
        (("--stride", "10"), "--stride does not apply to"),
        (("--between", "1,2"), "is not a single count"),
        (("--between", "99"), "give 0 to 15"),
        (("--exposure", "threes"), "The exposure 'threes' is not a number of frames"),
    ],
)
def test_words_that_say_nothing_to_footage(cli: Cli, stub: CrossFade, tmp_path: Path, words: tuple, sentence: str):
    clip = film(tmp_path / "clip.mp4", scenes([2], 1)[0])
    result = cli("interpolate", "--no-parts", clip, "-o", tmp_path / "out.mp4", *words)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "frames"), [((), 3), (("--between", "2"), 4), (("--exposure", "ones"), 5)], ids=["keep", "two", "ones"]
)
def test_footage_is_planned_as_its_longest_way_is(cli: Cli, tmp_path: Path, words: tuple[str, ...], frames: int):
    towered_model(8).save_pretrained(tmp_path / "model")
    clip = film(tmp_path / "clip.mp4", scenes([2], 1)[0])
    words = ("interpolate", "--no-parts", clip, "-o", tmp_path / "out.mp4", "--model", tmp_path / "model", *words)
    result = cli(*words, "--memory", "1MB")
    height, width = Source.of(clip, None).size()
    assert result.exit_code == 1 and not (tmp_path / "out.mp4").exists()
    assert f"{frames} frames of {width}x{height} do not fit into 1 MB with" in result.stderr


def test_footage_is_drawn_in_the_way_that_fits(cli: Cli, tmp_path: Path):
    towered_model(8).save_pretrained(tmp_path / "model")
    clip = film(tmp_path / "clip.mp4", scenes([2], 1)[0][:4])
    words = ("--model", tmp_path / "model", "--exposure", "keep", "--steps", 1, "--memory", "8GB", "--size", "48x32")
    result = cli("interpolate", "--no-parts", clip, "-o", tmp_path / "out.mp4", *words)
    assert result.exit_code == 0 and "nakawari: chosen: model" in result.stderr, result.output
    assert "1 in-betweens drawn now" in result.stdout


def test_targets_and_broken_footage(cli: Cli, stub: CrossFade, tmp_path: Path):
    clip = film(tmp_path / "clip.mp4", scenes([2], 1)[0])
    for output, sentence in (("out", "give an .mp4 or a .mov as output"), ("clip.mp4", "is the footage itself")):
        result = cli("interpolate", "--no-parts", clip, "-o", tmp_path / output)
        assert (result.exit_code, sentence in result.stderr) == (2, True), result.stderr
    (tmp_path / "there.mp4").write_bytes(b"x")
    assert "exists already" in cli("interpolate", "--no-parts", clip, "-o", tmp_path / "there.mp4").stderr
    (tmp_path / "broken.mp4").write_bytes(clip.read_bytes()[:900])
    result = cli("interpolate", "--no-parts", tmp_path / "broken.mp4", "-o", tmp_path / "out.mp4")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert not stub.calls
