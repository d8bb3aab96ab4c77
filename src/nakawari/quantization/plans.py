"""Plans: a precision for each layer, saved as YAML, solved from sensitivities under a budget.

A plan's `precisions` map name patterns (`*` and `?` as in file names) to precisions. The first pattern that matches a
layer counts; every layer must match a pattern, and every pattern must be used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from ..errors import UsageError
from ..files import write_text
from .layers import packable
from .precisions import check_name, fitting
from .sensitivity import Cost, Sensitivity

_KEYS = {"model", "precisions", "about"}


@dataclass(frozen=True)
class Plan:
    """`model`: fingerprint of the layers it is made for; `precisions`: pattern -> precision; `about`: how it was
    made."""

    model: str
    precisions: dict[str, str]
    about: dict[str, Any]


def fingerprint(denoiser: nn.Module) -> str:
    """SHA-256 over class, names and weight shapes of the layers that a plan covers."""
    layers = [f"{name} {tuple(layer.weight.shape)}" for name, layer in packable(denoiser).items()]
    return hashlib.sha256("\n".join([type(denoiser).__name__, *layers]).encode()).hexdigest()


def write(path: Path, plan: Plan) -> None:
    """Write the plan as YAML, atomically."""
    values = {"model": plan.model, "about": plan.about, "precisions": plan.precisions}
    write_text(path, yaml.safe_dump(values, sort_keys=False, width=120, allow_unicode=True))


def read(path: Path) -> Plan:
    """Read a plan. Raises `UsageError` if the file is not a plan."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"The plan {path} cannot be read ({' '.join(str(error).split())}); give a YAML file."
        ) from error
    if not isinstance(values, dict) or not {"model", "precisions"} <= values.keys() <= _KEYS:
        raise UsageError(
            f"{path} is not a plan; it must have model and precisions, as nakawari quantize --plan writes."
        )
    precisions = values["precisions"]
    if not isinstance(precisions, dict) or not precisions or not all(isinstance(key, str) for key in precisions):
        raise UsageError(f"The precisions in the plan {path} must map layer patterns to precisions.")
    for pattern, precision in precisions.items():
        check_name(str(precision), f"{pattern} in the plan {path}")
    return Plan(str(values["model"]), precisions, values.get("about") or {})


def resolve(plan: Plan, denoiser: nn.Module) -> dict[str, str]:
    """Layer name -> precision.

    Raises:
        UsageError: the plan is for another model, leaves a layer out, or has an unused pattern.
    """
    if plan.model != fingerprint(denoiser):
        raise UsageError(
            f"The plan is for another model: this {type(denoiser).__name__} has other layers; make a plan for it with "
            "nakawari quantize --plan."
        )
    found, used = {}, set()
    for name, layer in packable(denoiser).items():
        pattern = next((pattern for pattern in plan.precisions if fnmatchcase(name, pattern)), None)
        if pattern is None:
            raise UsageError(f"The plan leaves out {name}; end it with a line '\"*\": int8' for all the rest.")
        used.add(pattern)
        found[name] = plan.precisions[pattern]
        fits = fitting(layer, found[name])
        if found[name] != fits:
            raise UsageError(f"The plan has {found[name]} for {name}, which cannot quantize its input; write {fits}.")
    if idle := [pattern for pattern in plan.precisions if pattern not in used]:
        raise UsageError(f"The pattern {idle[0]} of the plan matches no layer that is not matched above; remove it.")
    return found


def parse_budget(words: str, whole: int) -> int:
    """`0.35x` (of `whole` bytes) or `12-MB` as bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(x|-?MB)", words.strip())
    amount = float(match[1]) if match else 0.0
    if match is None or amount <= 0:
        raise UsageError(
            f"{words!r} is not a budget; write a fraction of the fp16 size such as 0.35x, or a size such as 12-MB."
        )
    return int(amount * (whole if match[2] == "x" else 1_000_000))


def upgrades(sensitivity: Sensitivity) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The smallest assignment, and the (layer, precision) upgrades that reduce most error per byte, best first.

    Errors of different layers are assumed to add up. Each layer's upgrades lie on the lower convex hull of its costs,
    so any prefix of the list is optimal for its bytes (Lagrangian relaxation of the knapsack problem).
    """
    start, steps = {}, []
    for name, costs in sensitivity.costs.items():
        hull = _hull(costs)
        start[name] = hull[0]
        for cheap, dear in pairwise(hull):
            gain = costs[cheap].error - costs[dear].error
            steps.append((gain / (costs[dear].bytes - costs[cheap].bytes), name, dear))
    steps.sort(key=lambda step: -step[0])
    return start, [(name, precision) for _, name, precision in steps]


def _hull(costs: Mapping[str, Cost]) -> list[str]:
    """Precisions from few bytes to many, with decreasing error reduction per byte."""
    hull: list[str] = []
    for name in sorted(costs, key=lambda key: (costs[key].bytes, costs[key].error)):
        if hull and costs[name].error >= costs[hull[-1]].error:
            continue
        while len(hull) > 1 and _slope(costs, hull[-2], hull[-1]) <= _slope(costs, hull[-1], name):
            hull.pop()
        hull.append(name)
    return hull


def _slope(costs: Mapping[str, Cost], cheap: str, dear: str) -> float:
    return (costs[cheap].error - costs[dear].error) / (costs[dear].bytes - costs[cheap].bytes)


def within(sensitivity: Sensitivity, budget: int) -> dict[str, str]:
    """The assignment with the least predicted error and weights of at most `budget` bytes.

    Raises:
        UsageError: even the smallest does not fit.
    """
    chosen, steps = upgrades(sensitivity)
    size = weights_size(sensitivity, chosen)
    if size > budget:
        raise UsageError(
            f"A budget of {max(budget, 0) / 1e6:.3g} MB for the weights is too small: with these precisions they need "
            f"at least {size / 1e6:.3g} MB."
        )
    for name, precision in steps:
        extra = sensitivity.costs[name][precision].bytes - sensitivity.costs[name][chosen[name]].bytes
        if size + extra <= budget:
            chosen[name], size = precision, size + extra
    return chosen


def weights_size(sensitivity: Sensitivity, precisions: Mapping[str, str]) -> int:
    """Bytes of the packed weights."""
    return sum(sensitivity.costs[name][precision].bytes for name, precision in precisions.items())


def predicted(sensitivity: Sensitivity, precisions: Mapping[str, str]) -> float:
    """Sum of the layers' squared errors of x0."""
    return sum(sensitivity.costs[name][precision].error for name, precision in precisions.items())


def shorten(precisions: Mapping[str, str]) -> dict[str, str]:
    """The same assignment with its most frequent precision as the last pattern, `*`."""
    values = list(precisions.values())
    commonest = max(dict.fromkeys(values), key=values.count)
    return {name: value for name, value in precisions.items() if value != commonest} | {"*": commonest}
