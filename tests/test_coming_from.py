"""The pages for those who come from a fork: what they show exists, and the files of the forks are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from test_docs import BLOCK

Cli = Callable[..., Result]
DOCS = Path(__file__).parents[1] / "docs"
PAGES = ["from-framerturbo", "from-tooncrafter-kdq"]
TQDM = """[Configuration]
  Dataset: my/videos
Training:   0%|          | 0/4 [00:00<?, ?it/s, epoch=0, loss=2.84, lr=1e-06]
Training:  50%|#####     | 2/4 [00:02<00:02, 1.00it/s, epoch=0, loss=1.5, lr=2e-06]
Training: 100%|##########| 4/4 [00:04<00:00, 1.00it/s, epoch=1, loss=1.01, lr=4e-06]
"""
METRICS = """epoch,train_latent,train_lpips,train_psnr,train_ssim,val_latent,val_lpips,val_psnr,val_ssim,lr
1,0.9,0.5,10,0.3,0.8,0.4,11,0.31,0.0001
2,0.7,0.5,10,0.3,0.75,0.4,11,0.31,0.00009
3,0.6,0.5,10,0.3,0.7,0.4,11,0.31,0.00008
"""


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_that_a_page_shows_exists(cli: Cli, page: str):
    text = (DOCS / f"{page}.md").read_text()
    lines = [line.partition("#")[0].split() for _, body in BLOCK.findall(text) for line in body.splitlines()]
    commands = [words[1:] for words in lines if words[:1] == ["nakawari"]]
    assert len(commands) > 4
    for words in commands:
        name = words[:2] if words[0] in ("diagnose", "data", "recipes") else words[:1]
        shown = cli(*name, "--help")
        assert shown.exit_code == 0, words
        offered = set(re.findall(r"--?[a-z][\w-]*", shown.stdout))
        assert {word for word in words if word.startswith("-")} <= offered, words


@pytest.mark.parametrize("page", PAGES)
def test_what_stands_here_for_theirs_is_an_option_of_some_command(cli: Cli, page: str):
    commands = ["interpolate", "adapt", "distill", "quantize", "evaluate", "merge", "data check", "diagnose log"]
    offered = {o for name in commands for o in re.findall(r"--[a-z][\w-]*", cli(*name.split(), "--help").stdout)}
    rows = [line for line in (DOCS / f"{page}.md").read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 10
    ours = {o for row in rows for o in re.findall(r"--[a-z][\w-]*", row.split("|")[2])}
    assert ours - {"--config_file"} - offered == set()


@pytest.mark.parametrize(("name", "text", "last"), [("train.err", TQDM, "1.01"), ("metrics.csv", METRICS, "0.6")])
def test_their_logs_are_read(cli: Cli, tmp_path: Path, name: str, text: str, last: str):
    (tmp_path / name).write_text(text)
    result = cli("diagnose", "log", tmp_path / name)
    assert result.exit_code == 0, result.stderr
    assert last in result.stdout
