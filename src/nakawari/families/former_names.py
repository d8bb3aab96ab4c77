"""Where classes stand that earlier revisions saved under another name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MODULES = {"nakawari.families.motion": "nakawari.guide.motion"}


def present(index: Mapping[str, Any]) -> dict[str, Any]:
    """What a `model_index.json` says, each component under the module that holds its class now."""
    return {name: _component(value) for name, value in index.items()}


def _component(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return [_MODULES.get(value[0], value[0]), value[1]]
    return value
