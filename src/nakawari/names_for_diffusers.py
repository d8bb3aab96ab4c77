"""Makes `diffusers.DiffusionPipeline.from_pretrained(FOLDER)` find nakawari's pipelines once `nakawari` is imported.

diffusers looks up a pipeline's class by name in its own namespace. The pipelines are added there on first access;
neither diffusers nor a family is imported earlier.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

PIPELINES = {
    "ToonCrafterPipeline": "nakawari.families.tooncrafter.pipeline",
    "FramerPipeline": "nakawari.families.framer.pipeline",
    "MiniPipeline": "nakawari.families.mini.pipeline",
}
_LIBRARY = "diffusers"


def register() -> None:
    """Add `PIPELINES` to diffusers' names, now or when it is imported."""
    if _LIBRARY in sys.modules:
        _add(sys.modules[_LIBRARY])
    elif not any(isinstance(finder, _WhenImported) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenImported())


def _add(module: ModuleType) -> None:
    own = type(module)
    if getattr(own, "knows_nakawari", False):
        return

    class WithOurs(own):  # type: ignore[misc, valid-type]
        knows_nakawari = True

        def __getattr__(self, name: str) -> Any:
            if name in PIPELINES:
                return getattr(import_module(PIPELINES[name]), name)
            return super().__getattr__(name)

    module.__class__ = WithOurs


class _WhenImported(MetaPathFinder):
    """Import hook for the first import of diffusers; removes itself afterwards."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _LIBRARY:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenAdd(spec.loader)
        return spec


class _ThenAdd(Loader):
    """Loads like `loader`, then adds the pipelines' names."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        _add(sys.modules[_LIBRARY])
