"""The loop on a toy: exactness, interruption, faults."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import toy_training
from safetensors.torch import load_file

from nakawari.errors import NakawariError
from nakawari.training import checkpoints
from nakawari.training.loop import Trainer, train
from nakawari.training.run_log import TIMING_FIELDS, read_log

SCRIPT = Path(toy_training.__file__)


def entries(folder: Path) -> list[dict]:
    log = read_log(folder / "log.jsonl")
    return [{key: value for key, value in entry.items() if key not in TIMING_FIELDS} for entry in log]


def run(folder: Path, resume_step: int | None = None, **changes) -> toy_training.Toy:
    recipe = toy_training.recipe(**changes)
    toy = toy_training.Toy(recipe.objective)
    train(recipe, toy, toy_training.Samples(), toy_training.held_out(), folder, resume_step=resume_step)
    return toy


def start(folder: Path, pause: float, workers: int = 0) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, SCRIPT, folder, str(pause), str(workers)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, env=environment, start_new_session=True, **pipes)


def left_of(session: int) -> list[str]:
    """The commands of the processes that are still there of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((stat.parent / "cmdline").read_text())
    return found


def wait_for_line(folder: Path, step: int) -> None:
    for _ in range(600):
        log = folder / "log.jsonl"
        if log.exists() and len(read_log(log)) >= step:
            return
        time.sleep(0.05)
    raise AssertionError("the run did not get that far")


def files_of(folder: Path) -> dict[str, bytes]:
    whole = [*(folder / "checkpoints" / "step-12").iterdir(), *(folder / "best").iterdir()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in whole}


def test_killed_and_resumed_equals_uncut_bit_for_bit(tmp_path):
    uncut, cut = tmp_path / "uncut", tmp_path / "cut"
    assert start(uncut, 0.0).wait(60) == 0
    process = start(cut, 0.15)
    wait_for_line(cut, 6)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert checkpoints.saved_steps(cut) == [4]
    with (cut / "log.jsonl").open("a") as log:
        log.write('{"step": 7, "lo')  # the line that was being written
    (cut / "checkpoints" / ".step-8.0123abcd").mkdir()  # the checkpoint that was being written
    assert start(cut, 0.0).wait(60) == 0
    assert entries(cut) == entries(uncut)
    assert [entry["step"] for entry in entries(cut)] == list(range(1, 13))
    assert files_of(cut) == files_of(uncut)
    assert not list((cut / "checkpoints").glob(".*"))


def test_sigterm_checkpoints_and_leaves_well(tmp_path):
    process = start(tmp_path, 0.15)
    wait_for_line(tmp_path, 2)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    done = entries(tmp_path)[-1]["step"]
    assert checkpoints.saved_steps(tmp_path)[-1] == done < 12
    assert said.decode().startswith(f"Asked to stop after step {done} of 12")
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "terminated"


def test_ctrl_c_checkpoints_and_says_how_to_go_on(tmp_path):
    process = start(tmp_path, 0.15, workers=1)
    wait_for_line(tmp_path, 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, workers included
    said, noise = process.communicate(timeout=60)
    assert process.returncode == 0
    done = entries(tmp_path)[-1]["step"]
    assert checkpoints.saved_steps(tmp_path)[-1] == done < 12
    assert said.decode().startswith(
        f"Interrupted after step {done} of 12; a checkpoint is written, go on with: nakawari"
    )
    # A worker that was interrupted may leave a warning of Python's resource tracker behind it, under load.
    said, *rest = noise.decode().strip().splitlines()
    assert said == "stopping after this step, with a checkpoint; Ctrl-C again stops immediately"
    assert "Traceback" not in "".join(rest)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "interrupted"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="counts processes in /proc")
def test_nothing_stays_of_a_run_that_was_killed(tmp_path):
    process = start(tmp_path, 0.15, workers=2)
    wait_for_line(tmp_path, 2)
    assert len(left_of(process.pid)) > 2
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    for _ in range(100):
        if not left_of(process.pid):
            return
        time.sleep(0.1)
    raise AssertionError(left_of(process.pid))


def test_accumulation_and_workers_do_not_change_the_run(tmp_path):
    whole = run(tmp_path / "a", optim__accumulation=1)
    split = run(tmp_path / "b", optim__accumulation=4, workers=2)
    for first, second in zip(whole.parameters(), split.parameters(), strict=True):
        assert torch.allclose(first, second, atol=1e-6)
    for one, two in zip(entries(tmp_path / "a"), entries(tmp_path / "b"), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-6)


def test_log_has_baseline_rate_and_validation(tmp_path):
    run(tmp_path)
    log = read_log(tmp_path / "log.jsonl")
    assert {"step", "loss", "baseline", "lr", "grad_norm", "extra", *TIMING_FIELDS} <= log[0].keys()
    assert [entry["lr"] for entry in log[:4]] == pytest.approx([0.0125, 0.025, 0.0375, 0.05])
    assert [entry["step"] for entry in log if "validation" in entry] == [5, 10, 12]
    assert log[-1]["loss"] < log[0]["loss"]


def test_warm_up_counts_optimizer_steps_not_micro_batches(tmp_path):
    run(tmp_path, optim__accumulation=4)
    assert [entry["lr"] for entry in entries(tmp_path)[:4]] == pytest.approx([0.0125, 0.025, 0.0375, 0.05])


def test_frozen_weights_stay_and_stay_in_evaluation_mode(tmp_path):
    recipe = toy_training.recipe()
    toy = toy_training.Toy(recipe.objective)
    before = toy.frozen[0].weight.clone()
    trainer = Trainer(recipe, toy, toy_training.Samples(), [], tmp_path)
    assert toy.net.training and not toy.frozen[0].training
    trainer.run()
    assert torch.equal(toy.frozen[0].weight, before)
    assert all(name.startswith("net.") for name in trainer.parameters)


def test_best_holds_averaged_weights_of_the_best_score(tmp_path):
    recipe = toy_training.recipe(validation={"every": 4, "samples": 2})
    toy = toy_training.Toy(recipe.objective)
    toy.scores = [1.0, 3.0, 2.0]
    outcome = train(recipe, toy, toy_training.Samples(), toy_training.held_out(), tmp_path)
    assert outcome.best == {"score": 3.0, "step": 8}
    best = load_file(tmp_path / "best" / "net.safetensors")
    average = load_file(tmp_path / "checkpoints" / "step-8" / "ema.safetensors")
    assert all(torch.equal(best[name], average[f"net.{name}"]) for name in best)
    raw = load_file(tmp_path / "checkpoints" / "step-8" / "weights.safetensors")
    assert not torch.equal(raw["net.0.weight"], average["net.0.weight"])


def test_lower_is_better_when_the_recipe_says_so(tmp_path):
    recipe = toy_training.recipe(validation={"every": 4, "samples": 2, "mode": "min"})
    toy = toy_training.Toy(recipe.objective)
    toy.scores = [3.0, 1.0, 2.0]
    outcome = train(recipe, toy, toy_training.Samples(), toy_training.held_out(), tmp_path)
    assert outcome.best == {"score": 1.0, "step": 8}


@pytest.mark.parametrize(("scores", "best"), [([2.0, 2.4, 1.0, 2.1], 0), ([2.0, 2.4, 2.6, 2.7], 12)])
def test_a_base_is_kept_where_nothing_is_better_by_more_than_the_error(tmp_path, scores, best):
    """The second run gains 0.6 at step 8 and, once the base is left behind, every gain counts."""
    recipe = toy_training.recipe(validation={"every": 4, "samples": 2})
    toy = toy_training.Toy(recipe.objective)
    toy.over_base, toy.scores, toy.error = True, list(scores), 0.5
    begun = {name: value.clone() for name, value in toy.net.state_dict().items()}
    outcome = train(recipe, toy, toy_training.Samples(), toy_training.held_out(), tmp_path)
    assert outcome.best == {"score": scores[best // 4], "step": best}
    saved = load_file(tmp_path / "best" / "net.safetensors")
    assert all(torch.equal(saved[name], begun[name]) for name in saved) == (best == 0)


def test_patience_stops_early_with_reason(tmp_path):
    recipe = toy_training.recipe(validation={"every": 2, "samples": 2, "patience": 2})
    toy = toy_training.Toy(recipe.objective)
    toy.scores = [3.0, 2.0, 1.0, 0.0]
    outcome = train(recipe, toy, toy_training.Samples(), toy_training.held_out(), tmp_path)
    assert (outcome.status, outcome.step) == ("stopped early", 6)
    assert "psnr has not improved in 2 validations" in outcome.reason
    assert checkpoints.saved_steps(tmp_path)[-1] == 6


def test_one_nonfinite_step_is_skipped_and_described(tmp_path):
    run(tmp_path, objective={"kind": "toy", "bad_steps": [5]})
    bad = entries(tmp_path)[5]
    assert (bad["loss"], bad["skipped"]) == (None, True)
    described = json.loads((tmp_path / "nonfinite-step-6.json").read_text())["batches"][0]
    assert described["name"] == [f"sample {n}" for n in range(20, 24)]
    assert len(described["t"]) == 4 and described["x"]["nonfinite"] == 0
    assert entries(tmp_path)[-1]["step"] == 12


def test_a_nonfinite_step_leaves_the_weights_alone(tmp_path):
    recipe = toy_training.recipe(objective={"kind": "toy", "bad_steps": [0]})
    toy = toy_training.Toy(recipe.objective)
    before = [parameter.clone() for parameter in toy.parameters()]
    trainer = Trainer(recipe, toy, toy_training.Samples(), [], tmp_path)
    trainer.step(trainer.data())
    assert all(torch.equal(a, b) for a, b in zip(before, toy.parameters(), strict=True))


def test_three_nonfinite_steps_in_a_row_stop_with_the_last_good_checkpoint(tmp_path):
    with pytest.raises(NakawariError, match=r"3 steps in a row, up to step 8; .*checkpoints/step-4"):
        run(tmp_path, objective={"kind": "toy", "bad_steps": [2, 5, 6, 7, 8]})
    assert len(list(tmp_path.glob("nonfinite-step-*.json"))) == 4
    assert checkpoints.saved_steps(tmp_path) == [4]


def test_skipped_steps_write_no_checkpoint_over_a_good_one(tmp_path):
    with pytest.raises(NakawariError, match=r"up to step 9; .*checkpoints/step-6,"):
        run(tmp_path, objective={"kind": "toy", "bad_steps": [6, 7, 8]}, checkpoint={"every": 1, "keep": 2})
    assert checkpoints.saved_steps(tmp_path) == [5, 6]


def test_a_checkpoint_of_weights_that_are_not_finite_is_no_good_one(tmp_path):
    recipe = toy_training.recipe(checkpoint={"every": 1})
    toy = toy_training.Toy(recipe.objective)

    def spoil(progress):
        if progress.step == 2:  # an update that went wrong though its loss and gradient were finite
            toy.net[0].weight.data[0, 0] = float("nan")

    with pytest.raises(NakawariError, match=r"up to step 5; .*checkpoints/step-1,"):
        train(recipe, toy, toy_training.Samples(), [], tmp_path, progress=spoil)
    assert checkpoints.saved_steps(tmp_path) == [1]


def test_only_the_last_checkpoints_stay(tmp_path):
    run(tmp_path, checkpoint={"every": 3, "keep": 2})
    assert checkpoints.saved_steps(tmp_path) == [9, 12]


def test_a_checkpoint_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    real = checkpoints.write_json

    def full_at_8(path, value):
        if value["step"] == 8:
            raise OSError(28, "No space left on device")
        real(path, value)

    monkeypatch.setattr(checkpoints, "write_json", full_at_8)
    with pytest.raises(NakawariError, match="No space left on device"):
        run(tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-4"]
    monkeypatch.undo()
    run(tmp_path, resume_step=4)
    run(tmp_path / "uncut")
    assert entries(tmp_path) == entries(tmp_path / "uncut")


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    run(tmp_path)
    weights = tmp_path / "checkpoints" / "step-12" / "weights.safetensors"
    weights.write_bytes((tmp_path / "best" / "net.safetensors").read_bytes())
    with pytest.raises(NakawariError, match="does not fit this model"):
        run(tmp_path, resume_step=12, optim__steps=14)


def test_bfloat16_trains_and_no_averaging_needs_no_file(tmp_path):
    run(tmp_path, optim__mixed_precision="bf16", optim__ema=0.0)
    log = entries(tmp_path)
    assert log[-1]["loss"] < log[0]["loss"]
    assert not (tmp_path / "checkpoints" / "step-12" / "ema.safetensors").exists()


def test_progress_counts_to_the_end(tmp_path):
    seen = []
    recipe = toy_training.recipe()
    toy = toy_training.Toy(recipe.objective)
    train(recipe, toy, toy_training.Samples(), [], tmp_path, progress=seen.append)
    assert [(p.step, p.steps) for p in seen] == [(n, 12) for n in range(1, 13)]
    assert seen[-1].seconds_left == 0 < seen[0].seconds_left
    assert (tmp_path / "best" / "net.safetensors").exists()
