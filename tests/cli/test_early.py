"""Wrong arguments are reported before heavy imports, and output paths are checked before drawing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from crossfade import CrossFade

WRONG = {
    "key": (1, "interpolate key1.png nowhere.png -o out", "nowhere.png does not exist"),
    "size of a key": (1, "interpolate key1.png wide.png -o out", "wide.png is 24x14"),
    "count": (2, "interpolate key1.png key2.png --between seven -o out", "not whole numbers"),
    "count of counts": (2, "interpolate key1.png key2.png --between 3,5 -o out", "1 gap, but 2 counts"),
    "model": (1, "interpolate key1.png key2.png --model nowhere -o out", "'nowhere' is not a model"),
    "target": (1, "interpolate key1.png key2.png -o file/out", "is not a folder"),
    "format": (2, "interpolate key1.png key2.png -o out --format avi", "'avi' is not known"),
    "recipe": (2, "train nowhere.yaml", "The recipe nowhere.yaml cannot be read"),
    "key of a recipe": (2, "train adapt/show --set objective.lora.rnk=3", "unknown key 'objective.lora.rnk'"),
    "key of a recipe to check": (2, "recipes check adapt/show --set optim.speed=1", "unknown key 'optim.speed'"),
    "kind of objective": (2, "train adapt/show --set objective.kind=guess", "'guess', which does not exist"),
    "key of an adaptation": (2, "adapt --data . --set objective.lora.rnk=3", "The adaptation has the unknown key"),
    "key of a distillation": (2, "distill --data . --set optim.speed=1", "The distillation has the unknown key"),
    "data to adapt on": (2, "adapt --data nowhere", "The data folder nowhere does not exist"),
    "model to adapt": (1, "adapt --data . --model nowhere", "'nowhere' is not a model"),
    "data to distill on": (2, "distill --data nowhere", "The data folder nowhere does not exist"),
    "variant": (1, "quantize nowhere --precision int8 -o out", "'nowhere' is not a model"),
    "variant to score": (1, "evaluate nowhere --data .", "'nowhere' is not a model"),
    "data to score on": (2, "evaluate mini --data nowhere", "The data folder nowhere does not exist"),
    "checkpoint": (1, "convert nowhere.ckpt -o out", "nowhere.ckpt does not exist"),
    "scheduler": (2, "interpolate key1.png key2.png -o out --scheduler fast", "There is no scheduler 'fast'"),
    "track": (2, "interpolate key1.png key2.png -o out --model framer-tiny --track bad", "is not a list of points"),
    "precision": (2, "interpolate key1.png key2.png -o out --precision int9", "'int9' is not a precision"),
    "variant to look into": (1, "diagnose latents nowhere key1.png key2.png", "'nowhere' is not a model"),
    "variant to merge": (1, "merge nowhere+a -o out", "'nowhere' is not a model"),
    "results": (2, "report nowhere -o out", "has no aggregates.json"),
    "data to check": (1, "data check nowhere", "is not a folder"),
}
PROGRAM = """
import sys
from nakawari.cli.main import app
try:
    app(sys.argv[1:])
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "diffusers", "transformers"}))
"""


@pytest.mark.parametrize(("status", "words", "sentence"), WRONG.values(), ids=WRONG)
def test_wrong_words_import_no_framework(keys: list[Path], tmp_path: Path, status: int, words: str, sentence: str):
    from PIL import Image

    Image.new("RGB", (24, 14)).save(tmp_path / "wide.png")
    (tmp_path / "file").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (status, ""), done.stderr
    assert sentence in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_target_that_cannot_be_written_is_refused_before_drawing(
    cli: Callable[..., Result], stub: CrossFade, keys: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the model was called")

    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(CrossFade, "__call__", never)
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" and allowed(path, mode))
    result = cli("interpolate", *keys[:2], "-o", tmp_path / "locked" / "a" / "out")
    assert result.exit_code == 1 and "locked cannot be written" in result.stderr
