"""Key frames of a layer: their times, and their images as files."""

from __future__ import annotations

from PyQt5.QtGui import QImage


def key_times(document, node):
    """The frame numbers of a layer's key frames, ascending."""
    last = max(document.fullClipRangeEndTime(), document.playBackEndTime())
    return [time for time in range(document.fullClipRangeStartTime(), last + 1) if node.hasKeyframeAtTime(time)]


def pictures_of(document, node, times):
    """Time -> image of a layer, at the given times."""
    before, found = document.currentTime(), {}
    for time in times:
        document.setCurrentTime(time)
        document.waitForDone()
        found[time] = picture_of(document, node)
    document.setCurrentTime(before)
    return found


def without_empty_ends(pictures):
    """The images from the first to the last that is not empty: Krita puts an empty key on frame 0 of a layer that
    begins later. Raises ValueError for an empty one between."""
    filled = [time for time, picture in pictures.items() if not is_empty(picture)]
    kept = {time: picture for time, picture in pictures.items() if filled and filled[0] <= time <= filled[-1]}
    hole = next((time for time in kept if time not in filled), None)
    if hole is not None:
        raise ValueError(f"The key frame at {hole} is empty; fill it, or remove it.")
    return kept


def is_empty(picture):
    """Whether an image is fully transparent."""
    return not any(bytes_of(picture)[3::4])


def write_keys(pictures, folder):
    """Write images as `key_0000.png`, named by their frame numbers; returns the paths."""
    folder.mkdir(parents=True)
    paths = [folder / f"key_{time:04d}.png" for time in pictures]
    for path, picture in zip(paths, pictures.values(), strict=True):
        picture.save(str(path))
    return paths


def picture_of(document, node):
    """Image of a layer at the current time, at the size of the document, which is 8-bit RGB."""
    width, height = document.width(), document.height()
    return QImage(bytes(node.pixelData(0, 0, width, height)), width, height, QImage.Format_ARGB32).copy()


def bytes_of(picture):
    """The pixels of an image in a layer's format, 8-bit RGB with alpha."""
    bits = picture.convertToFormat(QImage.Format_ARGB32).constBits()
    bits.setsize(4 * picture.width() * picture.height())
    return bytes(bits)
