"""Script that Clip Studio Paint runs on a time sheet: draws the cut's in-betweens with `nakawari cut`.

    nakawari_clip_studio.py .../ExchangeDigitalTimeSheet/animation.xdts [FOLDER OF CELS]

The cels are searched in the given folder, beside the sheet's folder, and beside the sheet. The result is in a
new folder, `nakawari`, beside the sheet's folder. Needs only Python and the command `nakawari`; the variable
NAKAWARI names another command.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

SHEETS = "ExchangeDigitalTimeSheet"
PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".psd", ".bmp"}


def levels_of(sheet: Path) -> set[str]:
    """The names of the levels in a sheet; empty if it cannot be read, which the command then reports."""
    with suppress(OSError, ValueError, KeyError, TypeError, IndexError):
        text = sheet.read_text(encoding="utf-8-sig").partition("\n")[2]
        headers = json.loads(text)["timeTables"][0]["timeTableHeaders"]
        return {str(name).strip() for header in headers if header["fieldId"] == 0 for name in header["names"]}
    return set()


def cels_of(sheet: Path, given: Path | None) -> Path:
    """The folder of the levels' drawings."""
    if given is not None:
        return given
    beside = [sheet.parent.parent, sheet.parent] if sheet.parent.name == SHEETS else [sheet.parent]
    levels = levels_of(sheet)
    for folder in beside:
        there = list(folder.iterdir())
        if any(path.is_dir() and path.name in levels for path in there):
            return folder
        if any(path.suffix.lower() in PICTURES and path.stem.startswith(tuple(levels or " ")) for path in there):
            return folder
    return beside[0]


def output_of(sheet: Path) -> Path:
    """Output folder."""
    folder = sheet.parent.parent if sheet.parent.name == SHEETS else sheet.parent
    return folder / "nakawari"


def command_of(words: str) -> list[str]:
    """The command as a list: a program path, which may contain spaces, or a program and arguments."""
    return [words] if shutil.which(words) else shlex.split(words, posix=os.name == "posix")


def run(sheet: Path, cels: Path | None) -> tuple[int, str]:
    """Draw the cut; returns the command's exit status and its last line."""
    output = output_of(sheet)
    command = command_of(os.environ.get("NAKAWARI", "nakawari"))
    words = [*command, "cut", str(sheet), "--drawings", str(cels_of(sheet, cels)), "-o", str(output)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return 1, f"The command {command[0]} was not found; install nakawari, or set the variable NAKAWARI."
    text = done.stderr if done.returncode else done.stdout
    said = [line for line in text.splitlines() if line.strip()]
    return done.returncode, said[-1].strip() if said else f"nakawari ended with status {done.returncode}."


def show(title: str, sentence: str) -> None:
    """Show a message in a window, if there is a display, and on the terminal."""
    print(sentence, file=sys.stderr if title else sys.stdout)
    if os.environ.get("NAKAWARI_QUIET"):
        return
    with suppress(Exception):  # no Tk, no screen
        from tkinter import Tk, messagebox

        Tk().withdraw()
        (messagebox.showerror if title else messagebox.showinfo)("nakawari", sentence)


def main(words: list[str]) -> int:
    """The exit status."""
    if not 1 <= len(words) <= 2:
        show("error", "Give the time sheet from Clip Studio Paint, and the folder of cels if it is elsewhere.")
        return 2
    status, sentence = run(Path(words[0]), Path(words[1]) if len(words) > 1 else None)
    show("error" if status else "", sentence)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
