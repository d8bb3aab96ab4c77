"""Runs a command and prints its peak memory.

    python benchmarks/peak.py [-o RESULTS.json --name NAME] COMMAND ...

`anonymous` is the process's own memory; `resident` includes the pages of mapped weights files, which the system
reclaims when memory is short. Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from pathlib import Path

import torch

from nakawari.files import read_json, write_json


def status_bytes(process: int, field: str) -> int:
    """A memory field of a process; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def measured(command: list[str]) -> dict[str, float | int]:
    """Peaks in bytes, seconds, exit status."""
    began = time.perf_counter()
    process = subprocess.Popen(command)
    anonymous = resident = 0
    while process.poll() is None:
        anonymous = max(anonymous, status_bytes(process.pid, "RssAnon"))
        resident = max(resident, status_bytes(process.pid, "VmHWM"))
        time.sleep(0.05)
    seconds = round(time.perf_counter() - began, 1)
    return {"anonymous": anonymous, "resident": resident, "seconds": seconds, "status": process.returncode}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="a JSON file to add the results to")
    parser.add_argument("--name", help="their key in it; default: the command")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    found = measured(args.command)
    print(
        f"{found['anonymous'] / 1e9:.2f} GB of its own, {found['resident'] / 1e9:.2f} GB resident, {found['seconds']} s"
    )
    if args.output is not None:
        machine = {"torch": torch.__version__, "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
        before = read_json(args.output) if args.output.exists() else {}
        write_json(args.output, {**before, args.name or " ".join(args.command): found | machine})


if __name__ == "__main__":
    main()
