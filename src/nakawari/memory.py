"""Memory: free amounts, and one-sentence errors when it runs out, on CPU or GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import NakawariError

if TYPE_CHECKING:
    import torch

_GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_GROUP_USE = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")
_UNITS = {"": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SAYS_SO = re.compile(
    r"out of memory|DefaultCPUAllocator|can't allocate memory|cannot allocate memory|not enough memory|"
    r"unable to allocate|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
_AMOUNT = re.compile(r"allocate(?: memory: you tried to allocate)? ([\d.]+) ?([KMGT]iB|bytes)", re.IGNORECASE)


class OutOfMemoryError(NakawariError):
    """The operation needs more memory than available."""


def ran_out(error: BaseException) -> bool:
    """Whether an error of Python, NumPy, safetensors or torch, on any device, means that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, (RuntimeError, OSError)) and _SAYS_SO.search(str(error)) is not None


def wanted(error: BaseException) -> int | None:
    """Bytes of the failed allocation, if the error contains them."""
    match = _AMOUNT.search(str(error))
    return None if match is None else int(float(match[1]) * _UNITS[match[2]])


def free(device: torch.device | str = "cpu") -> int:
    """Free bytes on `device`; for a CPU, within the limits of a container."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return min([psutil.virtual_memory().available, *_left_in_group()])


def used() -> int:
    """Bytes used by this process: the peak on the GPU if it computes there, else CPU memory."""
    import psutil
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return psutil.Process().memory_info().rss


def _left_in_group() -> Iterator[int]:
    for limit, use in zip(_GROUP_LIMITS, _GROUP_USE, strict=True):
        try:
            yield max(0, int(Path(limit).read_text()) - int(Path(use).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue


def words(size: float) -> str:
    """A size in bytes, human-readable."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


@contextmanager
def guarded(doing: str, advice: str, device: torch.device | str = "cpu") -> Iterator[None]:
    """Turn out-of-memory errors inside the block into one sentence.

    Args:
        doing: the operation, such as "drawing 16 frames of 512x320".
        advice: how to reduce memory, as an imperative without a full stop.
        device: the device to report the memory of.

    Raises:
        OutOfMemoryError: replaces the original error.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        if not ran_out(error):
            raise
        piece = wanted(error)
        more = "" if piece is None else f"; {words(piece)} more were needed, {words(_left(device))} are free"
        raise OutOfMemoryError(f"Memory of the {_name(device)} ran out while {doing}{more}: {advice}.") from error


def _name(device: torch.device | str) -> str:
    return "GPU" if str(device).startswith("cuda") else "CPU"


def _left(device: torch.device | str) -> int:
    try:
        return free(device)
    except (RuntimeError, AssertionError):  # a GPU that no longer responds
        return 0
