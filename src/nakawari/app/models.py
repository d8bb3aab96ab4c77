"""Which models, adapters and precisions a user can choose."""

from __future__ import annotations

from pathlib import Path

import yaml

from ..errors import NakawariError
from ..files import read_json
from ..variants import PRECISIONS, SHIPPED, model_folder
from .work import USERS, Work

MODELS, ADAPTERS = "models", "adapters"
WEIGHTS = "pytorch_lora_weights.safetensors"
"""Same as `adapters.WEIGHTS`; importing that module would import PyTorch, which this process does not need."""
RECIPE = "recipe.yaml"
"""File in a run's folder that names the base model."""
AS_SAVED = ("as saved", "")


def model_choices(work: Work) -> list[tuple[str, str]]:
    """(label, name): bundled models, then model folders below `models/` in the work folder."""
    found = [(name, name) for name in SHIPPED]
    small = [("mini/small (faster)", "mini/small")]
    own = sorted((work.works.root / MODELS).glob("*/model_index.json"))
    return [found[0], *small, *found[1:], *((file.parent.name, str(file.parent)) for file in own)]


def adapter_choices(work: Work) -> list[tuple[str, str]]:
    """(label, folder): none, the user's runs, then folders below `adapters/` in the work folder."""
    own = [folder for folder in sorted(work.folder.glob("teach/*/best")) if (folder / WEIGHTS).is_file()]
    shared = [file.parent for file in sorted((work.works.root / ADAPTERS).rglob(WEIGHTS))]
    named = [(f"taught: {folder.parent.name}", str(folder.parent.relative_to(work.folder))) for folder in own]
    return [("none", ""), *named, *((_label(folder), str(folder)) for folder in shared if USERS not in folder.parts)]


def bases_of(work: Work, adapter: str) -> list[tuple[str, str]]:
    """The `model_choices` that an adapter fits: the base that its run names, else all; the command line then reports
    a mismatch."""
    folder, models = work.folder / adapter, model_choices(work)
    said = next((file for file in (folder / RECIPE, folder.parent / RECIPE) if file.is_file()), None)
    try:
        base = yaml.safe_load(said.read_text(encoding="utf-8"))["model"]["base"] if said else None
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError):
        base = None
    return [one for one in models if one[1] == base] or models


def _label(folder: Path) -> str:
    return folder.parent.name if folder.name == "best" else folder.name


def precision_choices() -> list[tuple[str, str]]:
    """(label, precision)."""
    return [AS_SAVED, *((name, name) for name in PRECISIONS)]


def reads_words(model: str) -> bool:
    """Whether a model has a text encoder and therefore takes a prompt."""
    try:
        index = read_json(model_folder(model) / "model_index.json")
    except NakawariError:
        return False
    return bool((index.get("text_encoder") or [None])[0])
