"""Write the scores of an evaluation into the cards of the evaluated models and adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..adapters import adapter_folder
from ..errors import NakawariError
from ..evaluation.identity import identity_of
from ..families.cards import CARD, add_section
from ..variants import SHIPPED, load, model_folder, parse
from .contents import differences, quality
from .results import Evidence, Row, load_evidence
from .tables import Table, markdown

TITLE = "Evaluation"


def write_scores(results: Sequence[Path]) -> list[Path]:
    """Write the scores of every evaluated model into the card of its folder: of its last adapter, or of its base.

    Shipped models and missing folders are skipped. Of several rows with one folder the last one is written.

    Raises:
        NakawariError: a folder holds other weights than those that were evaluated.
    """
    evidence = load_evidence(results)
    changed = []
    for row in evidence.models:
        folder = _folder(row.name)
        if folder is not None:
            _check_same(row, folder)
            add_section(folder, TITLE, _text(evidence, row))
            changed.append(folder / CARD)
    return list(dict.fromkeys(changed))


def _folder(variant: str) -> Path | None:
    spec = parse(variant)
    used = [use.folder for use in spec.adapters if use.scale]
    if not used and spec.base.partition("/")[0] in SHIPPED:
        return None
    try:
        return adapter_folder(used[-1]) if used else model_folder(spec.base)
    except NakawariError:
        return None


def _check_same(row: Row, folder: Path) -> None:
    """Check that the folder still holds the evaluated weights, by hashing them again."""
    evaluated = row.entry.identity
    if evaluated is None:
        raise NakawariError(f"The result of {row.name} does not record its weights; evaluate it again.")
    now = identity_of(load(row.name).pipeline, row.name).model_copy(update={"drawing": evaluated.drawing})
    if unlike := evaluated.unlike(now):
        raise NakawariError(
            f"The scores of {row.name} do not belong to the model in {folder} ({unlike} differs, as loaded on this "
            "machine); evaluate it again here."
        )


def _text(evidence: Evidence, row: Row) -> str:
    reference = evidence.by_name[evidence.reference]
    films = f", cut from {evidence.films:,} films" if evidence.films != len(evidence.sample_names) else ""
    data = evidence.record.data
    parts = [
        f"As `{row.name}`, on {len(evidence.sample_names):,} samples{films}"
        + (f" (SHA-256 of their pictures `{data}`)." if data else "."),
        *(_some(table, {row.name, reference.name}) for table in [quality(evidence), *differences(evidence)]),
    ]
    return "\n\n".join(part for part in parts if part)


def _some(table: Table, names: set[str]) -> str:
    lines = tuple(line for line in table.lines if line.full_name in names)
    if not lines:
        return ""
    plain = tuple(replace(line, cells=tuple(replace(cell, best=False) for cell in line.cells)) for line in lines)
    return f"{table.caption}\n\n{markdown(replace(table, lines=plain))}"
