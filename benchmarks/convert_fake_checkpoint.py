"""Converts a checkpoint of the real size with almost only zeros, and measures time and memory.

    python benchmarks/convert_fake_checkpoint.py MANIFEST.json [--variant NAME] [--dtype float16] [--folder /tmp]

The manifest maps a variant's name to {tensor name: [shape, dtype]}. The first value of every tensor is its index, so
that the check after the conversion can verify that each tensor is at its place. The fake checkpoint is a sparse file;
the converted folder takes the full size (10.5 GB for the released model) and is removed afterwards.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from nakawari.families.tooncrafter.checkpoint_layout import EXTRA
from nakawari.families.tooncrafter.convert import EXTRA_FILE, convert_checkpoint, plan
from nakawari.files import read_json, write_json

RESULT = Path(__file__).parent / "results" / "convert.json"
PUBLISHED = {
    "model.diffusion_model.": 1_438_854_980,
    "first_stage_model.": 99_941_907,
    "cond_stage_model.model.": 354_032_641,
    "embedder.model.": 683_800_065,
    "image_proj_model.": 48_787_456,
}
"""Parameters of the released model by upstream prefix."""

BLOCK = 2**16


class SparseFile:
    """A file that is sparse where zeros are written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, data: bytes) -> int:
        for start in range(0, len(data), BLOCK):
            block = bytes(data[start : start + BLOCK])
            if block.count(0) == len(block):
                self._file.seek(len(block), os.SEEK_CUR)
            else:
                self._file.write(block)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.truncate(self._file.tell())
        self._file.close()


def write_fake(manifest: dict[str, Any], path: Path) -> None:
    """Write a checkpoint with the manifest's names and shapes; zeros are never written, so they need no memory."""
    state = {}
    for number, (name, (shape, _)) in enumerate(manifest.items()):
        state[name] = torch.zeros(shape)
        state[name].view(-1)[0] = number
    file = SparseFile(path)
    torch.save({"state_dict": state}, file)
    file.close()


def _status_bytes(field: str) -> int:
    """A memory field of this process. `VmHWM`, unlike `ru_maxrss`, does not include the parent's peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def convert_measured(checkpoint: Path, output: Path, dtype: torch.dtype | None, answers: Any) -> None:
    """Convert in this process and put time and memory into `answers`."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], _status_bytes("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    report = convert_checkpoint(checkpoint, output, dtype)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    answers.put(
        {
            "seconds": round(seconds, 1),
            "peak_rss_bytes": _status_bytes("VmHWM"),
            "peak_anonymous_bytes": peak[0],
            "keys": dict(report.keys),
            "parameters": dict(report.parameters),
        }
    )


def arrived(manifest: dict[str, Any], output: Path, dtype: torch.dtype | None) -> int:
    """Number of upstream tensors at the correct place, by their first value."""
    layout = plan({name: shape for name, (shape, _) in manifest.items()})
    numbers = {name: number for number, name in enumerate(manifest)}
    count = 0
    for component, sources in layout.sources.items():
        pattern = EXTRA_FILE if component == EXTRA else f"{component}/*.safetensors"
        (path,) = output.glob(pattern)
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            for source, (name, *_) in sources.items():
                if name not in names:
                    continue
                value = torch.tensor(float(numbers[source])).to(torch.float32 if component == EXTRA else dtype)
                first = file.get_slice(name)[:1] if file.get_slice(name).get_shape() else file.get_tensor(name)
                count += first.flatten()[0].item() == value.item()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--variant", help="key of the manifest; default: the first")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--folder", type=Path, help="folder for temporary files")
    args = parser.parse_args()
    manifests = read_json(args.manifest)
    variant = args.variant or next(iter(manifests))
    manifest = manifests[variant]
    dtype = getattr(torch, args.dtype)

    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        checkpoint, output = Path(folder) / "model.ckpt", Path(folder) / "converted"
        write_fake(manifest, checkpoint)
        size = checkpoint.stat()
        print(f"{size.st_size / 1e9:.2f} GB checkpoint, {size.st_blocks * 512 / 1e6:.0f} MB on disk")
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        child = context.Process(target=convert_measured, args=(checkpoint, output, dtype, answers))
        child.start()
        child.join()
        measured = answers.get(timeout=10)
        measured["tensors"] = len(manifest)
        measured["mapped_percent"] = 100 * sum(measured["keys"].values()) / len(manifest)
        measured["arrived"] = arrived(manifest, output, dtype)
        measured["written_bytes"] = sum(path.stat().st_size for path in output.rglob("*.safetensors"))

    sizes = {name: math.prod(shape) for name, (shape, _) in manifest.items()}
    upstream = {prefix: sum(size for name, size in sizes.items() if name.startswith(prefix)) for prefix in PUBLISHED}
    result = {
        "variant": variant,
        "dtype": args.dtype,
        **measured,
        "upstream_parameters": upstream,
        "upstream_parameters_total": sum(sizes.values()),
        "matches_published": upstream == PUBLISHED,
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }
    for name, value in result.items():
        print(f"{name}: {value}")
    results = read_json(RESULT) if RESULT.exists() else {}
    write_json(RESULT, {**results, f"{variant}/{args.dtype}": result})


if __name__ == "__main__":
    main()
