"""Contact sheets: many frames in one image, for inspection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARGIN = 8
BORDER = 3
TEXT = 15
LINE = 22
INK = (32, 32, 32)
PAPER = (250, 250, 250)
KEY_COLOUR = (214, 73, 51)
SMALLEST_CELL = 24

Row = Sequence[np.ndarray]


def contact_sheet(
    rows: Sequence[Row],
    labels: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    keys: Sequence[Sequence[bool]] = (),
    *,
    width: int = 1600,
) -> np.ndarray:
    """Rows of frames as one RGB image (H, W, 3), at most `width` pixels wide; frames are scaled down, never up.

    Args:
        rows: rows of frames (H, W, 3 or 4), of any length and size; transparency shows as a chequerboard.
        labels: one line of text above each row; empty for none.
        captions: per row, the text under each frame; empty for none.
        keys: per row, which frames are key drawings; these get a coloured border and caption.
        width: maximum width of the sheet, in pixels.
    """
    columns = max(len(row) for row in rows)
    room = (width - MARGIN) // columns - MARGIN - 2 * BORDER
    cell_width, cell_height = _cell(rows, max(SMALLEST_CELL, room))
    step = cell_width + 2 * BORDER + MARGIN
    row_height = cell_height + 2 * BORDER + MARGIN + LINE * (bool(labels) + bool(captions))
    sheet = Image.new("RGB", (MARGIN + columns * step, MARGIN + len(rows) * row_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TEXT)
    for index, row in enumerate(rows):
        top = MARGIN + index * row_height
        if labels:
            draw.text((MARGIN, top), _fit(labels[index], font, sheet.width - 2 * MARGIN), INK, font)
            top += LINE
        for column, frame in enumerate(row):
            left = MARGIN + column * step
            colour = KEY_COLOUR if keys and keys[index][column] else None
            _paste(sheet, frame, (left, top), (cell_width, cell_height), colour)
            if captions:
                place = (left + BORDER, top + cell_height + 2 * BORDER + 1)
                draw.text(place, _fit(captions[index][column], font, cell_width), colour or INK, font)
    return np.asarray(sheet)


def _cell(rows: Sequence[Row], room: int) -> tuple[int, int]:
    """Width and height of the largest frame, scaled down to at most `room` pixels of width."""
    height = max(frame.shape[0] for row in rows for frame in row)
    width = max(frame.shape[1] for row in rows for frame in row)
    scale = min(1.0, room / width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _paste(
    sheet: Image.Image, frame: np.ndarray, place: tuple[int, int], cell: tuple[int, int], colour: tuple | None
) -> None:
    scale = min(1.0, cell[0] / frame.shape[1], cell[1] / frame.shape[0])
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    picture = Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)
    left, top = place
    if colour:
        box = (left, top, left + size[0] + 2 * BORDER - 1, top + size[1] + 2 * BORDER - 1)
        ImageDraw.Draw(sheet).rectangle(box, outline=colour, width=BORDER)
    if picture.mode == "RGBA":
        board = Image.fromarray(_chequerboard(size))
        board.paste(picture, mask=picture)
        picture = board
    sheet.paste(picture, (left + BORDER, top + BORDER))


def _chequerboard(size: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: size[1], : size[0]]
    grey = np.where((y // 8 + x // 8) % 2, 205, 235).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _fit(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """`text`, truncated with dots if it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
