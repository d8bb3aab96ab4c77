"""The settings of the Draw page, checked against the available choices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from ..interpolation.cuts import ON_CUT
from ..interpolation.plan import MAX_BETWEEN
from ..interpolation.spacing import SPACINGS
from .models import adapter_choices, model_choices, precision_choices
from .strip import shares_of
from .work import Asked, Work

SETTINGS = (
    *("model", "adapter", "scale", "precision", "steps", "seed", "prompt"),
    *("exposure", "fps", "loop", "parts", "on_cut"),
)
_RANGES = {"scale": (0, 4), "steps": (0, 1000), "seed": (0, 2**31), "exposure": (1, 100), "fps": (1, 120)}
_WHOLE = ("steps", "seed", "exposure")
LONGEST_PROMPT = 2000


def put_settings(work: Work, asked: Asked, values: Mapping[str, Any]) -> None:
    """Set values of `SETTINGS`, `between` and `spacing`; None restores the default.

    Raises:
        UsageError: an unknown name or value; nothing is changed then.
    """
    plain, good = Asked(), dict[str, Any]()
    for name, value in values.items():
        counts = good.get("between", asked.between)
        good[name] = getattr(plain, name, None) if value is None else _checked(work, counts, name, value)
    for name, value in good.items():
        setattr(asked, name, value)


def _checked(work: Work, counts: list[int], name: str, value: Any) -> Any:
    if name in _RANGES:
        return _number(name, value)
    if name in ("loop", "parts") and isinstance(value, bool):
        return value
    if name == "on_cut" and value in ON_CUT:
        return value
    if name == "prompt" and isinstance(value, str):
        return value[:LONGEST_PROMPT]
    if name in ("between", "spacing"):
        return _timing(counts, name, value)
    choices = {"model": model_choices, "adapter": adapter_choices}
    if name == "precision" and value in [own for _, own in precision_choices()]:
        return value
    if name in choices and value in [own for _, own in choices[name](work)]:
        return value
    raise UsageError(f"{str(value)[:80]!r} is not a choice for {str(name)[:40]}; choose one from the list.")


def _number(name: str, value: Any) -> Any:
    low, high = _RANGES[name]
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
        raise UsageError(f"The {name} must be between {low} and {high}.")
    whole = int(value) if name in _WHOLE else float(value)
    return None if name == "steps" and whole == 0 else whole


def _timing(counts: list[int], name: str, value: Any) -> list[Any]:
    gaps = len(counts)
    if not isinstance(value, list) or len(value) != gaps:
        raise UsageError(f"There are {gaps} gaps; give {name} as a list of {gaps} values.")
    if name == "between":
        if not all(type(one) is int and 0 <= one <= MAX_BETWEEN for one in value):
            raise UsageError(f"Give one number of in-betweens per gap, from 0 to {MAX_BETWEEN}.")
        return value
    return [
        own if isinstance(own, str) and own in SPACINGS else shares_of(own, count)
        for own, count in zip(value, counts, strict=True)
    ]
