"""Trackers: values logged to TensorBoard, read back from the event file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from PIL import Image
from typer.testing import Result

from nakawari.errors import UsageError
from nakawari.training import trackers
from nakawari.training.run_log import read_log
from nakawari.training.trackers import Trackers, check_installed, scalars
from tiny_models import mini_model

pytest.importorskip("tensorboard")
Cli = Callable[..., Result]


def test_numbers_and_pictures_are_read_back_from_the_event_file(cli: Cli, tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    mini_model().save_pretrained(tmp_path / "base")
    for clip in range(4):
        (tmp_path / "show" / f"clip{clip}").mkdir(parents=True)
        for number in range(9):
            picture = np.full((40, 48, 3), 230, np.uint8)
            picture[10:22, 3 * number : 3 * number + 10] = (200, 40, 60)
            Image.fromarray(picture).save(tmp_path / "show" / f"clip{clip}" / f"{number}.png")
    run = tmp_path / "run"
    words = ["--steps", "2", "--batch", "2", "--size", "32x32", "--rank", "2", "--frames", "3", "--windows", "0"]
    words += ["--set", "validation.samples=1", "--set", f"data.cache={tmp_path / 'cache'}", "--log-with", "tensorboard"]
    result = cli("adapt", "--data", tmp_path / "show", "--model", tmp_path / "base", *words, "-o", run)
    assert result.exit_code == 0, result.stderr

    (file,) = (run / "logs").rglob("events.out.tfevents*")
    found = EventAccumulator(str(file)).Reload()
    log = read_log(run / "log.jsonl")
    losses = [(event.step, event.value) for event in found.Scalars("loss")]
    assert [step for step, _ in losses] == [1, 2]
    assert [value for _, value in losses] == pytest.approx([entry["loss"] for entry in log])
    validated = found.Scalars("validation/psnr")
    assert [event.step for event in validated] == [entry["step"] for entry in log if "validation" in entry]
    assert {"grad_norm", "lr", "samples_per_second"} <= set(found.Tags()["scalars"])
    (picture,) = found.Images("held out/000")
    shown = Image.open(run / "samples" / "step-2" / "000.png")
    assert (picture.step, picture.width, picture.height) == (2, shown.width, shown.height)


@pytest.mark.slow
def test_weights_and_biases_keep_an_offline_run_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "logs").mkdir()
    Image.new("RGB", (30, 20), "green").save(tmp_path / "000.png")
    told = Trackers(Accelerator(cpu=True, log_with=["wandb"], project_dir=tmp_path / "logs"), "show")
    told.log({"step": 1, "loss": 0.5, "validation": {"psnr": 20.25}})
    told.pictures(tmp_path, 1)
    told.end()

    (run,) = (tmp_path / "logs").rglob("run-*.wandb")
    kept = run.read_bytes()
    assert all(word in kept for word in (b"loss", b"0.5", b"validation/psnr", b"20.25", b"held out/000"))
    (picture,) = (tmp_path / "logs").rglob("files/media/images/held out/*.png")
    assert Image.open(picture).size == (30, 20)


def test_a_tracker_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"tracker wandb is not installed; pip install 'nakawari\[track\]'"):
        check_installed(["wandb"])
    check_installed([])


def test_the_numbers_of_an_entry():
    entry = {"step": 3, "loss": 0.5, "skipped": True, "baseline": None, "validation": {"psnr": 20.0, "other": None}}
    assert scalars(entry) == {"loss": 0.5, "validation/psnr": 20.0}
