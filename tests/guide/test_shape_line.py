"""The line around a part as distances."""

from __future__ import annotations

import cv2
import numpy as np

from nakawari.guide.parts.shapes import shape_of


def test_strokes_inside_a_part_do_not_make_its_line_wider() -> None:
    fine = 4
    area = np.zeros((100 * fine, 100 * fine), bool)
    area[20 * fine : 80 * fine, 20 * fine : 80 * fine] = True
    line = cv2.dilate(area.astype(np.uint8), np.ones((2 * fine + 1,) * 2, np.uint8)).astype(bool) & ~area
    for top in range(26, 78, 4):
        area[top * fine : (top + 1) * fine, 24 * fine : 76 * fine] = False
        line[top * fine : (top + 1) * fine, 24 * fine : 76 * fine] = True
    shape = shape_of(area, line, np.zeros_like(area), line.astype(np.int16), fine)
    assert shape is not None
    assert abs(shape.line - 1) < 0.3
