"""Reference vectors: `NAKAWARI_PARITY/<family>/<name>.safetensors` with the cases in `<name>.json` beside it.

Weights are stored in float16 but exactly representable there, so `weights` raises them to float32.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

VARIABLE = "NAKAWARI_PARITY"


def parity_folder() -> Path | None:
    """The folder of all families' vectors, or None when the environment names none."""
    named = os.environ.get(VARIABLE)
    return Path(named).resolve() if named else None


def load_json(name: str, family: str = "tooncrafter") -> dict[str, Any]:
    """The page of one set of vectors: configuration, cases, tolerances. Skips the test when there is no folder."""
    folder = parity_folder()
    if folder is None:
        pytest.skip(f"{VARIABLE} is not set: no reference vectors")
    return json.loads((folder / family / f"{name}.json").read_text(encoding="utf-8"))


def load_case(name: str, family: str = "tooncrafter") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors of one set of vectors (weights under `w.`) and its page. Skips the test when there is no folder."""
    page = load_json(name, family)
    return dict(_tensors(name, family)), page


@cache
def _tensors(name: str, family: str) -> dict[str, Tensor]:
    folder = parity_folder()
    assert folder is not None
    return load_file(folder / family / f"{name}.safetensors")


def weights(tensors: Mapping[str, Tensor], prefix: str = "w.") -> dict[str, Tensor]:
    """The state dict stored under `prefix`, without the prefix, in float32."""
    return {name.removeprefix(prefix): value.float() for name, value in tensors.items() if name.startswith(prefix)}


def case_params(name: str, key: str = "cases", family: str = "tooncrafter") -> list[Any]:
    """One pytest parameter per entry of `key` on the page, its name as id; one skipped parameter without a folder.

    The entry may be a list of objects with a `name`, or a mapping whose names are the ids (given as (name, value)).
    """
    folder = parity_folder()
    if folder is None:
        reason = f"{VARIABLE} is not set: no reference vectors"
        return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]
    entries = load_json(name, family).get(key, [])
    if isinstance(entries, Mapping):
        return [pytest.param(item, id=item[0]) for item in entries.items()]
    return [pytest.param(entry, id=str(entry.get("name", index))) for index, entry in enumerate(entries)]


def assert_near(actual: Tensor, expected: Tensor, atol: float) -> None:
    """Same shape and within `atol`, absolutely; the message tells the largest error."""
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    worst = (actual.double() - expected.double()).abs().max().item()
    assert worst <= atol, f"largest error {worst:.3g}, allowed {atol:.3g}"


def frames_first(video: Tensor) -> Tensor:
    """(B, C, F, h, w) as the vectors store it -> (B, F, C, h, w); its own inverse."""
    return video.transpose(1, 2).contiguous()


__all__ = [
    "assert_near",
    "case_params",
    "frames_first",
    "load_case",
    "load_json",
    "parity_folder",
    "weights",
]
