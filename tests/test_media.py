"""Reading and writing of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nakawari.errors import NakawariError
from nakawari.media import (
    contact_sheet,
    flatten,
    read_frames,
    read_image,
    to_tensor,
    to_uint8,
    write_gif,
    write_sequence,
    write_video,
)


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 15, 3), dtype=np.uint8)


def smooth(count: int, height: int, width: int) -> list[np.ndarray]:
    """Frames with saturated, slowly changing colour."""
    y, x = np.mgrid[:height, :width]
    return [
        np.stack([255 * x // width, 255 * y // height, np.full_like(x, 20 * number)], -1).astype(np.uint8)
        for number in range(count)
    ]


def test_every_uint8_value_survives_the_tensor():
    frames = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    tensor = to_tensor(frames)
    assert tensor.shape == (1, 3, 16, 16)
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(to_uint8(tensor), frames)


def test_tensor_values_are_clamped_and_rounded():
    assert to_uint8(torch.full((3, 1, 1), 1.7)).max() == 255
    assert to_uint8(torch.full((3, 1, 1), -1.7)).min() == 0
    assert to_uint8(torch.full((3, 1, 1), 0.0)).tolist() == [[[128, 128, 128]]]


def test_rgb_and_rgba_png_come_back_exact(tmp_path: Path, rgb: np.ndarray):
    rgba = np.concatenate([rgb, rgb[..., :1]], axis=2)
    paths = write_sequence(tmp_path / "a", [rgb, rgba])
    assert [path.name for path in paths] == ["0001.png", "0002.png"]
    assert np.array_equal(read_image(paths[0]), rgb)
    assert np.array_equal(read_image(paths[1]), rgba)


def test_palette_grey_cmyk_and_sixteen_bit_are_converted(tmp_path: Path, rgb: np.ndarray):
    image = Image.fromarray(rgb)
    image.convert("P").save(tmp_path / "palette.png")
    image.convert("L").save(tmp_path / "grey.png")
    image.convert("CMYK").save(tmp_path / "cmyk.tif")
    deep = (np.arange(135).reshape(9, 15) % 256 * 257).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "palette.png"), np.array(image.convert("P").convert("RGB")))
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.array(image.convert("L").convert("RGB")))
    assert np.array_equal(read_image(tmp_path / "cmyk.tif"), rgb)
    assert np.array_equal(read_image(tmp_path / "deep.png"), np.repeat((deep // 257).astype(np.uint8)[..., None], 3, 2))


def test_alpha_is_kept_where_the_file_has_it(tmp_path: Path, rgb: np.ndarray):
    Image.fromarray(rgb).convert("P").save(tmp_path / "keyed.png", transparency=0)
    Image.fromarray(rgb[..., :2], "LA").save(tmp_path / "grey.png")
    assert read_image(tmp_path / "keyed.png").shape == (9, 15, 4)
    assert np.array_equal(read_image(tmp_path / "grey.png")[..., 3], rgb[..., 1])


def test_exif_orientation_is_applied(tmp_path: Path, rgb: np.ndarray):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "turned.png"), np.rot90(rgb, -1))


def test_folder_is_read_in_natural_order_without_hidden_files(tmp_path: Path):
    for name in ("frame10.png", "frame2.png", "frame1.png"):
        level = int(name[5:-4])
        Image.new("RGB", (4, 4), (level,) * 3).save(tmp_path / name)
    Image.new("RGB", (4, 4)).save(tmp_path / ".hidden.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "contact-sheet.png")
    for name in ("notes.txt", "sound.opus", "sheet.pdf", "desktop.ico", "walk.xdts"):
        (tmp_path / name).write_text("not a frame")
    assert [frame[0, 0, 0] for frame in read_frames(tmp_path)] == [1, 2, 10]


def test_video_comes_back_near_with_odd_edges_doubled(tmp_path: Path):
    frames = smooth(5, 33, 47)
    write_video(tmp_path / "a.mp4", frames, 24)
    back = read_frames(tmp_path / "a.mp4")
    assert len(back) == 5
    assert back[0].shape == (34, 48, 3)
    for made, frame in zip(back, frames, strict=True):
        # A wrong colour matrix shows as tens of levels.
        assert np.abs(made[:33, :47].astype(int) - frame).mean() < 4


def test_video_bytes_are_the_same_twice_and_rgba_stands_on_white(tmp_path: Path):
    clear = [np.zeros((16, 16, 4), np.uint8)] * 2
    write_video(tmp_path / "a.mp4", clear, 12)
    write_video(tmp_path / "b.mp4", clear, 12)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert read_frames(tmp_path / "a.mp4")[0].min() > 250
    assert np.array_equal(flatten(clear[0]), np.full((16, 16, 3), 255, np.uint8))


def test_gif_keeps_flat_colour_time_and_transparency(tmp_path: Path):
    frames = []
    for number in range(12):
        frame = np.zeros((20, 30, 4), np.uint8)
        frame[:, : 5 + number] = (200, 30, 40, 255)
        frames.append(frame)
    write_gif(tmp_path / "a.gif", frames, 24)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0
        total = 0
        for index in range(image.n_frames):
            image.seek(index)
            total += image.info["duration"]
        assert image.n_frames == 12
        assert total == 500
    back = read_frames(tmp_path / "a.gif")
    assert np.array_equal(back[11][..., 3], frames[11][..., 3])
    assert np.abs(back[11][:, :5, :3].astype(int) - (200, 30, 40)).max() <= 4


def test_contact_sheet_is_bounded_and_marks_keys():
    frames = smooth(4, 90, 160)
    sheet = contact_sheet(
        [frames, frames[:2]], ["one", "two"], [["1"] * 4, ["1"] * 2], [[True] + [False] * 3] * 2, width=400
    )
    assert sheet.shape[1] <= 400
    assert sheet.shape[2] == 3
    marked = (sheet == (214, 73, 51)).all(axis=-1)
    assert marked[:, :110].any()
    assert not marked[:, 110:].any()


def test_contact_sheet_never_scales_up():
    assert contact_sheet([smooth(2, 10, 12)]).shape[1] < 100


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.png", b"", "zero bytes"),
        ("noise.png", b"not a picture at all", "not an image"),
        ("empty.mp4", b"", "zero bytes"),
        ("noise.mp4", b"not a video at all" * 50, "not a video"),
    ],
)
def test_broken_files_are_named_in_one_sentence(tmp_path: Path, name: str, content: bytes, words: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NakawariError, match=words) as caught:
        read_frames(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_png(tmp_path: Path, rgb: np.ndarray):
    path = write_sequence(tmp_path, [rgb])[0]
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(NakawariError, match="truncated"):
        read_image(path)


def test_truncated_video(tmp_path: Path):
    path = tmp_path / "a.mp4"
    write_video(path, smooth(8, 32, 32), 12)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(NakawariError, match="damaged"):
        read_frames(path)


def test_video_of_too_few_frames(tmp_path: Path):
    write_video(tmp_path / "a.mp4", smooth(3, 16, 16), 12)
    with pytest.raises(NakawariError, match="has 3 frames, but at least 5 are needed"):
        read_frames(tmp_path / "a.mp4", minimum=5)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rgb: np.ndarray):
    path = write_sequence(tmp_path, [rgb])[0]

    def refuse(*_args: object, **_kwargs: object):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root, who runs many a CI
    with pytest.raises(NakawariError, match="Permission denied"):
        read_image(path)


def test_missing_path_and_empty_folder(tmp_path: Path):
    with pytest.raises(NakawariError, match="does not exist"):
        read_frames(tmp_path / "nowhere.png")
    with pytest.raises(NakawariError, match="holds no images"):
        read_frames(tmp_path)


def test_failed_video_leaves_nothing(tmp_path: Path):
    with pytest.raises(Exception):  # noqa: B017 - whatever the encoder says about a frame of another size
        write_video(tmp_path / "a.mp4", [*smooth(2, 16, 16), np.zeros((16, 16), np.uint8)], 12)
    assert list(tmp_path.iterdir()) == []
