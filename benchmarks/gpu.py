"""All GPU measurements of the full-size models, in one command of under eight minutes.

    PYTHONPATH=src python benchmarks/gpu.py -o DIR [--seconds 460] [--only NAME,...] [--tiny] [--device cpu]
    PYTHONPATH=src python benchmarks/gpu.py -o DIR --join DIR1 DIR2 ...

Weights are random and of the published size, so no data and no checkpoint are needed. Parts, each written to its own
JSON immediately; what no longer fits the time is recorded as skipped:
  a  the tests marked `gpu`: every command's code path on CUDA with tiny models
  b  ToonCrafter, 16 frames of 512x320: steps in every precision, plain and compiled, the decoder, whole calls
  c  Framer, 14 frames of 512x320, the same
  d  one optimizer step of a rank-16 adapter on a bf16 base: adaptation, and few-step distillation
  e  whether both families draw with a memory limit of 7.5 GB and 11 GB
At the end a table (`gpu.txt`) and a figure (`gpu.png`, if matplotlib is installed) are made of the measurements.

Each job runs in a separate process, which imports while others measure and uses the device only in its turn.
Models compile in parallel with parts a and e, which are not timed; all other jobs have the device alone. `--only` takes
letters and names of jobs (`--list` prints them), which then run in the given order; `--join` combines several runs into
one page.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
Inbox = queue.Queue["tuple[Job, dict[str, Any] | None]"]
"""Messages of jobs; None when a job's process has ended."""
MARK = "@@gpu "
"""As in `gpu_parts.session`, which this process does not import, as it must not use the device."""


@dataclass(frozen=True)
class Job:
    """One process.

    Args:
        name: its name for `--only`; the first letter is the part in which its results are saved.
        words: function of `gpu_parts` and arguments, see `gpu_parts.jobs`.
        limit: maximum seconds, from its turn on.
        kind: "compiles" in parallel with all others, "untimed" in parallel with compilation, or "timed" with the device
            alone.
        asked: it runs only if `--only` names it.
    """

    name: str
    words: tuple[str, ...]
    limit: float
    kind: str = "timed"
    asked: bool = False

    @property
    def part(self) -> str:
        """Letter of its part."""
        return self.name[0]


CHECKS = Job("a", ("checks",), 170, "untimed")
JOBS: tuple[Job, ...] = (
    Job("b-compiled-bf16", ("compiled", "tooncrafter", "bf16"), 40, "compiles"),
    Job("c-compiled-bf16", ("compiled", "framer", "bf16"), 40, "compiles"),
    Job("b-compiled-fp16", ("compiled", "tooncrafter", "fp16"), 40, "compiles", asked=True),
    Job("b-compiled-fp8-dynamic", ("compiled", "tooncrafter", "fp8-dynamic"), 40, "compiles", asked=True),
    Job("e-tooncrafter-7.5", ("capped", "tooncrafter", "7.5"), 60, "untimed"),
    Job("e-framer-7.5", ("capped", "framer", "7.5"), 60, "untimed"),
    Job("e-tooncrafter-11", ("capped", "tooncrafter", "11"), 60, "untimed"),
    Job("e-framer-11", ("capped", "framer", "11"), 60, "untimed"),
    Job("e-tooncrafter-offload", ("capped", "tooncrafter", "7.5", "model offload"), 40, "untimed", asked=True),
    Job("e-framer-offload", ("capped", "framer", "7.5", "model offload"), 40, "untimed", asked=True),
    CHECKS,
    Job("b-core", ("speed", "tooncrafter", "steps", "decoder", "calls"), 100),
    Job("b-reference", ("reference", "tooncrafter"), 45),
    Job("d-tooncrafter", ("lora", "tooncrafter"), 30),
    Job("c-core", ("speed", "framer", "steps", "calls"), 70),
    Job("d-framer", ("lora", "framer"), 30),
    Job("b-few", ("few", "tooncrafter", "calls"), 40),
    Job("c-few", ("few", "framer", "calls"), 40),
    Job("d-few-tooncrafter", ("few", "tooncrafter", "step"), 40),
    Job("d-few-framer", ("few", "framer", "step"), 40),
    Job("b-kernels", ("speed", "tooncrafter", "kernels"), 40),
    Job("b-more", ("speed", "tooncrafter", "more"), 70),
    Job("c-more", ("speed", "framer", "more", "decoder"), 70),
)
"""In the order of a full run."""


def chosen(words: str | None, compiled: bool, reference: bool) -> list[Job]:
    """The jobs named by `--only`, in its order; without it all jobs without `asked`.

    Raises:
        SystemExit: an unknown name.
    """
    if words is None:
        jobs = [job for job in JOBS if not job.asked]
    else:
        jobs = []
        for word in words.split(","):
            found = [job for job in JOBS if job.name == word or (job.part == word and not job.asked)]
            if not found:
                raise SystemExit(f"--only {word} is not a job; give one of {', '.join(job.name for job in JOBS)}.")
            jobs += [job for job in found if job not in jobs]
    left_out = {"compiles"} if not compiled else set()
    return [job for job in jobs if job.kind not in left_out and (reference or job.words[0] != "reference")]


class Process:
    """A job's process; its messages go into `inbox` as (job, message).

    A message of None means that it has ended.
    """

    def __init__(
        self, job: Job, settings: dict[str, Any], inbox: queue.Queue[tuple[Job, dict[str, Any] | None]]
    ) -> None:
        self.job, self._inbox = job, inbox
        self.ready = threading.Event()
        """Set while it waits for the device."""
        self.ended = threading.Event()
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "TORCHINDUCTOR_COMPILE_THREADS": "6"}
        if job.part == "e":
            environment["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
        command = [sys.executable, "-m", "gpu_parts.jobs", json.dumps(settings), *job.words]
        environment["PYTHONPATH"] = os.pathsep.join([str(HERE), environment.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.startswith(MARK):
                if line.strip():
                    print(f"    {self.job.name}: {line.rstrip()[:400]}", flush=True)
                continue
            message = json.loads(line.removeprefix(MARK))
            if message.get("waits"):
                self.ready.set()
            else:
                self._inbox.put((self.job, message))
        code = self._process.wait()
        if code:
            self._inbox.put(
                (self.job, {"name": f"{self.job.name}: process", "found": {"failed": f"ended with {code}"}})
            )
        self.ready.set()
        self.ended.set()
        self._inbox.put((self.job, None))

    def go(self, deadline: float) -> None:
        """Give it its turn; `deadline` in seconds of `time.time()`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{deadline}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended already; its messages contain the reason

    def stop(self) -> None:
        """Stop it if it is still running."""
        if not self.ended.is_set():
            self._process.kill()
            self.ended.wait(10)


@dataclass
class Run:
    """One run of the command: results go into `parts`, and to disk immediately."""

    output: Path
    settings: dict[str, Any]
    deadline: float
    revision: str | None = None
    began: float = field(default_factory=time.time)
    inbox: Inbox = field(default_factory=queue.Queue)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    processes: dict[Job, Process] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - time.time()

    def process(self, job: Job) -> Process:
        """The job's process, started if necessary."""
        if job not in self.processes:
            self.processes[job] = Process(job, self.settings, self.inbox)
        return self.processes[job]

    def note(self, job: Job, found: dict[str, Any]) -> None:
        """Store one message, write the part's file, and print it."""
        part = self.parts.setdefault(job.part, {"about": {"git": self.revision}, "found": {}})
        if "about" in found:
            part["about"] |= found["about"]
            return
        name = found["name"] if job.part in "ade" else f"{job.words[1]} {found['name']}"
        part["found"][name] = found["found"]
        self.save(job.part)
        print(f"{time.time() - self.began:6.1f} s  {job.part}  {name:<58}{brief(found['found'])}", flush=True)

    def save(self, letter: str) -> None:
        """Write a part's JSON, atomically."""
        part = self.parts[letter]
        part["seconds"] = round(time.time() - self.began, 1)
        path = self.output / f"gpu-{letter}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"part": letter, "settings": self.settings, **part}, indent=1) + "\n")
        temporary.replace(path)

    def drain(self, until: threading.Event, limit: float) -> bool:
        """Process messages until `until` is set; False if that takes longer than `limit` seconds."""
        end = time.time() + limit
        while not (until.is_set() and self.inbox.empty()):
            if time.time() > end:
                return False
            try:
                job, message = self.inbox.get(timeout=0.1)
            except queue.Empty:
                continue
            if message is not None:
                self.note(job, message)
        return True

    def take(self, job: Job) -> None:
        """Run a job to its end or its limit."""
        # A test on a shared CPU is slow, and its figures do not matter.
        limit = min(job.limit * (10 if self.settings["tiny"] else 1), self.left)
        if limit < 5:
            self.note(job, {"name": f"{job.name}: all", "found": {"skipped": f"{self.left:.0f} s left"}})
            self.process(job).stop()
            return
        process = self.process(job)
        process.go(time.time() + limit - 2)
        if not self.drain(process.ended, limit):
            process.stop()
            self.note(job, {"name": f"{job.name}: process", "found": {"failed": f"stopped after {limit:.0f} s"}})


def brief(found: dict[str, Any]) -> str:
    """The values of a measurement on one line."""
    shown = (
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in found.items()
        if isinstance(value, (int, float, str)) and key not in ("took_s", "repeats", "ms_min", "ms_max")
    )
    return "  ".join(shown)[:300]


def in_turn(run: Run, jobs: Sequence[Job], at_once: int, later: Sequence[Job] = ()) -> None:
    """Run jobs one after another; the next ones import in advance, followed by those of `later`."""
    for index, job in enumerate(jobs):
        for other in [*jobs[index:], *later][: at_once + 1]:
            run.process(other)
        if not run.process(job).ended.is_set():
            run.take(job)


def untimed(run: Run, jobs: Sequence[Job], at_once: int, later: Sequence[Job] = ()) -> None:
    """Run untimed jobs one after another, in parallel with the tests."""
    checks = CHECKS in jobs
    limit = min(CHECKS.limit, run.left)
    began = time.time()
    if checks:
        run.process(CHECKS).go(began + limit - 3)
    in_turn(run, [job for job in jobs if job is not CHECKS], at_once, later)
    if checks and not run.drain(run.process(CHECKS).ended, max(1.0, began + limit - time.time())):
        run.process(CHECKS).stop()
        run.note(CHECKS, {"name": "tests: process", "found": {"failed": f"stopped after {limit:.0f} s"}})


def carry_out(run: Run, jobs: Sequence[Job], at_once: int, compile_limit: float) -> None:
    """Run all jobs. Compilation runs in parallel with untimed jobs; without compilation, timed jobs run first."""
    compiling, beside, alone = ([job for job in jobs if job.kind == kind] for kind in ("compiles", "untimed", "timed"))
    if not compiling:
        in_turn(run, alone, at_once, beside)
        untimed(run, beside, at_once)
        return
    for job in compiling:
        run.process(job).go(run.deadline)
    untimed(run, beside, at_once, alone)
    for job in compiling:
        end = run.began + compile_limit
        if not run.drain(run.process(job).ready, max(1.0, end - time.time())):
            run.process(job).stop()
            run.note(job, {"name": f"{job.words[2]}: compilation", "found": {"failed": "not done within its time"}})
    in_turn(run, [*compiling, *alone], at_once)


def revision() -> str | None:
    """The measured commit; None outside a checkout."""
    found = subprocess.run(["git", "-C", str(HERE), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="output folder")
    parser.add_argument("--seconds", type=float, default=460, help="time limit of the run")
    parser.add_argument("--only", help="letters and names of jobs, separated by commas")
    parser.add_argument("--list", action="store_true", help="print the names of the jobs and exit")
    parser.add_argument("--join", type=Path, nargs="+", help="measure nothing; combine the results in these folders")
    parser.add_argument("--tiny", action="store_true", help="use small models, to test this script")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--reference", type=Path, help="a checkout of ToonCrafter's code, to time for comparison")
    parser.add_argument("--no-compile", action="store_true", help="skip compiled jobs")
    parser.add_argument(
        "--compile-seconds", type=float, default=230, help="time limit of compilation in parallel with parts a and e"
    )
    words = parser.parse_args()
    if words.list:
        print("\n".join(f"{j.name:<24}{j.limit:>4.0f} s  {j.kind}{', only where named' * j.asked}" for j in JOBS))
        return
    if words.output is None:
        parser.error("-o is missing; give the output folder")
    from gpu_parts.page import join, write_page

    if words.join is not None:
        words.output.mkdir(parents=True, exist_ok=True)
        join(words.join, words.output)
        print(write_page(words.output))
        return
    jobs = chosen(words.only, not words.no_compile, words.reference is not None)
    settings = {"device": words.device, "tiny": words.tiny, "reference": None}
    if words.reference:
        settings["reference"] = str(words.reference.resolve())
    words.output.mkdir(parents=True, exist_ok=True)
    run = Run(words.output, settings, time.time() + words.seconds, revision())
    try:
        carry_out(run, jobs, at_once=max(1, (os.cpu_count() or 1) // 3), compile_limit=words.compile_seconds)
    finally:
        for process in run.processes.values():
            process.stop()
    print(write_page(words.output))


if __name__ == "__main__":
    main()
