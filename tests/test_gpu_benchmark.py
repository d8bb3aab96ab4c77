"""The GPU benchmark's parts at tiny size on a CPU."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import cache_levels
import gpu
from gpu_parts import capped, checks, compiled, few, lora, models, page, speed
from gpu_parts.session import Session, Settings
from nakawari.families.cache import LEVELS

ROOT = Path(__file__).parents[1]
TINY = Settings(device="cpu", tiny=True)


class Kept(Session):
    """Collects messages."""

    def __init__(self, seconds: float = 600) -> None:
        super().__init__(TINY, time.time() + seconds)
        self.found: dict[str, Any] = {}

    def send(self, name: str, found: dict[str, Any]) -> None:
        self.found[name] = found


def test_a_failure_and_a_lack_of_time_are_written_down() -> None:
    session = Kept()
    assert session.measure("broken", 1, lambda: {"x": 1 / 0}) is None
    assert session.found["broken"]["failed"] == "ZeroDivisionError: division by zero"
    late = Kept(seconds=0)
    assert late.measure("late", 1, lambda: {"x": 1}) is None
    assert "left" in late.found["late"]["skipped"]
    assert session.measure("well", 1, lambda: {"x": 1}) == {"x": 1}


@pytest.mark.parametrize("family", models.FAMILIES)
def test_random_weights_are_nowhere_zero_and_every_precision_is_near_the_exact_answer(family: str) -> None:
    pipe = models.pipeline(TINY, family, torch.float32)
    flat = [name for name, value in pipe.denoiser.named_parameters() if value.ndim > 1 and not value.any()]
    assert flat == []
    told, answer = models.condition(pipe, TINY), []
    exact = pipe.unet
    for precision, error in (("fp32-strict", 0.0), ("bf16", 0.2), ("int8", 0.3)):
        pipe.register_modules(unet=models.at_precision(exact, precision))
        if family == "framer":
            pipe.controlnet.to(models.dtype_of(precision))
        found = speed.forward(pipe, told, precision, 2, 1.0, answer)
        assert found["error"] <= error and found["ms"] > 0


@pytest.mark.parametrize("family", models.FAMILIES)
def test_stage_by_stage_draws_the_same(family: str) -> None:
    plain = models.call(models.pipeline(TINY, family, torch.float32), TINY, 2)
    pipe = capped.staged(models.pipeline(TINY, family, torch.float32, "cpu"), "cpu")
    assert torch.equal(models.call(pipe, TINY, 2), plain)
    assert plain.isfinite().all() and plain.std() > 0.01


@pytest.mark.parametrize("family", models.FAMILIES)
def test_an_optimizer_step_moves_the_adapter(family: str) -> None:
    session = Kept()
    lora.run(session, family)
    assert all(found["moved"] and found["trained"] > 0 for found in session.found.values()), session.found
    assert len(session.found) == 2


@pytest.mark.parametrize("family", models.FAMILIES)
def test_a_student_for_few_steps_draws_without_guidance_and_learns(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, asked = Kept(), []
    monkeypatch.setattr(few, "whole", lambda pipe, _, steps: asked.append((pipe, steps)) or {})
    few.run(session, family, "calls")
    assert [steps for _, steps in asked] == [1, 4, 2, 1] and asked[0][0].config.default_guidance == 1
    few.run(session, family, "step")
    found = session.found[f"{family} few-step student, rank 16, checkpointing"]
    assert found["moved"] and found["trained"] > 0 and found["ms"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("family", models.FAMILIES)
def test_one_graph_serves_every_step_and_a_second_picture(family: str) -> None:
    session = Kept()
    compiled.run(session, family, "fp32")
    first = session.found["fp32 together, compiled: compilation"]
    assert first["graph_breaks"] == 0 and first["difference_to_eager"] < 1e-5
    assert session.found["second picture fp32, compiled"]["new_graphs"] == 0


def test_where_the_time_and_the_memory_go() -> None:
    pipe = models.pipeline(TINY, "tooncrafter", torch.float32)
    told = models.condition(pipe, TINY)
    spent = speed.kernels(pipe, told)["operations"]
    assert any("conv" in row["name"] for row in spent) and spent[0]["ms"] >= spent[-1]["ms"]
    layers = speed.by_layer(pipe, told, most=10_000)
    assert {"Conv2d", "Linear"} <= {row["kind"] for row in layers}
    assert all(row["layer"].startswith("unet.") for row in layers)


def test_jobs_are_chosen_by_letter_and_name_in_the_order_given() -> None:
    assert [job.name for job in gpu.chosen("d,b-core,e-framer-offload", True, False)] == [
        *("d-tooncrafter", "d-framer", "d-few-tooncrafter", "d-few-framer"),
        *("b-core", "e-framer-offload"),
    ]
    whole = gpu.chosen(None, False, True)
    assert {job.part for job in whole} == set("abcde") and not any(job.kind == "compiles" for job in whole)
    assert len({job.name for job in gpu.JOBS}) == len(gpu.JOBS)
    with pytest.raises(SystemExit, match="--only nothing is not a job"):
        gpu.chosen("nothing", True, True)


def test_what_becomes_of_each_test_is_sent_at_once(tmp_path: Path) -> None:
    (tmp_path / "test_three.py").write_text(
        "import time\ndef test_well(): pass\ndef test_ill(): assert 1 == 2\ndef test_long(): time.sleep(60)\n"
    )
    session = Kept(seconds=30)
    outcomes = checks.Outcomes(session, longest=1)
    words = [tmp_path, "-q", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={tmp_path}"]
    pytest.main([str(word) for word in words], plugins=[outcomes])
    found = session.found["tests marked gpu"]
    assert (found["passed"], found["failed_tests"]) == (1, 2)
    assert "assert 1 == 2" in found["tests"]["test_ill"]["reason"]
    assert "given up after 1 s" in found["tests"]["test_long"]["reason"]


@pytest.mark.parametrize("family", models.FAMILIES)
def test_operations_are_counted_without_weights(family: str) -> None:
    levels = {name: level for name, level in LEVELS.items() if level is not None}
    found = cache_levels.operations(family, levels, Settings(device="meta", tiny=True))
    assert all(tflop > 0 for tflop in found["parts"].values())
    fewer = [found["levels"][name]["times_fewer"] for name in levels]
    assert 1 < fewer[0] < fewer[1] < fewer[2]


def test_table_and_figure(tmp_path: Path) -> None:
    found = {"tooncrafter bf16 together": {"ms": 141.7, "tflops": 177.0}, "tooncrafter fp8 together": {"failed": "no"}}
    part = {"about": {"device": "a card", "torch": "2"}, "seconds": 3.0, "found": found}
    checks = {"tests marked gpu": {"tests": {"test_x": {"outcome": "failed", "reason": "it broke"}}}}
    for letter, values in (("b", part), ("a", part | {"found": checks})):
        (tmp_path / f"gpu-{letter}.json").write_text(json.dumps(values))
    text = page.write_page(tmp_path)
    assert "141.7" in text and "failed: no" in text and "failed: test_x: it broke" in text
    assert (tmp_path / "gpu.png").stat().st_size > 1000


def test_goals_stand_beside_what_was_measured():
    found = {
        "b": {"tooncrafter reference fp32": {"ms": 960.0}, "tooncrafter bf16 together, compiled": {"ms": 96.0}},
        "d": {"tooncrafter rank 16, checkpointing": {"allocated_gb": 17.5}},
        "e": {"framer 7.5 GB": {"draws": False}, "tooncrafter 7.5 GB": {"draws": True}},
    }
    text = "\n".join(page.goals({letter: {"found": rows} for letter, rows in found.items()}))
    for words in (r"exact: .* >= 5  10\.00  met", r"cache medium: .* not measured", r"LoRA step.* 17\.50  NOT MET"):
        assert re.search(words, text), text
    assert re.search(r"tooncrafter draws .* 1\.00  met", text) and re.search(r"framer draws .* 0\.00  NOT MET", text)
    own = {"b": {"found": {"tooncrafter fp32 together": {"ms": 960.0}} | found["b"]}}
    del own["b"]["found"]["tooncrafter reference fp32"]
    assert "our own (no reference was timed)" in page.goals(own)[1] and "10.00" in page.goals(own)[1]


def test_what_several_runs_wrote_becomes_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrote(folder: str, found: dict[str, Any], device: str = "a card") -> Path:
        (tmp_path / folder).mkdir()
        part = {"about": {"device": device}, "settings": {}, "seconds": 3.0, "found": found}
        (tmp_path / folder / "gpu-b.json").write_text(json.dumps(part))
        return tmp_path / folder

    one = wrote("one", {"tooncrafter reference fp32": {"ms": 960.0}, "x": {"ms": 1.0}})
    two = wrote("two", {"tooncrafter bf16 together, compiled": {"ms": 96.0}, "x": {"skipped": "3 s left"}})
    other = wrote("other", {"x": {"ms": 7.0}}, "another card")
    for folders, kept in (([one, two], 3), ([one, two, other], 1)):
        monkeypatch.setattr(sys, "argv", ["gpu.py", "-o", str(tmp_path / "all"), "--join", *map(str, folders)])
        gpu.main()
        found = page.read(tmp_path / "all")["b"]["found"]
        assert len(found) == kept
    assert found == {"x": {"ms": 7.0}}
    assert page.joined(*(page.read(folder)["b"] for folder in (one, two)))["found"]["x"] == {"ms": 1.0}


@pytest.mark.slow
def test_the_command_at_tiny_size(tmp_path: Path) -> None:
    words = ["-o", tmp_path, "--tiny", "--device", "cpu", "--seconds", 1500, "--only", "b,c,d,e"]
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", *words]
    subprocess.run([str(word) for word in command], check=True, timeout=1600)
    parts = page.read(tmp_path)
    assert sorted(parts) == ["b", "c", "d", "e"]
    named = {name: found for part in parts.values() for name, found in part["found"].items()}
    # A CPU has no products in float8.
    failed = [name for name, found in named.items() if "failed" in found and "fp8" not in name]
    assert failed == []
    assert all(named[f"{family} {cap} GB"]["draws"] for family in models.FAMILIES for cap in ("7.5", "11"))
