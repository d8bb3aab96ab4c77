"""The columns of the cost table: their values in a cost record, and their format."""

from __future__ import annotations

from typing import Any


def median_ms(cost: dict[str, Any] | None) -> float | None:
    return (cost or {}).get("ms_per_frame", {}).get("median")


def evaluations(cost: dict[str, Any] | None) -> float | None:
    return (cost or {}).get("network_evaluations")


BRIEF_COSTS = (
    ("ms_per_frame", "ms per frame", median_ms, 1),
    ("network_evaluations", "Network evaluations per clip", evaluations, 0),
)


def _at(*path: str, scale: float = 1.0, decimals: int = 1, unit: str = "") -> Any:
    """Reads one number of a cost record, as (text, raw value)."""

    def read(cost: dict[str, Any]) -> tuple[str, float | None]:
        value: Any = cost
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return ("", None) if value is None else (f"{value / scale:,.{decimals}f}{unit}", value)

    return read


def _word(key: str) -> Any:
    def read(cost: dict[str, Any]) -> tuple[str, str | None]:
        value = cost.get(key)
        return ("", None) if value is None else (str(value), str(value))

    return read


COSTS = (
    ("ms_per_frame_median", "ms per frame, median", "lower", _at("ms_per_frame", "median")),
    ("ms_per_frame_p95", "ms per frame, p95", "lower", _at("ms_per_frame", "p95")),
    ("network_evaluations", "Network evaluations per clip", "lower", _at("network_evaluations", decimals=0)),
    ("allocated_bytes", "Peak GPU memory allocated (MiB)", "lower", _at("memory", "allocated", scale=2**20)),
    ("reserved_bytes", "Peak GPU memory reserved (MiB)", "lower", _at("memory", "reserved", scale=2**20)),
    ("peak_rss_bytes", "Peak resident memory (MiB)", "lower", _at("peak_rss", scale=2**20)),
    ("parameters", "Parameters (M)", "lower", _at("parameters", scale=1e6, decimals=2)),
    ("denoiser_parameters", "of the denoiser (M)", "lower", _at("denoiser_parameters", scale=1e6, decimals=2)),
    ("bytes_on_disk", "On disk (MiB)", "lower", _at("bytes_on_disk", scale=2**20)),
    ("load_seconds", "Load (s)", "lower", _at("load_seconds", decimals=2)),
    ("guidance", "Guidance", "", _word("guidance")),
    ("precision", "Precision", "", _word("precision")),
    ("device", "Device", "", _word("device")),
)
