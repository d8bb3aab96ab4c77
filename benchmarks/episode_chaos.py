"""Small cuts drawn by an engine while its workers are killed: no cut may be lost, and no finished cut drawn twice.

    python benchmarks/episode_chaos.py local ray openjd slurm --cuts 200 --workers 2 --every 15 -o chaos

draws every cut once in a plain loop, then with the engine, killing a random worker (SIGKILL) every `--every` seconds;
with `ray` and `slurm` on a cluster of two nodes on this machine; Ray's cluster loses one node after a third of the
cuts. Prints and saves the results in `benchmarks/results/episode.json`, by engine.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from episode_clusters import Node, ray_cluster, slurm_cluster
from nakawari.episode.manifest import Manifests
from nakawari.episode.plan import Episode, units_of
from nakawari.episode.status import counts_of, rows_of
from nakawari.episode.unit import CUTS, Models, draw_unit
from nakawari.files import file_digest, read_json, write_json

RESULTS = Path(__file__).parent / "results" / "episode.json"
SIZE = (48, 64)
WORDS = {"steps": 1, "seed": 0}


def write_cuts(folder: Path, count: int) -> None:
    """Write two keys with two in-betweens between them for every cut; a block with a dark eye moves."""
    for number in range(count):
        random_ = np.random.default_rng(number)
        own, colour = folder / f"c{number:04d}", random_.integers(30, 220, 3)
        own.mkdir(parents=True)
        for key, frame in enumerate((1, 4)):
            pixels = np.full((*SIZE, 3), 240, np.uint8)
            x, y = 8 + key * int(random_.integers(4, 20)), int(random_.integers(6, 20))
            pixels[y : y + 18, x : x + 16] = colour
            pixels[y + 4 : y + 8, x + 4 : x + 8] = 20
            Image.fromarray(pixels).save(own / f"key_{frame:04d}.png")


def bare_loop(source: Path, folder: Path, model: str) -> dict[str, Any]:
    """Draw all cuts sequentially in this process, with everything imported and loaded; returns wall and
    CPU seconds."""
    episode = Episode(folder, units_of(source), model, "cpu", WORDS)
    models = Models()
    draw_unit(replace(episode, folder=folder.with_name("first")), episode.units[0], models)
    started, processor = time.monotonic(), time.process_time()
    for unit in episode.units:
        draw_unit(episode, unit, models)
    seconds, processor = time.monotonic() - started, time.process_time() - processor
    return {"seconds": round(seconds, 2), "processor": round(processor, 2)}


def listing(folder: Path) -> dict[str, bytes]:
    """File -> hash of the finished cuts."""
    cuts = folder / CUTS
    return {path.relative_to(cuts).as_posix(): file_digest(path) for path in cuts.rglob("*") if path.is_file()}


class Watcher(threading.Thread):
    """Watches cuts being finished, and detects finished ones being replaced."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder, self._over, self.seen, self.replaced = folder / CUTS, threading.Event(), dict[str, int](), 0

    def run(self) -> None:
        while not self._over.wait(0.02):
            self._look()

    def _look(self) -> None:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                number = entry.inode()
                self.replaced += self.seen.get(entry.name, number) != number
                self.seen[entry.name] = number

    def finish(self) -> None:
        self._over.set()
        self.join()
        self._look()


class Meter(threading.Thread):
    """Sums the CPU time of all processes of a run: those with its mark in their environment, which is inherited
    by child processes. Wall time is unreliable on a shared machine."""

    MARK = "NAKAWARI_CHAOS_RUN"

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = {self.MARK: secrets.token_hex(8)}
        self._ours, self._seen, self._over = dict[int, float](), set[int](), threading.Event()

    @property
    def seconds(self) -> float:
        """CPU seconds so far."""
        return sum(self._ours.values())

    def run(self) -> None:
        while not self._over.wait(0.1):
            self._look()

    def _look(self) -> None:
        for number in psutil.pids():
            with contextlib.suppress(psutil.Error):
                if number not in self._seen:
                    process = psutil.Process(number)
                    if process.create_time() < time.time() - 0.3:  # shortly after a fork it may be another program
                        self._seen.add(number)
                        if process.environ().get(self.MARK) == self.own[self.MARK]:
                            self._ours[number] = 0.0
                if number in self._ours:
                    self._ours[number] = sum(psutil.Process(number).cpu_times()[:2])

    def finish(self) -> None:
        self._look()
        self._over.set()
        self.join()


class Killer(threading.Thread):
    """Kills a random worker at regular intervals.

    Args:
        every: seconds between two kills.
        mark: text in the command line of a worker.
        roots: parents of the workers; None: all processes (Slurm's daemons start them).
    """

    def __init__(self, every: float, mark: str, roots: Sequence[int] | None) -> None:
        super().__init__(daemon=True)
        self._every, self._mark, self._roots, self._over, self.kills = every, mark, roots, threading.Event(), 0

    def workers(self) -> list[psutil.Process]:
        """The current worker processes."""
        found = list(psutil.process_iter()) if self._roots is None else []
        for root in self._roots or ():
            with contextlib.suppress(psutil.Error):
                found += psutil.Process(root).children(recursive=True)
        alive = []
        for process in found:
            with contextlib.suppress(psutil.Error):
                if self._mark in " ".join(process.cmdline()):
                    alive.append(process)
        return alive

    def run(self) -> None:
        choice = random.Random(0)
        while not self._over.wait(self._every):
            with contextlib.suppress(psutil.Error):
                if workers := self.workers():
                    choice.choice(workers).send_signal(signal.SIGKILL)
                    self.kills += 1

    def finish(self) -> None:
        self._over.set()
        self.join()


class Early(threading.Thread):
    """Kills a node as soon as a third of the cuts have ended."""

    def __init__(self, node: Node, manifests: Manifests, cuts: int) -> None:
        super().__init__(daemon=True)
        self._node, self._manifests, self._cuts, self._over = node, manifests, cuts, threading.Event()
        self.ended: int | None = None
        """Number of cuts that had ended then."""

    def run(self) -> None:
        while not self._over.wait(0.2):
            ended = len(self._manifests.ended())
            if ended >= self._cuts / 3:
                self._node.kill()
                self.ended = ended if self._node.killed else None
                return

    def finish(self) -> None:
        self._over.set()
        self.join()


def submit(words: argparse.Namespace, source: Path, folder: Path, place: dict[str, str]) -> Any:
    """Run the command of a user."""
    command = [sys.executable, "-m", "nakawari", "episode", "submit", str(source), "-o", str(folder)]
    command += ["--engine", words.engine, "--workers", str(words.workers), "--chunk", str(words.chunk)]
    command += ["--model", words.model, "--steps", "1", "--device", "cpu"]
    return subprocess.Popen(command, env=os.environ | place, stdout=subprocess.DEVNULL)


def measure(words: argparse.Namespace) -> dict[str, Any]:
    """Compare one engine with the plain loop."""
    source, uncut, folder = (words.output / name for name in ("cuts", "uncut", words.engine))
    if not source.exists():
        write_cuts(source, words.cuts)
    if not (words.output / "bare.json").exists():
        shutil.rmtree(uncut, ignore_errors=True)
        write_json(words.output / "bare.json", bare_loop(source, uncut, words.model))
    bare = read_json(words.output / "bare.json")
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        nodes: list[Node] = []
        place: dict[str, str] = {}
        meter = Meter()
        if words.engine == "ray":
            place, nodes = stack.enter_context(ray_cluster(Path(tempfile.mkdtemp(prefix="ray-")), meter.own))
        if words.engine == "slurm":
            place["SLURM_CONF"] = stack.enter_context(slurm_cluster(Path(tempfile.mkdtemp(prefix="slurm-"))))
        watcher = Watcher(folder)
        watcher.start()
        meter.start()
        started = time.monotonic()
        process = submit(words, source, folder, place | meter.own)
        mark = "ray::Worker" if words.engine == "ray" else f"episode work {folder}"
        roots = None if words.engine == "slurm" else [node.process.pid for node in nodes] or [process.pid]
        killer = Killer(words.every, mark, roots) if words.every else None
        of_node = Early(nodes[1], Manifests(folder), words.cuts) if nodes and words.every else None
        for one in (killer, of_node):
            if one:
                one.start()
        process.wait()
        while words.engine == "slurm" and not process.returncode and len(Manifests(folder).ended()) < words.cuts:
            time.sleep(0.5)  # submitting does not wait for the job
        seconds = time.monotonic() - started
        for one in (meter, killer, of_node, watcher):
            if one:
                one.finish()
    ours, theirs = listing(folder), listing(uncut)
    return {
        "cuts": words.cuts,
        "workers": words.workers,
        "kill every": words.every,
        "kills": killer.kills if killer else 0,
        "cuts when a node was killed": of_node.ended if of_node else None,
        "exit status": process.returncode,
        "states": counts_of(rows_of(Episode.load(folder))),
        "files": len(theirs),
        "files that are the same": sum(ours.get(name) == own for name, own in theirs.items()),
        "files too many": len(ours.keys() - theirs.keys()),
        "whole cuts that were drawn again": watcher.replaced,
        "seconds": round(seconds, 1),
        "processor": round(meter.seconds, 1),
        "bare loop": bare,
        "processor per cut beyond the bare loop": round((meter.seconds - bare["processor"]) / words.cuts, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="+", choices=["local", "ray", "openjd", "slurm"])
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="+", default=[2], help="numbers of workers; one run each")
    parser.add_argument("--chunk", type=int, default=10)
    parser.add_argument("--every", type=float, default=15, help="seconds between two kills; 0 for none")
    parser.add_argument("--model", default="mini/small")
    parser.add_argument("-o", "--output", type=Path, required=True)
    words = parser.parse_args()
    words.output = words.output.resolve()
    for workers, engine in itertools.product(words.workers, words.engines):
        found = measure(argparse.Namespace(**vars(words) | {"engine": engine, "workers": workers}))
        print(json.dumps({engine: found}), flush=True)
        keep(engine, workers, bool(words.every), found)


def keep(engine: str, workers: int, killed: bool, found: dict[str, Any]) -> None:
    """Write the results."""
    kept = read_json(RESULTS) if RESULTS.exists() else {}
    write_json(RESULTS, kept | {f"{engine}, {'killed' if killed else 'left alone'}, {workers} workers": found})


if __name__ == "__main__":
    main()
