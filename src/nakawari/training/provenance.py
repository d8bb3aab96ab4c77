"""Where a run came from: package versions, git revision, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("nakawari", "torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy")


def provenance(data: str | None) -> dict[str, Any]:
    """What `recipe.yaml` records beside the recipe; `data` is the fingerprint of the training data."""
    return {"packages": packages(), "git": git_revision(), "machine": machine(), "data": data}


def packages() -> dict[str, str]:
    """Versions of the packages that decide the numbers; absent ones are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """The commit of the working folder, `+changes` when tracked files differ from it; None outside a repository."""
    revision = _git("rev-parse", "HEAD")
    if revision is None:
        return None
    return f"{revision}+changes" if _git("status", "--porcelain", "--untracked-files=no") else revision


def machine() -> dict[str, Any]:
    """System, processor count and accelerator."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "accelerator": accelerator,
    }


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, cwd=Path.cwd(), timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
