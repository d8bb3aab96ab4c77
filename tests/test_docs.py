"""Every command that the documentation shows is run as it stands there, page by page, in an empty folder.

A ```bash block that must not run has `<!-- no-test: reason -->` on the line before it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from typer.testing import Result

from nakawari.cli import demo, examples
from nakawari.families.adapter_files import WEIGHTS
from test_adapter_layouts import LAYOUTS, ours

ROOT = Path(__file__).parents[1]
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
RUN = [
    pytest.param([words for block in blocks for words in block], id=page.stem)
    for page in PAGES
    if (blocks := commands(page.read_text(encoding="utf-8")))
]


def test_blocks_are_found_and_excuses_are_kept():
    text = (
        "```bash\nnakawari a b \\\n  --c 'd e'  # why\nls\nnakawari f\n```\n"
        "<!-- no-test: needs a checkpoint -->\n```bash\nnakawari g\n```\n```\nnakawari h\n```\n"
    )
    assert commands(text) == [[["a", "b", "--c", "d e"], ["f"]]]


@pytest.fixture(scope="module")
def small_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `nakawari examples` writes, its drawings at half the width and height."""
    folder = tmp_path_factory.mktemp("examples")
    for path in examples.EXAMPLES.iterdir():
        if path.suffix == ".png":
            with Image.open(path) as drawing:
                drawing.reduce(2).save(folder / path.name)
        else:
            shutil.copy(path, folder)
    return folder


@pytest.mark.parametrize("page", RUN)
def test_page_in_an_empty_folder(
    cli: Callable[..., Result],
    page: list[list[str]],
    small_examples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """On drawings a quarter as large as the shipped ones, which `test_page_from_a_wheel` takes."""
    for command in (examples, demo):
        monkeypatch.setattr(command, "EXAMPLES", small_examples)
    monkeypatch.chdir(tmp_path)
    for words in page:
        result = cli(*words)
        assert result.exit_code == 0, f"nakawari {shlex.join(words)}\n{result.output}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a wheel of this project, and nothing else, was installed."""
    built, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(built), str(ROOT)], check=True)
    (file,) = built.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(file)], check=True)
    return site


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_page_from_a_wheel(wheel: Path, page: list[list[str]], tmp_path: Path):
    """As a user has it: the installed package in its own process, in an empty folder, no clone in reach."""
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    where = [sys.executable, "-c", "import nakawari; print(nakawari.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(wheel)
    for words in page:
        by_wheel(wheel, tmp_path, words)


@pytest.mark.slow
def test_a_recipe_of_a_wheel_runs(wheel: Path, show: Path, tmp_path: Path):
    """In an empty folder: copied, checked, run, its log read back from TensorBoard's file, its adapter drawn with; and
    adapters of every layout that other trainers write draw what ours draw."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    data = ["--set", "data.sources.0.path=show", "--set", "data.cache=cache"]
    short = ["--set", "optim.steps=2", "--set", "optim.batch_size=2", "--log-with", "tensorboard"]
    keys = [f"show/clip/frame{number:02d}.png" for number in (0, 11)]
    for words in (
        ["recipes", "copy", "adapt/framer-tiny", "-o", "mine.yaml"],
        ["recipes", "check", "mine.yaml", *data],
        ["adapt", "mine.yaml", *data, *short, "-o", "run"],
        ["interpolate", *keys, "--model", "framer-tiny", "--adapter", "run", "--steps", "2", "-o", "drawn"],
    ):
        by_wheel(wheel, tmp_path, words)
    (file,) = (tmp_path / "run" / "logs").rglob("events.out.tfevents*")
    assert [event.step for event in events.EventAccumulator(str(file)).Reload().Scalars("loss")] == [1, 2]
    for layout, (none, mine, theirs) in drawn_with_adapters(wheel, tmp_path).items():
        assert np.array_equal(theirs, mine) and not np.array_equal(mine, none), layout


def by_wheel(wheel: Path, folder: Path, words: list[str]) -> None:
    """One command of the package that was installed into `wheel`, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    command = [sys.executable, "-m", "nakawari", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"nakawari {shlex.join(words)}\n{done.stdout}{done.stderr}"


DRAW = """
import sys, numpy, torch
from nakawari.variants import load
for line in sys.stdin.read().splitlines():
    variant, picture = line.split("|")
    pipeline = load(variant).pipeline
    keys = torch.linspace(-1, 1, 2 * 3 * 32 * 48).reshape(2, 1, 3, 32, 48)
    noise = torch.Generator().manual_seed(0)
    drawn = pipeline(*keys, num_frames=3, num_inference_steps=2, generator=noise, output_type="np")
    numpy.save(picture, drawn.frames)
"""


def drawn_with_adapters(wheel: Path, folder: Path) -> dict[str, list[np.ndarray]]:
    """By layout what a model draws in the wheel's process: without an adapter, with one of ours, with it as theirs."""
    lines, files = [], {}
    for layout, (write, make) in LAYOUTS.items():
        place = folder / layout.replace(" ", "-")
        make().save_pretrained(place / "base")
        (place / "written").mkdir()
        mine = ours(make(), place / "ours")
        theirs = write(load_file(mine / WEIGHTS), place / "written")
        files[layout] = [place / f"{name}.npy" for name in ("none", "ours", "theirs")]
        variants = (f"{place}/base{more}" for more in ("", f"+{mine}", f"+{theirs}"))
        lines += [f"{variant}|{file}" for variant, file in zip(variants, files[layout], strict=True)]
    command = [sys.executable, "-c", DRAW]
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    subprocess.run(command, input="\n".join(lines), cwd=folder, env=environment, text=True, check=True)
    return {layout: [np.load(file) for file in own] for layout, own in files.items()}


def anchors(page: Path) -> set[str]:
    """What a heading is linked by: its letters in lower case, spaces as hyphens."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_links_lead_somewhere():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8")):
            if "://" in target:
                continue
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in anchors(there), f"{page.name} links to {target}#{anchor}"


def test_every_extra_that_is_named_can_be_installed():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = [*PAGES, *(path for room in ("src", "hosts", "benchmarks") for path in (ROOT / room).rglob("*.py"))]
    named = {name: path for path in told for name in re.findall(r"nakawari\[(\w+)\]", path.read_text(encoding="utf-8"))}
    assert named
    assert {name: path for name, path in named.items() if name not in extras} == {}
