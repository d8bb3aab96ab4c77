"""Check a recipe's model and data without loading a model or decoding a clip."""

from __future__ import annotations

from collections.abc import Callable

from ..data.clips import find_clips
from ..data.splits import for_training
from ..errors import NakawariError
from ..variants import check_name
from .data_files import folder_of, triplets_in_split
from .data_params import ClipsParams, TripletsParams
from .recipe import Recipe


def problems(recipe: Recipe) -> list[str]:
    """One sentence for each missing model or data folder."""
    model = recipe.model
    names = [model.base, model.student and model.student.of, getattr(recipe.objective, "teacher", None)]
    checks: list[Callable[[], object]] = [lambda name=name: check_name(name) for name in names if name]
    checks += [lambda source=source: _data(source) for source in recipe.data.sources]
    found = []
    for check in checks:
        try:
            check()
        except NakawariError as error:
            found.append(str(error))
    return found


def _data(source: object) -> None:
    if isinstance(source, ClipsParams):
        root = folder_of(source)
        if not for_training(find_clips(root), root):
            raise NakawariError(f"{root} holds no clips for training.")
    elif isinstance(source, TripletsParams) and not triplets_in_split(source, "train"):
        raise NakawariError(f"{source.path} holds no triplets for training.")
