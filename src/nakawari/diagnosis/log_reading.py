"""Readers of training logs: nakawari's `log.jsonl` in a run folder, text output of tqdm, accelerate and kohya's
scripts, the Trainer's state, JSON lines of W&B, tables of Lightning and TensorBoard."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import NakawariError
from .log_rows import LOSSES, RATES, Entry, from_lines, from_table, from_trainer_state

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|nan|inf)"
_PAIR = re.compile(rf"\b([A-Za-z_][\w/]*)\s*[=:]\s*({_NUMBER})(?![\w.])", re.IGNORECASE)
_BAR = re.compile(r"(\d+)/(\d+)\s*\[")
_STEP = re.compile(r"\b(?:global_)?step\s*[=:\s]\s*(\d+)(?:\s*/\s*(\d+))?", re.IGNORECASE)
_EPOCH = re.compile(r"\bepoch\s*[=:\s]\s*(\d+)", re.IGNORECASE)
_PEFT = re.compile(r"trainable params:\s*([\d,]+)\s*\|\|\s*all params:\s*([\d,]+)", re.IGNORECASE)
_SETTING = re.compile(r"^\s*(?:[-*•]\s*)?([A-Za-z][\w \-./()]{1,48}?)\s*[=:]\s*(\S.*?)\s*$")
_STAMP = re.compile(
    r"^\s*(?:\d{4}-\d\d-\d\d[ T])?\d\d?[/:]\d\d[/:\d., ]*(?:\s*-\s*\w+\s*-\s*[\w.]+\s*-\s*)?|^\s*\[?INFO\]?\s*"
)


@dataclass
class TrainingLog:
    """A parsed log. `steps`: the planned number; `peak_rate`: the configured learning rate; `trainable`, `total`:
    parameter counts; None if not in the log."""

    path: Path
    kind: str
    entries: list[Entry]
    config: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    peak_rate: float | None = None
    trainable: int | None = None
    total: int | None = None


def read(path: Path | str) -> TrainingLog:
    """Read a run folder, a `log.jsonl`, or the log of another program; `.gz` is unpacked.

    Raises:
        NakawariError: the file does not exist or has no training step.
    """
    path = Path(path)
    file = path / "log.jsonl" if path.is_dir() else path
    try:
        data = file.read_bytes()
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8", errors="replace")
    except (OSError, EOFError) as error:
        raise NakawariError(
            f"{file} cannot be read ({error}); give a run folder, its log.jsonl, or the log of another program."
        ) from error
    log = _read_as(Path(file.stem if file.suffix == ".gz" else file.name).suffix, file, text)
    if not log.entries:
        raise NakawariError(
            f"{file} has no training step; a step is a line of log.jsonl, a row of a table or of trainer_state.json "
            "with a step and a loss, or a line with a progress bar or step number and loss=."
        )
    return log


def _read_as(suffix: str, file: Path, text: str) -> TrainingLog:
    if suffix == ".jsonl":
        return _read_jsonl(file, text)
    if suffix == ".json":
        return TrainingLog(file, "trainer_state.json", from_trainer_state(text))
    if suffix == ".csv":
        return TrainingLog(file, "table", from_table(text))
    return _read_text(file, text)


# --- ours ---------------------------------------------------------------------------------------------------------


def _read_jsonl(file: Path, text: str) -> TrainingLog:
    log = TrainingLog(file, "log.jsonl", list(from_lines(text)))
    folder = file.parent
    if (folder / "recipe.yaml").is_file():
        import yaml

        try:
            recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            recipe = None
        if isinstance(recipe, dict):
            recipe.pop("provenance", None)
            log.config = dict(_flat(recipe))
            log.steps, log.peak_rate = log.config.get("optim.steps"), log.config.get("optim.lr")
    if (folder / "summary.json").is_file():
        try:
            log.trainable = json.loads((folder / "summary.json").read_text(encoding="utf-8")).get("trained_parameters")
        except (OSError, ValueError, AttributeError):
            log.trainable = None
    log.total = _parameters(folder / "best")
    return log


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def _parameters(folder: Path) -> int | None:
    """Parameter count of a saved model, from the headers of its weights; None if no complete model is saved."""
    if not (folder / "model_index.json").is_file():
        return None
    from safetensors import safe_open

    count = 0
    for file in folder.glob("*/*.safetensors"):
        with safe_open(file, "numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                size = 1
                for length in tensors.get_slice(name).get_shape():
                    size *= length
                count += size
    return count or None


# --- text ---------------------------------------------------------------------------------------------------------


def _read_text(file: Path, text: str) -> TrainingLog:
    log = TrainingLog(file, "text", [])
    steps: dict[int, Entry] = {}
    epoch: int | None = None
    offset, last = 0, 0
    for line in re.split(r"[\r\n]+", text):
        if match := _PEFT.search(line):
            log.trainable, log.total = (int(group.replace(",", "")) for group in match.groups())
            continue
        said = _EPOCH.search(line)
        epoch = int(said.group(1)) if said else epoch
        pairs = {name.lower(): value for name, value in _PAIR.findall(line)}
        loss = next((pairs[name] for name in LOSSES if name in pairs), None)
        place = _BAR.search(line) or (_STEP.search(line) if loss is not None else None)
        if loss is None or place is None:
            if not place and not steps:
                _setting(log.config, line)
            continue
        number = int(place.group(1))
        if number < last:
            offset += last  # a progress bar per epoch restarts at 1
        last = number
        log.steps = max(log.steps or 0, offset + int(place.group(2))) if place.group(2) else log.steps
        # tqdm prints a step twice, first with the values of the previous step: the later line counts.
        steps[offset + number] = _entry(offset + number, loss, pairs, epoch)
    log.entries = [steps[number] for number in sorted(steps)]
    log.peak_rate = _configured(log.config, "learning_rate", "lr")
    return log


def _entry(step: int, loss: str, pairs: dict[str, str], epoch: int | None) -> Entry:
    value = float(loss)
    rate = next((float(pairs[name]) for name in RATES if name in pairs), None)
    finite = value - value == 0
    return Entry(step, value if finite else None, rate, epoch, nonfinite=not finite)


def _setting(config: dict[str, Any], line: str) -> None:
    match = _SETTING.match(_STAMP.sub("", line))
    if match and "/" not in match.group(1) and "://" not in line:
        config.setdefault(match.group(1).strip(), match.group(2))


def _configured(config: dict[str, Any], *names: str) -> float | None:
    for key, value in config.items():
        if key.lower().replace(" ", "_").replace("-", "_") in names:
            try:
                return float(value)
            except ValueError:
                return None
    return None
