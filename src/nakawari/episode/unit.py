"""Draw one cut of an episode: plan it, draw what is missing, and record its state."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Interrupted, NakawariError
from ..files import remove
from ..memory import ran_out
from .manifest import DONE, FAILED, MOST_DEATHS, RUNNING, STARTING, WAITING, Manifest, Manifests, worker_name
from .plan import Episode, Unit

if TYPE_CHECKING:
    from ..cut.plan import Cut

CUTS = "cuts"
"""Subfolder of the finished cuts in the episode's folder."""


class Models:
    """The pipeline of an episode, loaded once per worker when a cut first needs it."""

    def __init__(self, load: Callable[[Episode], Any] | None = None) -> None:
        self._load = load or _load
        self._loaded: dict[tuple[Any, ...], Any] = {}
        self._fingerprints: dict[str, str] = {}
        self.seconds = 0.0
        """Total seconds of loading."""

    def pipeline(self, episode: Episode) -> Any:
        """The pipeline of an episode, on its device and with its offloading."""
        key = episode.model, episode.device, episode.offload, episode.together
        if key not in self._loaded:
            started = time.monotonic()
            self._loaded[key] = self._load(episode)
            self.seconds += time.monotonic() - started
        return self._loaded[key]

    def fingerprint(self, model: str) -> str:
        """Fingerprint of a variant."""
        if model not in self._fingerprints:
            from ..variants import fingerprint

            self._fingerprints[model] = fingerprint(model)
        return self._fingerprints[model]

    def forget(self) -> None:
        """Free the memory of the pipelines."""
        self._loaded.clear()


def _load(episode: Episode) -> Any:
    import torch

    from ..variants import load

    place = "cuda" if episode.device != "cpu" and torch.cuda.is_available() else "cpu"
    if episode.offload is None:
        return load(episode.model, place).pipeline
    from ..resources.applying import apply

    pipeline = load(episode.model, place, place=False).pipeline
    apply(pipeline, place, episode.offload, together=episode.together)  # type: ignore[arg-type]
    return pipeline


def carry_out(episode: Episode, unit: Unit, models: Models) -> Manifest | None:
    """Draw a cut, unless another worker has it (None) or it has ended; returns and saves its state.

    A failure is recorded with its message; only interrupts propagate. Gaps finished by a worker that died
    are reused.
    """
    manifests = Manifests(episode.folder)
    before = manifests.get(unit.name)
    if before.ended:
        return before
    with manifests.taken(unit.name) as ours:
        if not ours:
            return None
        before = manifests.get(unit.name)
        if before.ended:
            return before
        deaths = before.deaths + (before.state == RUNNING)
        now = Manifest(unit.name, STARTING, worker=worker_name(), deaths=deaths)
        if deaths >= MOST_DEATHS:
            sentence = (
                f"{deaths} workers died while drawing it, killed or out of memory; give it more memory, and retry."
            )
            ended = replace(now, state=FAILED, sentence=sentence)
        else:
            manifests.put(now)
            _sweep(folder_of(episode, unit))
            try:
                ended = _drawn(episode, unit, models, now, partial(manifests.put, replace(now, state=RUNNING)))
            except (KeyboardInterrupt, Interrupted):
                manifests.put(before)
                raise
        if ended.state == DONE and not ended.drawn:  # it was complete already: keep the time of the earlier run
            ended = replace(ended, drawn=before.drawn, seconds=before.seconds or ended.seconds)
        manifests.put(ended)
        return ended


def _sweep(folder: Path) -> None:
    """Remove the partial files of killed workers; finished gaps stay."""
    for left in folder.parent.glob(f".{folder.name}.????????"):
        remove(left)


def _drawn(episode: Episode, unit: Unit, models: Models, now: Manifest, begins: Callable[[], None]) -> Manifest:
    started, loading, drawn = time.monotonic(), models.seconds, 0
    state, sentence = DONE, ""
    try:
        drawn = draw_unit(episode, unit, models, begins)
    except Interrupted:
        raise
    except Exception as error:
        if ran_out(error):
            models.forget()
        state, sentence = FAILED, _sentence(error)
    seconds = time.monotonic() - started - (models.seconds - loading)
    return replace(now, state=state, sentence=sentence, drawn=drawn, seconds=round(seconds, 3))


def _sentence(error: Exception) -> str:
    if isinstance(error, NakawariError):
        return " ".join(str(error).split())
    if ran_out(error):
        return "Memory ran out; give the worker more memory, and retry."
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


def draw_unit(episode: Episode, unit: Unit, models: Models, begins: Callable[[], None] | None = None) -> int:
    """Draw a cut into its folder; returns the number of new drawings. Raises as `cut_of` and `draw_cut`.

    `begins` is called when the model is loaded and drawing starts; not if nothing needs drawing.
    """
    from ..cut.plan import Target
    from ..cut.work import draw_cut
    from ..interpolation import Settings

    cut = read_cut(episode, unit)
    target = Target(folder_of(episode, unit), unit.ground, episode.previews)
    target.check(cut)
    fingerprint = models.fingerprint(episode.model) if cut.missing else ""
    settings = Settings((), **episode.words)

    def load() -> Any:
        pipeline = models.pipeline(episode)
        if begins:
            begins()
        return pipeline

    return draw_cut(cut, target, settings, episode.model, fingerprint, load).drawn


def read_cut(episode: Episode, unit: Unit) -> Cut:
    """Read a cut: its drawings and what is missing. Raises as `cut_of` and `cut_of_keys`."""
    from ..cut.filling import Naming
    from ..cut.plan import cut_of, cut_of_keys

    naming = Naming(episode.naming)
    if unit.source.is_dir():
        return cut_of_keys(unit.source, naming, unit.between, unit.exposure)
    from ..cut.files import read_sheet

    return cut_of(unit.source, read_sheet(unit.source), unit.drawings or unit.source.parent, naming)


def largest(episode: Episode) -> tuple[tuple[int, int], list[int]]:
    """The largest height and width of the drawings around missing ones, and the number missing in each gap.

    Cuts that cannot be read are skipped: they fail when they are drawn.
    """
    height, width, counts = 0, 0, list[int]()
    for unit in episode.units:
        try:
            cut = read_cut(episode, unit)
            size, own = cut.largest() if cut.missing else ((0, 0), [])
        except (NakawariError, OSError):
            continue
        height, width = max(height, size[0]), max(width, size[1])
        counts += own
    return (height, width), counts


def folder_of(episode: Episode, unit: Unit) -> Path:
    """Output folder of a cut."""
    return episode.folder / CUTS / unit.name


def refresh(episode: Episode) -> None:
    """Reset ended cuts to `waiting` before an episode is submitted again. Unchanged parts are found by their
    hash and not drawn again."""
    manifests = Manifests(episode.folder)
    for unit in episode.units:
        ended = manifests.get(unit.name)
        if ended.ended:
            manifests.put(replace(ended, state=WAITING, sentence="", deaths=0))
