"""What the card of a trained model says of its training: recipe, data, scores of validation, base and licence."""

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
"""Of the models that ship, as of the code."""


def describe_training(
    folder: Path, recipe: Recipe, run: Path, step: int, scores: Mapping[str, float | None], drawings: int
) -> None:
    """Write into the card of `folder` how it was trained.

    Args:
        recipe: of the run.
        run: its folder, whose `recipe.yaml` says by which version and on which data.
        step: how many steps the saved weights have had.
        scores: of the validation at that step; {} where there was none.
        drawings: how many pictures it has seen, as `trained_on.json` lists them.
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
    """The variant that training started from, or that a student was made of; None for new weights."""
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
        "drawings seen": f"{drawings:,}, by SHA-256 in `trained_on.json`" if drawings else "none of a file",
        "made by": f"nakawari {version}" + (f", commit `{commit}`" if commit else "") if version else None,
    }
    rows = "\n".join(f"| {name} | {fact} |" for name, fact in facts.items() if fact)
    values = recipe.model_dump(mode="json", exclude={"provenance"})
    return f"""| | |
| --- | --- |
{rows}

The licence is that of the base and of the drawings, as far as they bind what was learnt from them.

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
        f"Means over the {recipe.validation.samples:,} samples that were held out while training, by which the step "
        f"was chosen: scores on other samples may be lower.\n\n| score | value |\n| --- | ---: |\n{rows}"
    )
