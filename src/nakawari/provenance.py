"""Provenance of a run: package versions, git revision, machine."""

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
    """The provenance recorded in `recipe.yaml`; `data` is the fingerprint of the training data."""
    return {"packages": packages(), "git": git_revision(), "machine": machine(), "data": data}


def packages() -> dict[str, str]:
    """Versions of the packages that affect results; missing ones are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision(package: Path = Path(__file__).parent) -> str | None:
    """The commit of this code, with `+changes` if tracked files differ from it.

    None if the code was installed from a package, whose version is in `packages`: a repository around the current
    folder or environment is another project.

    Args:
        package: a folder of the code.
    """
    if _git(package, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    revision = _git(package, "rev-parse", "HEAD")
    if revision is None:
        return None
    changed = _git(package, "status", "--porcelain", "--untracked-files=no", "--", ":/")
    return f"{revision}+changes" if changed else revision


def machine() -> dict[str, Any]:
    """System, processor count and accelerator."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "accelerator": accelerator,
    }


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, cwd=folder, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
