"""Checkpoints: folders `checkpoints/step-N/`, written atomically, from which a run resumes exactly.

No random state is saved: every random number is seeded from the recipe's seed and a sample's position, so the
position in the data (`step` times the batch size) is the random state.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ..errors import NakawariError
from ..files import read_json, remove, write_json
from .ema import WeightAverage
from .learning import Learning
from .tensors import load_tensors, save_tensors, whole_folder

Named = Mapping[str, torch.nn.Parameter]

_NAME = re.compile(r"step-(\d+)")
_LEFTOVER = re.compile(r"\.step-\d+\.old|\.(?P<name>[^.]+)\.[0-9a-f]{8}(\.\w+)?")
"""Names of temporaries of `atomic_path`, and of checkpoints being removed."""


def folder_of(run: Path, step: int) -> Path:
    """The folder of the checkpoint of `step`."""
    return run / "checkpoints" / f"step-{step}"


def saved_steps(run: Path) -> list[int]:
    """The steps of all complete checkpoints, ascending."""
    found = (_NAME.fullmatch(path.name) for path in (run / "checkpoints").glob("step-*"))
    return sorted(int(match[1]) for match in found if match)


def is_good(run: Path, step: int) -> bool:
    """Whether the step before a checkpoint was finite and its weights are finite."""
    folder = folder_of(run, step)
    with safe_open(folder / "weights.safetensors", "pt") as file:
        finite = all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118 - no mapping
    return finite and not read_json(folder / "state.json")["nonfinite"]


def save(
    run: Path,
    learning: Learning,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None,
    state: Mapping[str, Any],
    keep: int,
    *,
    writes: bool = True,
) -> None:
    """Write the checkpoint of `state["step"]`, whole tensors whatever is sharded, then drop all but the last `keep`.

    Args:
        writes: whether this process writes; where tensors are sharded, all processes call this, and one writes.
    """
    files = {"weights": learning.parameters, "optimizer": optimizer_tensors(optimizer, learning.parameters)}
    if average is not None:
        files["ema"] = average.shadow
    with whole_folder(folder_of(run, state["step"])) if writes else nullcontext() as folder:
        for name, tensors in files.items():
            together = learning.gathered(tensors)
            if folder is not None:
                save_tensors(folder / f"{name}.safetensors", together)
        if folder is not None:
            write_json(folder / "state.json", {**state, "optimizer": sorted(files["optimizer"])})
    if writes:
        _drop_all_but(run, keep)


def _drop_all_but(run: Path, keep: int) -> None:
    for step in saved_steps(run)[:-keep]:
        old = folder_of(run, step)
        # An interrupted removal must not look like a checkpoint.
        remove(old.rename(old.with_name(f".{old.name}.old")))


def load(
    run: Path, step: int, learning: Learning, optimizer: torch.optim.Optimizer, average: WeightAverage | None
) -> dict[str, Any]:
    """Load a checkpoint into model and optimizer in place, and return its state. Strict: every name must exist."""
    folder = folder_of(run, step)
    state = read_json(folder / "state.json")
    weights = load_tensors(folder / "weights.safetensors", learning.parameters)
    with torch.no_grad():
        for name, parameter in learning.parameters.items():
            if weights[name].shape != learning.shape(name):
                raise NakawariError(
                    f"{folder} holds {name} as {tuple(weights[name].shape)}, the model as "
                    f"{tuple(learning.shape(name))}; resume with the recipe that the run was started with."
                )
            parameter.copy_(learning.share(name, weights[name]))
    _load_optimizer(folder / "optimizer.safetensors", optimizer, learning, state["optimizer"])
    if average is not None:
        shadow = load_tensors(folder / "ema.safetensors", learning.parameters)
        average.load({name: learning.share(name, value) for name, value in shadow.items()})
    return state


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: Named) -> dict[str, Tensor]:
    """The optimizer's state as `parameter/entry` -> tensor."""
    return {
        f"{name}/{key}": value
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _load_optimizer(path: Path, optimizer: torch.optim.Optimizer, learning: Learning, entries: list[str]) -> None:
    tensors = load_tensors(path, entries)
    saved: dict[str, dict[str, Tensor]] = {}
    for entry, tensor in tensors.items():
        name, _, key = entry.rpartition("/")
        saved.setdefault(name, {})[key] = tensor
    names = {parameter: name for name, parameter in learning.parameters.items()}
    order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    if unknown := set(saved) - set(order):
        raise NakawariError(
            f"{path} holds state of {min(unknown)}, which this run does not train; resume with its own recipe."
        )
    values = optimizer.state_dict()
    values["state"] = {
        # Beside tensors of the parameter's shape there is the count of steps.
        place: {key: learning.share(name, value) if value.ndim else value for key, value in saved[name].items()}
        for place, name in enumerate(order)
        if name in saved
    }
    optimizer.load_state_dict(values)


def sweep(run: Path) -> None:
    """Clean up after a killed process: remove temporaries, restore a folder that was renamed for replacement."""
    for parent in (run, run / "checkpoints", run / "samples"):
        for path in parent.glob(".*"):
            match = _LEFTOVER.fullmatch(path.name)
            if match and match["name"] and path.suffix == ".old" and not (parent / match["name"]).exists():
                path.rename(parent / match["name"])
            elif match:
                remove(path)
