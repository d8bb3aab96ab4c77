"""Fingerprints of a model's or adapter's training images, saved beside its weights, to flag scores on training data.

An image is identified by the SHA-256 of its file: a renamed copy is recognized, a re-encoded one is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from .data.samples import Sample
from .errors import NakawariError
from .files import file_digest, read_json, write_json
from .variants import model_folder, parent_of, parse

FILE = "trained_on.json"
_DIGITS = 16


def fingerprints(paths: Iterable[Path]) -> set[str]:
    """The fingerprints of files."""
    return {file_digest(path).hex()[:_DIGITS] for path in paths}


def write(folder: Path, seen: Iterable[str]) -> None:
    """Write fingerprints into the folder of a model or an adapter."""
    write_json(folder / FILE, {"sha256": sorted(seen)})


def of_folder(folder: Path) -> set[str]:
    """Training images of the model or adapter in `folder`, or of the run's best; empty if not recorded."""
    for candidate in (folder / FILE, folder / "best" / FILE):
        if candidate.is_file():
            record = read_json(candidate)
            try:
                return set(record["sha256"])
            except (KeyError, TypeError) as error:
                raise NakawariError(f"{candidate} has no list 'sha256'; train again, or remove the file.") from error
    return set()


def of_variant(variant: str) -> set[str]:
    """Training images of a variant's base and adapters, including the source of a quantized base."""
    spec = parse(variant)
    folders = [model_folder(spec.base), *(use.folder for use in spec.adapters if use.scale)]
    seen = set().union(*(of_folder(folder) for folder in folders))
    parent = parent_of(spec.base)
    if parent != spec.base:
        with suppress(NakawariError):  # it may no longer exist
            seen |= of_variant(parent)
    return seen


def seen_samples(variant: str, samples: Sequence[Sample]) -> list[str]:
    """Names of the samples with a ground-truth drawing that the variant was trained on."""
    known = of_variant(variant)
    if not known:
        return []
    return [s.name for s in samples if known & fingerprints(path for path in s.truth if path.is_file())]
