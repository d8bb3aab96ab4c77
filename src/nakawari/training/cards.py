"""The training section of a model card: recipe, data, validation scores, base and licence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import NakawariError
from ..families.cards import add_section, front_matter
from ..variants import SHIPPED, model_folder, parse
from .recipe import Recipe, load_recipe

TITLE = "Training"
OWN_LICENSE = "apache-2.0"
"""Licence of the shipped models, the same as that of the code."""


def describe_training(
    folder: Path, recipe: Recipe, run: Path, step: int, scores: Mapping[str, float | None], drawings: int
) -> None:
    """Write the training section into the card of `folder`.

    Args:
        recipe: of the run.
        run: its folder, whose `recipe.yaml` holds the version and the data fingerprint.
        step: optimizer steps of the saved weights.
        scores: of the validation at that step; {} without one.
        drawings: number of training pictures, as listed in `trained_on.json`.
    """
    written = run / "recipe.yaml"
    provenance = (load_recipe(written).provenance if written.is_file() else None) or {}
    base = _base(recipe)
    about: dict[str, Any] = {}
    if base:
        about["base_model"] = base
        if terms := _license(base):
            about["license"] = terms
    add_section(folder, TITLE, _text(recipe, provenance, base, step, scores, drawings), about)


def _base(recipe: Recipe) -> str | None:
    """The variant that training started from, or the teacher of a student; None for new weights."""
    model = recipe.model
    return model.base or (model.student.of if model.student else None)


def _license(base: str) -> str | None:
    """The licence that the card of a base states."""
    name = parse(base).base
    if name.partition("/")[0] in SHIPPED:
        return OWN_LICENSE
    try:
        found = front_matter(model_folder(name)).get("license")
    except NakawariError:
        return None
    return str(found) if found else None


def _text(
    recipe: Recipe,
    provenance: Mapping[str, Any],
    base: str | None,
    step: int,
    scores: Mapping[str, float | None],
    drawings: int,
) -> str:
    version, commit = provenance.get("packages", {}).get("nakawari"), provenance.get("git")
    chosen = f", the best by {recipe.validation.metric}" if scores else ""
    facts = {
        "base model": f"`{base}`" if base else "none, new weights",
        "what was minimised": f"`{recipe.objective.kind}`",
        "steps": f"{step:,} of {recipe.optim.steps:,}{chosen}",
        "fingerprint of the data": f"`{provenance['data']}`" if provenance.get("data") else None,
        "training pictures": f"{drawings:,}, by SHA-256 in `trained_on.json`" if drawings else "none from files",
        "made by": f"nakawari {version}" + (f", commit `{commit}`" if commit else "") if version else None,
    }
    rows = "\n".join(f"| {name} | {fact} |" for name, fact in facts.items() if fact)
    values = recipe.model_dump(mode="json", exclude={"provenance"})
    return f"""| | |
| --- | --- |
{rows}

The licence is that of the base and of the training pictures, as far as these apply to a trained model.

### Validation

{_scores(recipe, scores)}

### Recipe

```yaml
{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}```"""


def _scores(recipe: Recipe, scores: Mapping[str, float | None]) -> str:
    if not scores:
        return "None: the weights are those of the last step."
    rows = "\n".join(
        f"| {name} | {'not finite' if value is None else f'{value:.6g}'} |" for name, value in scores.items()
    )
    return (
        f"Means over the {recipe.validation.samples:,} samples held out from training, by which the step "
        f"was chosen: scores on other samples may be lower.\n\n| score | value |\n| --- | ---: |\n{rows}"
    )
