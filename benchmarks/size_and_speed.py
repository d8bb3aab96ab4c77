"""Peak memory and seconds of mini at four sizes, compared with an earlier revision and the installed RIFEs.

    python benchmarks/size_and_speed.py [--before CHECKOUT] [--sizes 256x160 512x320] [-o RESULTS.json]

Every size is measured in a separate process; `--before` is a checkout of another revision, measured
by the same code. A call of the pipeline is timed, from key tensors to uint8 frames, after a first call at
64 x 64; the faster of two calls counts, an earlier revision has one. `load` is the share of the
CPU used by other processes meanwhile: times under load are not valid. Four sizes, both revisions
and two RIFEs take under six minutes on two idle cores and 10 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch

JOBS = {"256x160": 14, "512x320": 14, "1920x1080": 7, "3840x2160": 1}
"""Width and height -> number of in-betweens drawn together."""
GOALS = {
    "512x320": ("seconds", 2.5),
    "1920x1080": ("seconds_per_in_between", 6.0),
    "1920x1080 ": ("peak_bytes", 2.5e9),
    "3840x2160": ("peak_bytes", 3.5e9),
}
"""Size -> quantity and its maximum; a trailing space marks a second goal for a size."""
PEERS_AT = ("256x160", "512x320", "1920x1080")
SOURCE = Path(__file__).parents[1] / "src"


def measured(size: str, peer: str | None, repeats: int) -> dict[str, Any]:
    """Measurements of this process, with the first package on PYTHONPATH."""
    from nakawari.evaluation.fitting import resize
    from nakawari.media import read_image
    from nakawari.variants import MINI

    width, height = (int(side) for side in size.split("x"))
    pictures = [read_image(MINI.parent / "examples" / f"key{number}.png") for number in (1, 2)]
    between = 1 if peer else JOBS[size]
    draw = _peer(peer) if peer else _mini()
    draw(np.stack([resize(picture, (64, 64)) for picture in pictures]), 1)
    keys = np.stack([resize(picture, (width, height)) for picture in pictures])
    wall, cpu = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        draw(keys, between)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return {
        "between": between,
        "seconds": min(wall),
        "seconds_each": [round(value, 3) for value in wall],
        "processor_seconds": min(cpu),
        "seconds_per_in_between": min(wall) / between,
        "peak_bytes": _peak(),
        "threads": torch.get_num_threads(),
    }


def _mini() -> Callable[[np.ndarray, int], object]:
    from nakawari.media import to_tensor, to_uint8
    from nakawari.variants import load

    pipeline = load("mini").pipeline
    pipeline.set_progress_bar_config(disable=True)

    def draw(keys: np.ndarray, between: int) -> np.ndarray:
        start, end = (to_tensor(np.array(key)[None]) for key in keys)
        generator = [torch.Generator().manual_seed(0)]
        frames = pipeline(start, end, num_frames=between + 2, generator=generator, output_type="pt").frames
        return np.stack([to_uint8(frame * 2 - 1) for frame in frames[0, 1:-1]])

    return draw


def _peer(title: str) -> Callable[[np.ndarray, int], object]:
    from nakawari.evaluation.contestants import Task
    from nakawari.evaluation.peers import KNOWN, Rife
    from nakawari.evaluation.protocol import Protocol

    rife = Rife(next(weights for weights in KNOWN if weights.title == title))
    protocol = Protocol(name="speed")
    return lambda keys, between: rife.draw([Task("keys", keys, keys[:0], between + 2, ())], protocol, 0)


def _installed(package: str) -> bool:
    try:
        return bool(distribution(package).version)
    except PackageNotFoundError:
        return False


def _peak() -> int:
    """Peak resident memory of this process in bytes; Linux only."""
    lines = (line.split() for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return next(int(line[1]) * 1024 for line in lines if line and line[0] == "VmHWM:")


def in_a_process(size: str, source: Path, threads: int, *, peer: str | None = None, repeats: int = 2) -> dict[str, Any]:
    """Measurements of a new process that runs the package in `source`, or its error."""
    from nakawari.evaluation.load import others

    command = [sys.executable, __file__, "--alone", size, "--threads", str(threads), "--repeats", str(repeats)]
    paths = os.pathsep.join([str(source), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)}
    with others() as load:
        done = subprocess.run(
            [*command, *(["--peer", peer] if peer else [])], capture_output=True, text=True, env=environment
        )
    if done.returncode:
        return {"failed": done.returncode, "why": done.stderr.strip()[-300:]}
    return json.loads(done.stdout.splitlines()[-1]) | {"load": round(load[0], 3) if load else None}


def line(size: str, row: str, found: dict[str, Any]) -> str:
    if "failed" in found:
        return f"{size:<10} {row:<12} failed ({found['failed']}): {found['why'].splitlines()[-1]}"
    gigabytes, load = found["peak_bytes"] / 1e9, found["load"]
    times = f"{found['seconds']:8.2f} s {found['seconds_per_in_between']:8.3f} s each"
    return f"{size:<10} {row:<12} {found['between']:>3} {times} {gigabytes:6.2f} GB   load of others {load}"


def verdicts(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Every goal with measured values, and whether it is met."""
    now, said = rows["now"], []
    for size, (figure, most) in GOALS.items():
        value = now.get(size.strip(), {}).get(figure)
        if value is not None:
            met = "met" if value <= most else "NOT met"
            said.append(f"{met:>8}: {size.strip()} {figure} {value:.4g}, at most {most:.4g}")
    for row in rows:
        for size in rows[row] if row.startswith("RIFE") else ():
            own, other = (rows[name].get(size, {}).get("seconds_per_in_between") for name in ("now", row))
            if own is not None and other is not None:
                met = "met" if own <= other else "NOT met"
                said.append(f"{met:>8}: {size} {own:.3f} s an in-between, {row} {other:.3f}")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier revision")
    parser.add_argument("--sizes", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/size-and-speed.json"))
    for name, kind in (("--alone", str), ("--peer", str), ("--repeats", int)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.alone:
        torch.set_num_threads(words.threads)
        print(json.dumps(measured(words.alone, words.peer, words.repeats)))
        return
    write(words)


def write(words: argparse.Namespace) -> None:
    from nakawari.evaluation.peers import KNOWN
    from nakawari.files import write_json
    from nakawari.provenance import git_revision, machine

    rows: dict[str, dict[str, Any]] = {}
    jobs: list[tuple[str, Path, dict[str, Any]]] = [("now", SOURCE, {})]
    jobs += [("before", words.before / "src", {"repeats": 1})] if words.before else []
    jobs += [(one.title, SOURCE, {"peer": one.title}) for one in KNOWN if _installed(one.package)]
    for size in words.sizes:
        for row, source, more in jobs:
            if "peer" in more and size not in PEERS_AT:
                continue
            found = in_a_process(size, source, words.threads, **more)
            rows.setdefault(row, {})[size] = found
            print(line(size, row, found), flush=True)
    said = verdicts(rows)
    print("\n".join(said))
    revisions = {"now": git_revision()}
    if words.before:
        where = ["git", "-C", str(words.before), "rev-parse", "HEAD"]
        revisions["before"] = subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip()
    about = {"revisions": revisions, "machine": machine(), "torch": torch.__version__, "goals": said}
    write_json(words.output, {"rows": rows} | about)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
