"""Settings, timing, memory measurement and messages of a part."""

from __future__ import annotations

import gc
import json
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Found = dict[str, Any]
MARK = "@@gpu "
"""Prefix of output lines that are messages to `benchmarks/gpu.py`; all others are log."""


@dataclass(frozen=True)
class Settings:
    """Settings of a whole run.

    Args:
        device: measured device.
        tiny: small models and images, to test these scripts.
        reference: a checkout of ToonCrafter's code, to time for comparison; None = none.
    """

    device: str = "cuda"
    tiny: bool = False
    reference: str | None = None

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU."""
        return torch.device(self.device).type == "cuda"


class Session:
    """A running part: measures until its deadline, and sends every result immediately.

    Args:
        settings: of the run.
        deadline: end in seconds of `time.time()`.
        wait: called when the part is prepared and needs the device alone.
    """

    def __init__(self, settings: Settings, deadline: float, wait: Callable[[], None] = lambda: None) -> None:
        self.settings, self.deadline, self.wait = settings, deadline, wait

    def measure(self, name: str, wants: float, function: Callable[[], Found]) -> Found | None:
        """Run one measurement if `wants` seconds are left; a failure is sent as such, and the part continues.

        Returns: the result; None if it was skipped or failed.
        """
        left = self.deadline - time.time()
        if left < wants * (0.1 if self.settings.tiny else 1.0):
            self.send(name, {"skipped": f"{left:.0f} s left, {wants:.0f} wanted"})
            return None
        began = time.perf_counter()
        clean()
        try:
            found = function()
        except Exception as error:  # a part must survive a failed measurement
            traceback.print_exc()
            failed = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            self.send(name, {"failed": failed, "took_s": round(time.perf_counter() - began, 1)})
            return None
        finally:
            clean()
        self.send(name, found | {"took_s": round(time.perf_counter() - began, 1)})
        return found

    def send(self, name: str, found: Found) -> None:
        """One message for `benchmarks/gpu.py`."""
        send({"name": name, "found": found})


def send(message: Found) -> None:
    """Write one message line."""
    sys.stdout.write(f"\n{MARK}{json.dumps(message)}\n")
    sys.stdout.flush()


def synchronise() -> None:
    """Wait for the device."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def clean() -> None:
    """Release cached memory, and reset the peak."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def memory() -> float:
    """Gigabytes allocated now; 0 on a CPU."""
    return torch.cuda.memory_allocated() / 1e9 if torch.cuda.is_initialized() else 0.0


def peak() -> Found:
    """Peak gigabytes since `clean`: of the allocator on a GPU; resident memory of the process on a CPU."""
    if torch.cuda.is_initialized():
        return {
            "allocated_gb": torch.cuda.max_memory_allocated() / 1e9,
            "reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
        }
    return {"resident_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def weighed(function: Callable[[], Any]) -> Found:
    """Peak memory of one call, and its increase over the memory before."""
    clean()
    before = memory()
    function()
    synchronise()
    found = peak()
    return found | ({"above_gb": found["allocated_gb"] - before} if "allocated_gb" in found else {})


def timed(function: Callable[[], Any], repeats: int = 5, warm: int = 1) -> Found:
    """Median, minimum and maximum milliseconds of a call, with device synchronization."""
    for _ in range(warm):
        function()
    spent = []
    for _ in range(repeats):
        synchronise()
        began = time.perf_counter()
        function()
        synchronise()
        spent.append(1000 * (time.perf_counter() - began))
    return {"ms": statistics.median(spent), "ms_min": min(spent), "ms_max": max(spent), "repeats": repeats}
