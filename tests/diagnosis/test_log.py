"""Training logs: parsing and warnings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nakawari.diagnosis.log import diagnose_log, losses, smoothed
from nakawari.errors import NakawariError
from nakawari.variants import MINI

FILES = Path(__file__).parents[1] / "data_files"


def kinds(path: Path, baseline: float | None = None) -> list[str]:
    return [warning.kind for warning in diagnose_log(path, baseline).warnings]


def run_folder(folder: Path, loss: Callable[[int], float | None], steps: int = 200, planned: int = 200) -> Path:
    """A run folder as written by training, with 5 % noise."""
    folder.mkdir()
    random = np.random.default_rng(3)
    rows = []
    for step in range(1, steps + 1):
        value, noise = loss(step), random.normal(1, 0.05)
        row = {"step": step, "loss": None if value is None else value * noise, "baseline": 0.5, "lr": 1e-4}
        rows.append(row | ({"skipped": True} if value is None else {}))
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 201, "lo')
    (folder / "recipe.yaml").write_text(f"name: x\noptim:\n  lr: 1.0e-4\n  steps: {planned}\nprovenance:\n  git: abc\n")
    (folder / "summary.json").write_text(json.dumps({"trained_parameters": 1234}))
    return folder


def test_healthy_text_log():
    found = diagnose_log(FILES / "healthy.log")
    assert found.warnings == []
    record = found.to_json()
    assert record["steps"] == {"logged": 400, "last": 400, "planned": 400}
    assert (record["trainable_parameters"], record["parameters"]) == (6645760, 1445500420)
    assert record["trainable_share"] == pytest.approx(0.0045975, rel=1e-4)
    assert record["config"]["Gradient Accumulation steps"] == "4"
    assert record["learning_rate"]["configured"] == record["learning_rate"]["highest"] == 1e-4
    assert [part.name for part in found.parts] == [f"epoch {number}" for number in range(8)]
    assert [part.count for part in found.parts] == [50] * 8
    assert found.parts[0].mean > 3 * found.parts[-1].mean


def test_log_that_never_left_its_warm_up():
    assert kinds(FILES / "never_left_warm_up.log") == ["warm-up", "baseline", "plateau"]
    sentences = {warning.kind: warning.sentence for warning in diagnose_log(FILES / "never_left_warm_up.log").warnings}
    assert "1.08e-05, 11 % of the configured 0.0001" in sentences["warm-up"]
    assert "level of predicting nothing" in sentences["baseline"]


def test_a_step_printed_twice_counts_once_with_its_own_figures(tmp_path: Path):
    line = "Steps:  10%|#  | {step}/3 [00:01<00:02,  1.0s/it, epoch={epoch}, loss={loss}, lr=1e-05]"
    shown = [(1, 0, "0.5"), (2, 0, "0.5"), (2, 0, "nan"), (3, 0, "nan"), (3, 1, "0.25")]
    text = "\r".join(line.format(step=step, epoch=epoch, loss=loss) for step, epoch, loss in shown)
    (tmp_path / "run.log").write_text(text)
    found = diagnose_log(tmp_path / "run.log")
    rows = [(entry.step, entry.epoch, entry.loss, entry.nonfinite) for entry in found.log.entries]
    assert rows == [(1, 0, 0.5, False), (2, 0, None, True), (3, 1, 0.25, False)]
    assert [warning.kind for warning in found.warnings] == ["nonfinite"]


def test_bars_that_start_again_every_epoch_and_plain_step_lines(tmp_path: Path):
    bars = [f"Epoch {e}: 50%|#| {s}/2 [00:01<00:01, loss=0.{e}{s}]" for e in (1, 2) for s in (1, 2)]
    (tmp_path / "bars.log").write_text("\n".join(bars))
    assert [(e.step, e.epoch, e.loss) for e in diagnose_log(tmp_path / "bars.log").log.entries] == [
        (1, 1, 0.11),
        (2, 1, 0.12),
        (3, 2, 0.21),
        (4, 2, 0.22),
    ]
    (tmp_path / "plain.log").write_text("lr: 2e-4\nstep 10/30 loss: 0.5 lr: 1e-4\nstep 20/30 loss: 0.4 lr: 2e-4\n")
    log = diagnose_log(tmp_path / "plain.log").log
    assert [(e.step, e.loss, e.rate) for e in log.entries] == [(10, 0.5, 1e-4), (20, 0.4, 2e-4)]
    assert (log.steps, log.peak_rate) == (30, 2e-4)


def test_our_own_run(tmp_path: Path):
    run = run_folder(tmp_path / "good", lambda step: 0.1 + 0.4 * math.exp(-step / 60))
    found = diagnose_log(run)
    assert found.warnings == []
    assert (found.baseline, found.assumed) == (0.5, False)
    assert (found.log.trainable, found.log.peak_rate, len(found.log.entries)) == (1234, 1e-4, 200)
    assert found.log.config["optim.steps"] == 200 and not any("provenance" in key for key in found.log.config)
    assert [part.name for part in found.parts][:2] == ["0-10 %", "10-20 %"]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda step: 0.5, ["baseline", "plateau"]),
        (lambda step: 0.1 + 0.4 * math.exp(-step / 10), ["plateau"]),
        (lambda step: 0.1 + 0.3 * abs(step - 100) / 100, ["divergence"]),
        (lambda step: None if step in (7, 8) else 0.1 + 0.4 * math.exp(-step / 60), ["nonfinite"]),
    ],
)
def test_what_goes_wrong_in_a_run_is_named(tmp_path: Path, loss: Callable[[int], float | None], expected: list[str]):
    assert kinds(run_folder(tmp_path / "run", loss)) == expected


def test_what_is_gained_on_the_same_batches_is_seen_however_unlike_the_batches_are(tmp_path: Path):
    """Batches differ by 0.5 and the gain is 0.02, which is visible only batch by batch."""
    random = np.random.default_rng(5)

    def log(name: str, gain: float) -> Path:
        hard = random.normal(-1.6, 0.5, 400)
        noise = random.normal(0, 0.01, 400)
        losses = hard - gain + noise
        rows = [{"step": i + 1, "loss": losses[i], "baseline": hard[i]} for i in range(400)]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    assert "baseline" not in kinds(log("gains.jsonl", 0.02))
    assert "baseline" in kinds(log("nothing.jsonl", 0.0))


TRAINER = {
    "global_step": 30,
    "log_history": [
        {"epoch": 0.5, "learning_rate": 2e-4, "loss": 0.9, "step": 10},
        {"epoch": 1.0, "eval_loss": 0.7, "step": 10},
        {"epoch": 1.2, "learning_rate": 1e-4, "loss": 0.5, "step": 20},
        {"epoch": 2.0, "train_loss": 0.7, "train_runtime": 9.0, "step": 30},
    ],
}
WANDB = [
    {"_step": 10, "train/loss": 0.9, "train/learning_rate": 2e-4, "epoch": 0.5, "_timestamp": 1.0},
    {"_step": 11, "eval/loss": 0.7},
    {"_step": 20, "train/loss": 0.5, "train/learning_rate": 1e-4, "epoch": 1.2},
]
LIGHTNING = "epoch,lr-AdamW,step,train_loss_step,val_loss\n0,0.0002,10,0.9,\n1,,10,,0.7\n1,0.0001,20,0.5,\n"
KOHYA = (
    "steps:  33%|#  | 10/30 [00:05<00:10,  2.0it/s, avr_loss=0.9]\r"
    "steps:  66%|## | 20/30 [00:10<00:05,  2.0it/s, avr_loss=0.5]\n"
)


@pytest.mark.parametrize(
    ("name", "text", "rates", "epochs"),
    [
        ("trainer_state.json", json.dumps(TRAINER), [2e-4, 1e-4], [0, 1]),
        ("wandb.jsonl", "\n".join(map(json.dumps, WANDB)), [2e-4, 1e-4], [0, 1]),
        ("metrics.csv", LIGHTNING, [2e-4, 1e-4], [0, 1]),
        ("kohya.log", KOHYA, [None, None], [None, None]),
        ("scalars.csv", "Wall time,Step,Value\n1.5,10,0.9\n2.5,20,0.5\n", [None, None], [None, None]),
    ],
)
def test_logs_of_other_programs(tmp_path: Path, name: str, text: str, rates: list[float], epochs: list[int]):
    (tmp_path / name).write_text(text)
    entries = [entry for entry in diagnose_log(tmp_path / name).log.entries if entry.loss is not None]
    assert [(entry.step, entry.loss) for entry in entries] == [(10, 0.9), (20, 0.5)]
    assert [entry.rate for entry in entries] == rates and [entry.epoch for entry in entries] == epochs
    assert not any(entry.nonfinite for entry in entries)


def test_a_loss_that_is_no_number_is_not_finite(tmp_path: Path):
    (tmp_path / "w.jsonl").write_text('{"_step": 1, "train/loss": "NaN"}\n{"_step": 2, "train/loss": 0.5}\n')
    assert [entry.nonfinite for entry in diagnose_log(tmp_path / "w.jsonl").log.entries] == [True, False]


def test_minis_own_log_did_learn():
    for file in sorted(MINI.glob("log-*.jsonl.gz")):
        assert "baseline" not in kinds(file), file


def test_a_run_cut_short_is_named_and_a_given_baseline_is_used(tmp_path: Path):
    run = run_folder(tmp_path / "run", lambda step: 0.1 + 0.4 * math.exp(-step / 60), planned=1000)
    assert kinds(run) == ["unfinished"]
    assert kinds(run, 0.12) == ["baseline", "unfinished"]


def test_smoothing_keeps_length_and_mean():
    steps, values = losses(diagnose_log(FILES / "healthy.log").log)
    curve = smoothed(values)
    assert len(curve) == len(values) == len(steps)
    assert curve[200] == pytest.approx(values[190:211].mean())
    assert np.diff(curve).std() < np.diff(values).std() / 5


def test_what_is_not_a_log(tmp_path: Path):
    (tmp_path / "words.txt").write_text("nothing to see\n")
    with pytest.raises(NakawariError, match="no training step"):
        diagnose_log(tmp_path / "words.txt")
    with pytest.raises(NakawariError, match="cannot be read"):
        diagnose_log(tmp_path)
