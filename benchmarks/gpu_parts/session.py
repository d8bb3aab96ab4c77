"""What a part is told, how it times and weighs, and how it says what it found."""

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
"""A line of a part's output that begins so is a message to `benchmarks/gpu.py`; all else is log."""


@dataclass(frozen=True)
class Settings:
    """Of a whole run.

    Args:
        device: where everything is measured.
        tiny: small models and pictures: a test of these scripts, not a measurement.
        reference: a checkout of ToonCrafter's own code, to be timed beside; None = not.
    """

    device: str = "cuda"
    tiny: bool = False
    reference: str | None = None

    @property
    def cuda(self) -> bool:
        """Whether figures are those of a GPU."""
        return torch.device(self.device).type == "cuda"


class Session:
    """One part at work: it measures while its time lasts, and every figure is sent as soon as it is known.

    Args:
        settings: of the run.
        deadline: when to have ended, in seconds of `time.time()`.
        wait: called where the part has prepared and wants the device for itself.
    """

    def __init__(self, settings: Settings, deadline: float, wait: Callable[[], None] = lambda: None) -> None:
        self.settings, self.deadline, self.wait = settings, deadline, wait

    def measure(self, name: str, wants: float, function: Callable[[], Found]) -> Found | None:
        """Run one measurement where `wants` seconds are left; a failure is sent as such, and the part goes on.

        Returns: what was found; None where it was skipped or failed.
        """
        left = self.deadline - time.time()
        if left < wants * (0.1 if self.settings.tiny else 1.0):
            self.send(name, {"skipped": f"{left:.0f} s left, {wants:.0f} wanted"})
            return None
        began = time.perf_counter()
        clean()
        try:
            found = function()
        except Exception as error:  # a part must outlive what one of its measurements meets
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
    """Give back what is cached, and begin to count memory anew."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def memory() -> float:
    """Gigabytes allocated now; 0 on a CPU."""
    return torch.cuda.memory_allocated() / 1e9 if torch.cuda.is_initialized() else 0.0


def peak() -> Found:
    """Most gigabytes since `clean`: of the allocator on a GPU; resident, of the whole process, on a CPU."""
    if torch.cuda.is_initialized():
        return {
            "allocated_gb": torch.cuda.max_memory_allocated() / 1e9,
            "reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
        }
    return {"resident_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def weighed(function: Callable[[], Any]) -> Found:
    """Peak memory of one call, and how much of it came on top of what was there."""
    clean()
    before = memory()
    function()
    synchronise()
    found = peak()
    return found | ({"above_gb": found["allocated_gb"] - before} if "allocated_gb" in found else {})


def timed(function: Callable[[], Any], repeats: int = 5, warm: int = 1) -> Found:
    """Median, least and most milliseconds of a call, each between two waits for the device."""
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
