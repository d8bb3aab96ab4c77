"""The migration pages: their commands and options exist, and the forks' files are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from nakawari.families.adapting import save_adapter
from nakawari.training.lora import add_lora
from nakawari.training.objectives.params_parts import LoraParams
from test_docs import BLOCK
from tiny_framer import tiny
from tiny_models import plain_model

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


SMALL = {
    "adapt": "--size 64x64 --rank 2 --steps 1 --batch 1 --set data.cache=cache",
    "distill": "--size 64x64 --steps 1 --batch 1 --set data.cache=cache",
    "interpolate": "--between 1 --steps 1",
    "evaluate": "--protocol small.yaml --no-cost --no-floors",
}
"""What is added to a page's commands, so that tiny models run them in moments."""


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_on_what_they_name(
    cli: Cli, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    lay_out(page)
    block = max((body for _, body in BLOCK.findall((DOCS / f"{page}.md").read_text())), key=len)
    lines = [line.partition("#")[0].split()[1:] for line in block.splitlines() if line.startswith("nakawari")]
    for words in lines:
        if words[0] != "convert":  # needs the published weights; tests of its own convert tiny ones
            result = cli(*words, *SMALL.get(words[0], "").split())
            assert result.exit_code == 0, f"nakawari {' '.join(words)}\n{result.output}"
    assert len(lines) > 6


def lay_out(page: str) -> None:
    """Write the files used by a page's commands in the fork's layout, with tiny models and images."""
    framer = page == "from-framerturbo"
    model, run = (
        ("models/framer", "outputs/final/unet_lora") if framer else ("models/tooncrafter", "lora_run/lora_best")
    )
    pipeline = tiny() if framer else plain_model()
    if not framer:
        pipeline.register_to_config(default_steps=1, default_guidance=1.0)
    pipeline.save_pretrained(model)
    add_lora(pipeline, LoraParams(target=pipeline.default_lora, rank=2))
    save_adapter(pipeline.denoiser, Path(run), "default")
    (Path(run) / "pytorch_lora_weights.safetensors").unlink()
    for name in ("a.png", "b.png", "a_start.jpg", "a_end.jpg", "pairs/1_start.jpg", "pairs/1_end.jpg"):
        picture(Path(name), len(name))
    for clip in range(4):
        for number in range(20):
            picture(Path("my/videos" if framer else "my/clips") / f"clip{clip}" / f"{number:02d}.png", 2 * number, clip)
    for part, name in (("train_10k", "A_v1_1"), ("train_10k", "B_v1_1"), ("test_2k_540p", "C_v1_1")):
        for number in (1, 2, 3):
            picture(Path("datasets/atd-12k") / part / name / f"frame{number}.png", 4 * number)
    Path("training.log").write_text(TQDM)
    Path("metrics.csv").write_text(METRICS)
    Path("small.yaml").write_text("name: small\nwidth: 64\nheight: 64\nnum_frames: 3\nsteps: 1\nmetrics: [psnr]\n")


def picture(path: Path, left: int, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.full((64, 96, 3), 230, np.uint8)
    drawn[20:44, left : left + 24] = (200, 40 * shade, 60)
    Image.fromarray(drawn).save(path)


@pytest.mark.parametrize(("name", "text", "last"), [("train.err", TQDM, "1.01"), ("metrics.csv", METRICS, "0.6")])
def test_their_logs_are_read(cli: Cli, tmp_path: Path, name: str, text: str, last: str):
    (tmp_path / name).write_text(text)
    result = cli("diagnose", "log", tmp_path / name)
    assert result.exit_code == 0, result.stderr
    assert last in result.stdout
