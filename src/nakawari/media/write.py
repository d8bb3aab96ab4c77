"""Writing images, numbered sequences, video and GIF; every file is whole or absent."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from ..files import atomic_path

PALETTE_PIXELS = 1_000_000
"""How many pixels of all frames together are looked at to choose the colours of a GIF."""


def flatten(frame: np.ndarray, background: int = 255) -> np.ndarray:
    """An RGBA frame (H, W, 4) composed over one grey level, as (H, W, 3); an RGB frame comes back as it is."""
    if frame.shape[-1] == 3:
        return frame
    alpha = frame[..., 3:].astype(np.float32) / 255
    return np.rint(frame[..., :3] * alpha + background * (1 - alpha)).astype(np.uint8)


def write_image(path: Path | str, frame: np.ndarray) -> None:
    """Write one frame (H, W, 3 or 4) in the format that the suffix names; PNG keeps every pixel."""
    with atomic_path(path) as temporary:
        Image.fromarray(frame).save(temporary)


def write_sequence(folder: Path | str, frames: Sequence[np.ndarray], digits: int = 4) -> list[Path]:
    """Write frames as `folder/0001.png`, `0002.png`, ...; more digits where the count needs them. Returns the paths."""
    folder = Path(folder)
    digits = max(digits, len(str(len(frames))))
    paths = [folder / f"{number:0{digits}d}.png" for number in range(1, len(frames) + 1)]
    for path, frame in zip(paths, frames, strict=True):
        write_image(path, frame)
    return paths


def write_video(path: Path | str, frames: Sequence[np.ndarray], fps: float) -> None:
    """Write an MP4 (H.264, 4:2:0, BT.709) that plays everywhere.

    Transparent frames are composed over white. H.264 with 4:2:0 colour needs even sizes: an odd edge is doubled, so a
    frame of 15 x 9 becomes 16 x 10.
    """
    import av

    height, width = frames[0].shape[:2]
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        # One thread: the bytes then do not depend on how many cores wrote them.
        stream.codec_context.thread_count = 1
        # mbtree looks ahead in threads, and the bytes would depend on their timing.
        stream.options = {"crf": "12", "preset": "medium", "x264-params": "mbtree=0"}
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        for frame in frames:
            container.mux(stream.encode(_video_frame(frame)))
        container.mux(stream.encode())


def _video_frame(frame: np.ndarray):
    import av

    height, width = frame.shape[:2]
    even = np.pad(flatten(frame), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
    return rgb.reformat(format="yuv420p", dst_colorspace="ITU709")


def write_gif(path: Path | str, frames: Sequence[np.ndarray], fps: float) -> None:
    """Write a GIF that loops for ever.

    All frames share one palette of 255 colours, so that still areas do not flicker; pixels of RGBA frames with
    alpha < 128 are transparent. GIF counts time in hundredths of a second: durations are rounded so that their sum
    stays right, and none is under 2/100 s, which browsers slow down.
    """
    palette = _palette(frames)
    pictures = [_indexed(frame, palette) for frame in frames]
    ends = [round(100 * (number + 1) / fps) for number in range(len(frames))]
    durations = [10 * max(2, end - start) for start, end in zip([0, *ends], ends, strict=False)]
    transparent = {"transparency": 255, "disposal": 2} if any(frame.shape[-1] == 4 for frame in frames) else {}
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
            optimize=False,
            **transparent,
        )


def _palette(frames: Sequence[np.ndarray]) -> Image.Image:
    """A palette image with at most 255 colours, chosen over a regular sample of all frames."""
    height, width = frames[0].shape[:2]
    stride = max(1, int(np.ceil((len(frames) * height * width / PALETTE_PIXELS) ** 0.5)))
    sample = np.concatenate([flatten(frame)[::stride, ::stride] for frame in frames])
    return Image.fromarray(sample).quantize(255, method=Image.Quantize.MEDIANCUT, kmeans=1)


def _indexed(frame: np.ndarray, palette: Image.Image) -> Image.Image:
    # No dithering: its pattern crawls from frame to frame over flat cel colour.
    picture = Image.fromarray(flatten(frame)).quantize(palette=palette, dither=Image.Dither.NONE)
    if frame.shape[-1] == 4:
        indices = np.array(picture)
        indices[frame[..., 3] < 128] = 255
        colours = picture.getpalette()
        picture = Image.fromarray(indices)
        picture.putpalette(colours + [0] * (768 - len(colours)))
    return picture
