"""Every command that the documentation shows is run as it stands there.

A ```bash block that must not run has `<!-- no-test: reason -->` on the line before it.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import nakawari

ROOT = Path(__file__).parents[1]
EXAMPLES = Path(nakawari.__file__).parent / "assets" / "examples"
MINI = Path(nakawari.__file__).parent / "assets" / "mini"
BLOCK = re.compile(r"(<!-- *no-test: *\S.*?-->\s*\n)?^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[list[str]]]:
    """Per block that may run, its `nakawari` commands as words, lines that end in a backslash joined."""
    blocks = []
    for excuse, body in BLOCK.findall(text):
        lines = body.replace("\\\n", " ").splitlines()
        words = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("nakawari ")]
        if words and not excuse:
            blocks.append(words)
    return blocks


PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.is_file()]
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(commands(page.read_text(encoding="utf-8")), 1)
]


def test_blocks_are_found_and_excuses_are_kept():
    text = (
        "```bash\nnakawari a b \\\n  --c 'd e'  # why\nls\nnakawari f\n```\n"
        "<!-- no-test: needs a checkpoint -->\n```bash\nnakawari g\n```\n```\nnakawari h\n```\n"
    )
    assert commands(text) == [[["a", "b", "--c", "d e"], ["f"]]]


@pytest.mark.skipif(not (EXAMPLES.is_dir() and MINI.is_dir()), reason="the shipped drawings or mini are not there")
@pytest.mark.parametrize("block", BLOCKS)
def test_block(
    cli: Callable[..., Result],
    block: list[list[str]],
    framer_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    (tmp_path / "framer").symlink_to(framer_model)  # where a page says so, `framer` is a Framer's folder
    monkeypatch.chdir(tmp_path)
    for words in block:
        result = cli(*words)
        assert result.exit_code == 0, f"nakawari {shlex.join(words)}\n{result.output}"
