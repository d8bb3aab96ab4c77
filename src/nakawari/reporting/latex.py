"""A table as LaTeX for the text width of an article: intervals beneath the values, columns over several tabulars.

Needs only `\\usepackage{booktabs}`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .tables import Cell, Column, Line, Table

PAGE = 340.0
"""Width of the text of a one-column article in 10 pt, in points."""
HEAD = 92.0
"""Width of the first column, in points; longer names are broken."""
_GAP = 12.0
_DIGIT, _SMALL_DIGIT = 4.7, 3.7
_TEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "\u00a0": "~",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "²": r"\textsuperscript{2}",
    "‰": r"\textperthousand{}",
    "†": r"$^\dagger$",
    "≤": r"$\leq$",
    "▲": r"$\bigtriangleup$",
    "▼": r"$\bigtriangledown$",
    "○": r"$\circ$",
    "[": "{[}",
    "]": "{]}",
}


def latex(table: Table) -> str:
    """A booktabs table environment."""
    parts = [_tabular(table, group) for group in _groups(table)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{_tex(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            ("\n\\par\\medskip\n").join(parts),
            r"\end{table}",
            "",
        ]
    )


def _groups(table: Table) -> list[list[int]]:
    """Groups of columns that fit beside the first one, in order."""
    found: list[list[int]] = [[]]
    room = PAGE - HEAD
    for index in range(len(table.columns)):
        needed = _width(table, index) + _GAP
        if found[-1] and needed > room:
            found.append([])
            room = PAGE - HEAD
        found[-1].append(index)
        room -= needed
    return found


def _width(table: Table, index: int) -> float:
    """Width of a column in points."""
    cells = [line.cells[index] for line in table.lines]
    words = max((len(word) for word in table.columns[index].title.split()), default=0)
    values = [_DIGIT * (len(cell.text) + 2 * bool(cell.mark)) for cell in cells]
    beneath = [_SMALL_DIGIT * max(len(cell.range), len(cell.note)) for cell in cells]
    return max([5.2 * words, 38.0, *values, *beneath])


def _tabular(table: Table, group: Sequence[int]) -> str:
    columns = [table.columns[index] for index in group]
    heads = [_box(_tex(table.head), HEAD, "b"), *(_title(table, index) for index in group)]
    body: list[str] = []
    before = table.lines[0].group if table.lines else ""
    for line in table.lines:
        if line.group != before:
            body.append(r"\midrule")
            before = line.group
        body += _rows(line, [line.cells[index] for index in group])
    layout = "@{}l" + "".join("l" if column.text else "r" for column in columns) + "@{}"
    rows = [rf"\begin{{tabular}}{{{layout}}}", r"\toprule", " & ".join(heads) + r" \\", r"\midrule", *body]
    return "\n".join([*rows, r"\bottomrule", r"\end{tabular}"])


def _title(table: Table, index: int) -> str:
    column = table.columns[index]
    text = " ".join(filter(None, (_tex(column.title), _arrow(column))))
    return _box(text, _width(table, index), "b", r"\raggedright" if column.text else r"\raggedleft")


def _rows(line: Line, cells: Sequence[Cell]) -> list[str]:
    """The values, and beneath them intervals and notes in small print, if any."""
    rows = [" & ".join([_box(_breakable(line.head), HEAD, "t"), *map(_value, cells)]) + r" \\"]
    small = ([cell.range for cell in cells], [cell.note for cell in cells])
    beneath = [[rf"\scriptsize {_tex(text)}" if text else "" for text in texts] for texts in small if any(texts)]
    return rows + [" & ".join(["", *texts]) + r" \\" for texts in beneath]


def _box(text: str, width: float, place: str, how: str = r"\raggedright") -> str:
    return rf"\parbox[{place}]{{{width:.0f}pt}}{{{how} {text}}}"


def _breakable(name: str) -> str:
    """A name that may be broken before separators."""
    return re.sub(r"([+@/:])", r"\\allowbreak \1", _tex(name))


def _arrow(column: Column) -> str:
    return {"higher": r"$\uparrow$", "lower": r"$\downarrow$"}.get(column.better, "")


def _value(cell: Cell) -> str:
    text = rf"\textbf{{{_tex(cell.text)}}}" if cell.best else _tex(cell.text)
    return " ".join(filter(None, (_tex(cell.mark), text)))


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
