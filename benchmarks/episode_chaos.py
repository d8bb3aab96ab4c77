"""Small cuts drawn by an engine while its workers are killed: nothing may be lost, and no finished cut drawn twice.

    python benchmarks/episode_chaos.py local --cuts 200 --workers 2 --every 15 -o chaos

draws every cut once in a bare loop, then with the engine, killing a random worker (SIGKILL) every so many seconds; with
`ray` on a cluster of two nodes on this machine, of which one is killed, too. Prints and keeps what came of it:
`benchmarks/results/episode.json` holds the engines' results under their names.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from nakawari.episode.engines.processes import ended_of
from nakawari.episode.plan import Episode, units_of
from nakawari.episode.status import counts_of, rows_of
from nakawari.episode.unit import CUTS, Models, draw_unit
from nakawari.files import file_digest, read_json, write_json

RESULTS = Path(__file__).parent / "results" / "episode.json"
SIZE = (48, 64)
WORDS = {"steps": 1, "seed": 0}


def write_cuts(folder: Path, count: int) -> None:
    """Two keys with room for two in-betweens, for every cut; a block with a dark eye moves."""
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
    """All cuts one after the other in this process; seconds with and without the loading of the model."""
    episode = Episode(folder, units_of(source), model, "cpu", WORDS)
    models = Models()
    started = time.monotonic()
    for unit in episode.units:
        draw_unit(episode, unit, models)
    seconds = time.monotonic() - started
    return {"seconds": round(seconds, 2), "loading": round(models.seconds, 2)}


def listing(folder: Path) -> dict[str, bytes]:
    """Every file of the finished cuts with its hash."""
    cuts = folder / CUTS
    return {path.relative_to(cuts).as_posix(): file_digest(path) for path in cuts.rglob("*") if path.is_file()}


class Watcher(threading.Thread):
    """Sees every cut become whole, and whether a whole one is ever replaced."""

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


class Killer(threading.Thread):
    """Kills a random worker every so many seconds.

    Args:
        every: seconds between two kills.
        mark: what the command of a worker holds.
        roots: the processes below which workers are looked for; None: everywhere (daemons of Slurm start them).
    """

    def __init__(self, every: float, mark: str, roots: Sequence[int] | None) -> None:
        super().__init__(daemon=True)
        self._every, self._mark, self._roots, self._over, self.kills = every, mark, roots, threading.Event(), 0

    def workers(self) -> list[psutil.Process]:
        """The processes that take cuts now."""
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


def submit(engine: str, source: Path, folder: Path, workers: int, model: str, chunk: int, more: list[str]) -> Any:
    """The command as a user gives it."""
    words = [sys.executable, "-m", "nakawari", "episode", "submit", str(source), "-o", str(folder), "--engine", engine]
    words += ["--workers", str(workers), "--chunk", str(chunk), "--model", model, "--steps", "1", "--device", "cpu"]
    return subprocess.Popen([*words, *more], stdout=subprocess.DEVNULL)


class Node:
    """A node of a Ray cluster on this machine, of one core, with everything that it starts."""

    def __init__(self, *words: str) -> None:
        program = str(Path(sys.executable).with_name("ray"))
        fixed = ["--num-cpus", "1", "--object-store-memory", "80000000", "--block"]
        self.process = subprocess.Popen([program, "start", *fixed, *words], stdout=subprocess.DEVNULL)
        self.killed = False

    def kill(self) -> None:
        """End all of its processes at once; `killed` says that this was done."""
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(self.process.pid)
            tree = [*own.children(recursive=True), own]
            for process in tree:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self.killed = bool(psutil.wait_procs(tree, timeout=10)[0])
        self.process.wait()


@contextlib.contextmanager
def ray_nodes(place: Path) -> Iterator[tuple[str, list[Node]]]:
    """Two nodes; yields the address and both, the head first."""
    address = "127.0.0.1:6399"
    head = Node("--head", "--port", "6399", "--include-dashboard=false", "--temp-dir", str(place))
    nodes = [head]
    try:
        wait_for(address)
        nodes.append(Node("--address", address))
        yield address, nodes
    finally:
        for node in reversed(nodes):
            node.kill()


def wait_for(address: str, seconds: float = 120) -> None:
    """Until somebody listens there."""
    host, _, port = address.partition(":")
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def measure(words: argparse.Namespace) -> dict[str, Any]:
    """One engine against the bare loop."""
    source, uncut, folder = (words.output / name for name in ("cuts", "uncut", words.engine))
    if not source.exists():
        write_cuts(source, words.cuts)
    if not (words.output / "bare.json").exists():
        write_json(words.output / "bare.json", bare_loop(source, uncut, words.model))
    bare = read_json(words.output / "bare.json")
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        more: list[str] = []
        nodes: list[Node] = []
        if words.engine == "ray":
            address, nodes = stack.enter_context(ray_nodes(Path(tempfile.mkdtemp(prefix="ray-"))))
            more = ["--address", address]
        watcher = Watcher(folder)
        watcher.start()
        started = time.monotonic()
        process = submit(words.engine, source, folder, words.workers, words.model, words.chunk, more)
        mark = "ray::Drawer" if words.engine == "ray" else f"episode work {folder}"
        roots = None if words.engine == "slurm" else [node.process.pid for node in nodes] or [process.pid]
        killer = Killer(words.every, mark, roots) if words.every else None
        if killer:
            killer.start()
        of_node = threading.Timer(2.5 * words.every, nodes[1].kill) if nodes and words.every else None
        if of_node:
            of_node.start()
        process.wait()
        if of_node:
            of_node.cancel()
            of_node.join()
        node_killed = bool(nodes) and nodes[1].killed
        while words.engine == "slurm" and ended_of(Episode.load(folder)) < words.cuts:
            time.sleep(0.5)  # submitting does not wait for the job
        seconds = time.monotonic() - started
        if killer:
            killer.finish()
        watcher.finish()
    ours, theirs = listing(folder), listing(uncut)
    return {
        "cuts": words.cuts,
        "workers": words.workers,
        "kill every": words.every,
        "kills": killer.kills if killer else 0,
        "node killed": node_killed,
        "exit status": process.returncode,
        "states": counts_of(rows_of(Episode.load(folder))),
        "files": len(theirs),
        "files that are the same": sum(ours.get(name) == own for name, own in theirs.items()),
        "files too many": len(ours.keys() - theirs.keys()),
        "whole cuts that were drawn again": watcher.replaced,
        "seconds": round(seconds, 1),
        "bare loop": bare,
        "overhead per cut": round((seconds * words.workers - bare["seconds"]) / words.cuts, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["local", "ray", "openjd", "slurm"])
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=10)
    parser.add_argument("--every", type=float, default=15, help="seconds between two kills; 0 for none")
    parser.add_argument("--model", default="mini/small")
    parser.add_argument("-o", "--output", type=Path, required=True)
    words = parser.parse_args()
    words.output = words.output.resolve()
    found = measure(words)
    print(json.dumps(found, indent=1))
    keep(words.engine, words.workers, bool(words.every), found)


def keep(engine: str, workers: int, killed: bool, found: dict[str, Any]) -> None:
    """Write what was found into the results."""
    kept = read_json(RESULTS) if RESULTS.exists() else {}
    write_json(RESULTS, kept | {f"{engine}, {'killed' if killed else 'left alone'}, {workers} workers": found})


if __name__ == "__main__":
    main()
