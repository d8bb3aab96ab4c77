"""Data sets with true in-betweens: ATD-12K as published, plain triplet folders, and longer sequences.

Layouts of `open_dataset`:

| layout | looks like |
| --- | --- |
| `atd12k` | `train_10k/<clip>/frame1..3`, `test_2k_540p/<clip>/frame1..3`, `test_2k_annotations/<clip>/<clip>.json` |
| `splits` | `train/<clip>/frame1..3`, `val/…`, `test/…` |
| `triplets` | `triplets/<name>/frame1..3`, with `index.csv` beside `triplets` or inside it |
| `folders` | `<name>/<three or more numbered images>`: first and last are the keys |
| `pairs` | `<id>_start.*`, `<id>_end.*` |

Each may hold `captions.csv` with a `name` (or `filename`, `id`, `clip`) and a `caption` (or `prompt`, `text`) column.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from ..errors import NakawariError, UsageError
from ..media import is_image, natural_key, refuse_unreadable
from .pairs import find_pairs
from .samples import Dataset, Region, Sample, even_times
from .splits import ATD12K, PLAIN, Part, check_not_for_testing, folders_of, nothing_to_train_on

LEVELS = ("easy", "medium", "hard")
_NAME_COLUMNS = ("name", "filename", "id", "clip")
_CAPTION_COLUMNS = ("caption", "prompt", "text")


def open_dataset(root: Path | str, split: str | None = None) -> Dataset:
    """Find the samples below `root`; the layout is recognised from the folders' names (see the module's table).

    `split`: "train", "val" or "test" if the layout has splits; None takes the test split if there is one, otherwise
    everything. Folders with too few frames are skipped and named in `Dataset.skipped`.
    Raises `NakawariError` if there is nothing usable, `UsageError` if the split does not exist.
    """
    root = Path(root)
    if not root.is_dir():
        raise NakawariError(f"{root} is not a folder; give the folder of a data set.")
    for finder in (_atd12k, _splits, _triplets, _pairs, _folders):
        found = finder(root, split)
        if found is not None:
            return _checked(found)
    raise NakawariError(
        f"{root} holds no data set: expected ATD-12K (train_10k, test_2k_540p), train|val|test folders, "
        "triplets/<name>, <name>/frame1..3, or <id>_start/<id>_end images."
    )


def open_for_training(root: Path | str, split: Literal["train", "val"] | None = None) -> Dataset:
    """As `open_dataset`, but the training part by default, and never the test part.

    Raises `UsageError` if there are parts but none for training, or if `root` is a test part.
    """
    root = Path(root)
    check_not_for_testing(root)
    parts = parts_of(root)
    if parts and split is None:
        if "train" not in parts:
            raise nothing_to_train_on(root)
        split = "train"
    return open_dataset(root, split)


def parts_of(root: Path) -> set[Part]:
    """The parts of the data set below `root`; empty if it has none."""
    return {part for part, folder in folders_of(root).items() if any(child.is_dir() for child in folder.iterdir())}


def _checked(dataset: Dataset) -> Dataset:
    if not dataset.samples:
        reason = f" ({dataset.skipped[0]})" if dataset.skipped else ""
        raise NakawariError(f"{dataset.root} holds no complete sample{reason}.")
    return dataset


def _no_split(root: Path, split: str, there: Iterable[str]) -> UsageError:
    names = ", ".join(there)
    return UsageError(f"{root} has no split {split!r}; " + (f"it has {names}." if names else "leave the split out."))


def _atd12k(root: Path, split: str | None) -> Dataset | None:
    if not any((root / name).is_dir() for names in ATD12K.values() for name in names):
        return None
    there = folders_of(root)
    chosen = split or ("test" if "test" in there else "train")
    if chosen not in there:
        raise _no_split(root, chosen, there)
    notes = root / "test_2k_annotations"

    def annotate(name: str) -> dict[str, Any]:
        about = read_annotation(notes / name, name) if chosen == "test" else {}
        return about | {"tags": (*about.get("tags", ()), *_region_of_film(name))}

    return _gather(root, "atd12k", there[chosen], annotate, _film)


def _splits(root: Path, split: str | None) -> Dataset | None:
    there = {
        name: root / folder
        for name, folders in PLAIN.items()
        for folder in folders
        if (root / folder).is_dir() and any(child.is_dir() for child in (root / folder).iterdir())
    }
    if not there:
        return None
    chosen = split or ("test" if "test" in there else next(iter(there)))
    if chosen not in there:
        raise _no_split(root, chosen, there)
    return _gather(root, "splits", there[chosen], _index(root, there[chosen]))


def _triplets(root: Path, split: str | None) -> Dataset | None:
    folder = root / "triplets"
    if not folder.is_dir():
        return None
    if split is not None:
        raise _no_split(root, split, ())
    return _gather(root, "triplets", folder, _index(root, folder))


def _folders(root: Path, split: str | None) -> Dataset | None:
    if not any(frame_images(child) for child in _children(root)):
        return None
    if split is not None:
        raise _no_split(root, split, ())
    return _gather(root, "folders", root, _index(root.parent, root))


def _pairs(root: Path, split: str | None) -> Dataset | None:
    samples, skipped = find_pairs(root, read_captions(root))
    if not samples:
        return None
    if split is not None:
        raise _no_split(root, split, ())
    return Dataset(root, "pairs", samples, skipped)


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def frame_images(folder: Path, found: Sequence[Path] | None = None) -> list[Path]:
    """Images in natural order; if some are named frame<n> or im<n>, only those, as results are often in the same
    folder.

    `found`: the images, if known. Otherwise `folder` is listed, and a drawing in a format that cannot be read
    raises `NakawariError`.
    """
    if found is None:
        refuse_unreadable(sorted(folder.iterdir()))
        found = [path for path in folder.iterdir() if is_image(path) and not path.name.startswith(".")]
    named = [p for p in found if re.fullmatch(r"(frame|im)_?\d+", p.stem)]
    return sorted(named or found, key=natural_key)


def _gather(
    root: Path,
    layout: str,
    folder: Path,
    annotate: Callable[[str], dict[str, Any]],
    group: Callable[[str], str] = lambda name: name,
) -> Dataset:
    """One sample for each folder of three or more images; first and last are the keys."""
    captions = read_captions(root)
    samples: list[Sample] = []
    skipped: list[str] = []
    for child in _children(folder):
        images = frame_images(child)
        if len(images) < 3:
            skipped.append(f"{child} has {len(images)} images and needs 3 or more")
            continue
        about = {"group": group(child.name)} | annotate(child.name)
        if child.name in captions:
            about["caption"] = captions[child.name]
        truth = tuple(images[1:-1])
        samples.append(Sample(child.name, (images[0], images[-1]), truth, even_times(len(truth)), **about))
    return Dataset(root, layout, tuple(samples), tuple(skipped))


def _film(name: str) -> str:
    """ATD-12K names a triplet `<film>_<numbers>_<frame>` (`Disney_v4_4_042831_s2`): the film is what precedes the
    first all-digit piece of three or more digits."""
    pieces = name.split("_")
    for index, piece in enumerate(pieces):
        if index and piece.isdigit() and len(piece) >= 3:
            return "_".join(pieces[:index])
    return name


def _region_of_film(name: str) -> tuple[str, ...]:
    """The region of a film of ATD-12K, from the studio or country at the beginning of its name."""
    return {"disney": ("west",), "japan": ("east",)}.get(name.split("_")[0].lower(), ())


def read_annotation(folder: Path, name: str) -> dict[str, Any]:
    """ATD-12K's JSON for one test triplet, as fields of `Sample`.

    The file is an object with `level` (0, 1, 2: easy, medium, hard), `general_motion_type` and `behavior` (a word or a
    list of words), and `motion_RoI` (`x`, `y`, `width`, `height` in pixels of a frame of `image_size`, width and
    height; without it, of the pictures at hand). Any of them may be missing, case is ignored, and a list
    instead of the RoI object is read as x, y, width, height. A missing file gives no fields; one that is not JSON
    raises `NakawariError`.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        path = next(iter(sorted(folder.glob("*.json"))), path) if folder.is_dir() else path
    if not path.is_file():
        return {}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise NakawariError(f"{path} is not a readable annotation ({error}); fetch it again.") from error
    notes = {str(key).lower(): value for key, value in raw.items()} if isinstance(raw, dict) else {}
    motion = _listed(notes.get("general_motion_type"))
    out: dict[str, Any] = {
        "level": _level(notes.get("level")),
        "tags": tuple(dict.fromkeys((*motion, *_listed(notes.get("behavior"))))),
        "caption": ", ".join(motion),
    }
    roi = _region(notes.get("motion_roi", notes.get("roi")), notes.get("image_size"))
    return out | ({"roi": roi} if roi is not None else {})


def _listed(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    words = value if isinstance(value, list) else str(value).split(",")
    return tuple(str(word).strip() for word in words if str(word).strip())


def _level(value: Any) -> str:
    """A level by number (0, 1, 2) or name; "" for anything else."""
    text = str(value).strip().lower()
    if text in LEVELS:
        return text
    return LEVELS[int(text)] if text in ("0", "1", "2") else ""


def _region(value: Any, size: Any) -> Region | None:
    if isinstance(value, dict):
        low = {str(key).lower(): number for key, number in value.items()}
        numbers = [low.get("x"), low.get("y"), low.get("width", low.get("w")), low.get("height", low.get("h"))]
    else:
        numbers = list(value) if isinstance(value, list) else []
    try:
        x, y, width, height = (round(float(number)) for number in numbers)  # type: ignore[arg-type]
        of = None if size is None else (round(float(size[0])), round(float(size[1])))
    except (TypeError, ValueError, LookupError):
        return None
    return Region(x, y, width, height, of) if min(width, height, *(of or (1, 1))) > 0 else None


def _index(root: Path, folder: Path) -> Callable[[str], dict[str, Any]]:
    """Annotations from `index.csv`: name, clip (the group), level, style and kind (tags), caption."""
    path = next((p for p in (folder / "index.csv", root / "index.csv") if p.is_file()), None)
    rows = {row["name"]: row for row in _csv(path) if row.get("name")} if path else {}

    def annotate(name: str) -> dict[str, Any]:
        row = rows.get(name)
        if row is None:
            return {}
        tags = tuple(row[key] for key in ("kind", "style") if row.get(key))
        about = {"level": _level(row.get("level", "")), "tags": tags, "caption": row.get("caption") or ""}
        return about | ({"group": row["clip"]} if row.get("clip") else {})

    return annotate


def _csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [dict(row) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NakawariError(f"{path} is not a readable CSV file ({error}); save it as UTF-8 CSV.") from error


def read_captions(root: Path) -> dict[str, str]:
    """`captions.csv`: file or folder name (a suffix is ignored) -> caption."""
    path = root / "captions.csv"
    if not path.is_file():
        return {}
    rows = _csv(path)
    columns = list(rows[0]) if rows else []
    name = next((c for c in _NAME_COLUMNS if c in columns), None)
    caption = next((c for c in _CAPTION_COLUMNS if c in columns), None)
    if name is None or caption is None:
        raise NakawariError(
            f"{path} needs a column {' or '.join(_NAME_COLUMNS)} and a column {' or '.join(_CAPTION_COLUMNS)}; "
            f"it has {', '.join(columns) or 'none'}."
        )
    return {_bare(row[name]): row[caption] or "" for row in rows if row.get(name)}


def _bare(name: str) -> str:
    path = Path(name)
    return path.stem if is_image(path) else path.name
