"""Measure the cost of a variant with the settings of its quality run: time, network evaluations, memory, size.

Time is wall time of whole calls, after warm-up, with the device synchronised before and after. On a GPU the memory is
the allocator's peak during the timed calls; on a CPU it is the peak resident size of a fresh process that loads the
variant and draws one clip. `load` is the processor share of other processes meanwhile: times under
load are marked, and the report excludes them from comparisons.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ..adapters import adapter_folder
from ..errors import NakawariError
from ..families.adapter_files import PEFT_WEIGHTS, WEIGHTS
from ..provenance import git_revision, machine, packages
from ..quantization.layers import parameter_count
from ..variants import SMALL, TURBO, load, model_folder, parse
from .contestants import Model, Task
from .load import others, peak_rss
from .protocol import Protocol

WARM_UP = 1
REPEATS = 5


def measure(
    model: Model, task: Task, protocol: Protocol, *, warm_up: int = WARM_UP, repeats: int = REPEATS
) -> dict[str, Any]:
    """Cost of drawing one clip at a time; JSON-ready.

    `ms_per_frame` is per in-between. `network_evaluations` counts the samples evaluated by the denoiser
    per clip; a batch of two for guidance counts as two. Guidance is the protocol's unless `cost_guidance` is
    set; `guidance` in the result records it.
    """
    settings = protocol
    if protocol.cost_guidance is not None:
        settings = protocol.model_copy(update={"guidance": protocol.cost_guidance})
    pipeline, device = model.pipeline, _device(model.pipeline)
    for _ in range(warm_up):
        model.draw([task], settings, protocol.seeds[0])
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with counted(pipeline.denoiser) as evaluations, others() as load:
        seconds = [_timed(model, task, settings, device) for _ in range(repeats)]
    made = task.num_frames - 2
    each = 1000 * np.array(seconds) / made
    return {
        "ms_per_frame": {"median": float(np.median(each)), "p95": float(np.percentile(each, 95))},
        "seconds_per_clip": float(np.median(seconds)),
        "frames_made": made,
        "size": [task.keys.shape[2], task.keys.shape[1]],
        "network_evaluations": evaluations[0] / repeats,
        "guidance": settings.guidance,
        "precision": settings.precision,
        "warm_up": warm_up,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "load": round(load[0], 3) if load else None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "memory": _gpu_memory(device),
        **size_of(pipeline),
        **_saved(model, task, settings, device),
        "packages": packages(),
        "git": git_revision(),
        "machine": machine(),
    }


def _saved(model: Model, task: Task, protocol: Protocol, device: torch.device) -> dict[str, Any]:
    """Measurements on the variant's files: size on disk, and on a CPU load time and peak resident size."""
    if model.source is None:
        return {}
    found: dict[str, Any] = {"bytes_on_disk": variant_bytes(model.source)}
    if device.type == "cpu":
        found |= fresh_process(model.source, (task.keys.shape[2], task.keys.shape[1]), protocol)
    return found


def _device(pipeline: Any) -> torch.device:
    return torch.device(getattr(pipeline, "device", "cpu"))


def _timed(model: Model, task: Task, protocol: Protocol, device: torch.device) -> float:
    _synchronise(device)
    start = time.perf_counter()
    model.draw([task], protocol, protocol.seeds[0])
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _gpu_memory(device: torch.device) -> dict[str, int] | None:
    """Peak bytes allocated and reserved since the last reset; None on a CPU."""
    if device.type != "cuda":
        return None
    return {
        "allocated": torch.cuda.max_memory_allocated(device),
        "reserved": torch.cuda.max_memory_reserved(device),
    }


@contextmanager
def counted(network: torch.nn.Module) -> Iterator[list[int]]:
    """Count the samples evaluated by a network inside the block: `[n]`, calls times batch."""
    count = [0]

    def note(_: Any, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        tensors = (value for value in (*inputs, *keywords.values()) if isinstance(value, torch.Tensor))
        first = next(tensors, None)
        count[0] += 1 if first is None or first.ndim == 0 else len(first)

    handle = network.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield count
    finally:
        handle.remove()


def size_of(pipeline: Any) -> dict[str, Any]:
    """Parameters and bytes in memory, in total and per component, and the parameters of the denoiser.

    A packed weight counts with its number of parameters and with its packed bytes.
    """
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return {
        "parameters": sum(parameter_count(part) for part in parts.values()),
        "denoiser_parameters": parameter_count(pipeline.denoiser),
        "bytes": sum(_bytes(part) for part in parts.values()),
        "parts": {name: {"parameters": parameter_count(part), "bytes": _bytes(part)} for name, part in parts.items()},
    }


def _bytes(module: torch.nn.Module) -> int:
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def variant_bytes(variant: str) -> int:
    """Bytes on disk of a variant's model folder and its adapters' folders."""
    spec = parse(variant)
    base = model_folder(spec.base)
    # The base's own few-step adapter and smaller student count only if they are used.
    files = [file for file in base.rglob("*") if not {base / TURBO, base / SMALL} & set(file.parents)]
    for use in spec.adapters:
        inside = adapter_folder(use.folder).rglob("*")
        # The layouts of diffusers and of PEFT hold the same adapter.
        files += [file for file in inside if file.name != PEFT_WEIGHTS or not (file.parent / WEIGHTS).is_file()]
    return sum(file.stat().st_size for file in files if file.is_file())


def fresh_process(variant: str, task_size: tuple[int, int], protocol: Protocol) -> dict[str, float]:
    """Load time (s) and peak resident size (bytes) of a new process that loads a variant and draws one clip.

    Args:
        variant: in command-line notation.
        task_size: width and height of the keys.
        protocol: settings of the call.

    Raises:
        NakawariError: the process failed.
    """
    words = [sys.executable, "-m", "nakawari.evaluation.efficiency", variant, f"{task_size[0]}x{task_size[1]}"]
    done = subprocess.run(words, input=protocol.to_yaml(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise NakawariError(f"Measuring {variant} in a fresh process failed: {done.stderr.strip()[-300:]}")
    seconds, peak = done.stdout.split()[-2:]
    return {"load_seconds": float(seconds), "peak_rss": float(peak)}


def _fresh(variant: str, size: str, text: str) -> str:
    """The work of the fresh process; returns load seconds and peak bytes."""
    import yaml

    protocol = Protocol.model_validate(yaml.safe_load(text))
    start = time.perf_counter()
    model = Model(variant, load(variant).pipeline)
    seconds = time.perf_counter() - start
    width, height = map(int, size.split("x"))
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    keys = np.broadcast_to(ramp[None, None, :, None], (2, height, width, 3)).copy()
    task = Task("ramp", keys, keys[:1], protocol.num_frames or 3, (0.5,))
    model.draw([task], protocol, 0)
    return f"{seconds:.3f} {peak_rss()}"


if __name__ == "__main__":
    sys.stdout.write(_fresh(sys.argv[1], sys.argv[2], sys.stdin.read()) + "\n")
