"""Memory settings for a model on one device, from the fastest to the smallest, and the first that fits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from ..errors import NakawariError, UsageError
from ..families.adapter_files import PEFT_WEIGHTS, WEIGHTS
from ..memory import words
from ..variants import parse, with_precision
from ..weights import header
from .empty import empty_pipeline
from .need import OFFLOADS, Need, Offload, Size, needs_of

_SHARE = {"cpu": 0.6, "cuda": 0.45}
"""Assumed speed of a whole network relative to a single convolution; only the printed time depends on it."""


@dataclass(frozen=True)
class Way:
    """One combination of memory settings.

    Args:
        model: the variant, its precision included.
        device: cpu or cuda.
        together: whether guidance runs its branches in one batch.
        offload: what is offloaded to CPU memory.
        decode_chunk: frames decoded at once, for families that can; None = all.
        need: peak bytes on the device.
        parts: network -> bytes of weights.
        made: phase -> bytes of tensors allocated.
        flops: FLOPs of one clip.
    """

    model: str
    device: str
    together: bool
    offload: Offload
    decode_chunk: int | None
    need: int
    parts: dict[str, int]
    made: dict[str, int]
    flops: int

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def ways(model: str, size: Size, steps: int, device: str, offloads: tuple[Offload, ...] | None = None) -> Iterator[Way]:
    """Every combination, fastest first; one precision after another, starting with the named or saved one.

    Args:
        model: a variant; a precision in its name is kept.
        offloads: the allowed ones; None = all that the device supports.
    """
    allowed = offloads or (OFFLOADS if device == "cuda" else ("none",))
    for name in _precisions(model, device):
        pipeline = empty_pipeline(name, device)
        extra = adapter_bytes(name)
        for chunk, counted in needs_of(pipeline, size, (None, 4, 1) if pipeline.family == "framer" else (None,)):
            need = replace(counted, weights={**counted.weights, "adapters": extra}) if extra else counted
            for offload in (one for one in allowed if one != "sequential"):
                for together in (True, False)[size.branches == 1 :]:
                    yield _way(name, need, device, steps, together, offload, chunk)
    if "sequential" in allowed:
        yield _way(name, need, device, steps, False, "sequential", chunk)


def adapter_bytes(name: str) -> int:
    """Bytes of a variant's adapters, which are kept in float32."""
    files = (file for use in parse(name).adapters for file in use.folder.rglob("*.safetensors"))
    # An adapter saved in both layouts is loaded once.
    files = (file for file in files if file.name != PEFT_WEIGHTS or not file.with_name(WEIGHTS).exists())
    return sum(4 * tensor.count for file in files for tensor in header(file).values())


def _way(name: str, need: Need, device: str, steps: int, together: bool, offload: Offload, chunk: int | None) -> Way:
    peak = need.peak(device, together=together, offload=offload)
    made = {phase: work.peak for phase, work in need.phases.items()}
    return Way(name, device, together, offload, chunk, peak, dict(need.weights), made, need.flops(steps))


def _precisions(model: str, device: str) -> list[str]:
    """The variant as named, then in lower precisions if the name has none."""
    if parse(model).precision is not None:
        return [model]
    from ..variants import QUANTIZED, model_folder
    from ..weights import saved_formats

    folder = model_folder(parse(model).base)
    if (folder / QUANTIZED).is_file():
        return [model]
    whole = torch.float32 in saved_formats(folder).values()
    half = ["bf16" if device == "cpu" else "fp16"] if whole else []
    return [model, *(with_precision(model, precision) for precision in (*half, "int8"))]


def choose(
    model: str, size: Size, steps: int, device: str, memory: int, offloads: tuple[Offload, ...] | None = None
) -> Way:
    """The fastest combination that needs at most `memory` bytes.

    Raises:
        NakawariError: even the smallest does not fit.
    """
    smallest: Way | None = None
    for way in ways(model, size, steps, device, offloads):
        if way.need <= memory:
            return way
        if smallest is None or way.need < smallest.need:
            smallest = way
    assert smallest is not None
    raise NakawariError(
        f"{size.frames} frames of {size.width}x{size.height} do not fit into {words(memory)} with {model}: the "
        f"smallest setting ({smallest.model}, offload {smallest.offload}) takes {words(smallest.need)}; give a smaller "
        "--size, fewer frames, or more --memory."
    )


def parse_memory(text: str) -> int:
    """`8GB`, `7.5 GB` or `900MB` in bytes. Raises `UsageError`."""
    number, unit = text.strip().upper().removesuffix("B").strip(), text.strip().upper()
    try:
        amount = float(number.rstrip("GM"))
    except ValueError:
        amount = 0.0
    if amount <= 0 or not unit.endswith(("GB", "MB")):
        raise UsageError(f"{text!r} is not an amount of memory; write for example 8GB or 900MB.")
    return int(amount * (1e9 if unit.endswith("GB") else 1e6))


def seconds_of(way: Way) -> float:
    """Estimated seconds per clip on this machine."""
    dtype = {"fp32": torch.float32}.get(parse(way.model).precision or "")
    return way.flops / speed(way.device, dtype or (torch.bfloat16 if way.device == "cpu" else torch.float16))


@torch.no_grad()
def speed(device: str, dtype: torch.dtype) -> float:
    """Estimated FLOPs per second of a network, from the measured speed of one convolution."""
    layer = torch.nn.Conv2d(320, 320, 3, padding=1, device=device, dtype=dtype)
    picture = torch.zeros(4, 320, 40, 64, device=device, dtype=dtype)
    layer(picture)
    begin, runs = time.perf_counter(), 0
    while runs < 2 or time.perf_counter() - begin < 0.2:
        layer(picture).sum().item()
        runs += 1
    return _SHARE[device] * runs * 2 * 9 * 320 * 320 * 4 * 40 * 64 / (time.perf_counter() - begin)
