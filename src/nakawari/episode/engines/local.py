"""The engine that is always there: processes on this machine, one for each GPU, or as many as asked for."""

from __future__ import annotations

from ..plan import Episode
from . import Watch, Wish
from .processes import supervise, work_words


def submit(episode: Episode, wish: Wish, watch: Watch) -> str:
    """Draw the episode with processes of this machine; comes back when every cut has ended."""
    gpus = 0 if episode.device == "cpu" else _gpus()
    workers = wish.workers or max(1, gpus)
    commands = [work_words(episode, "--share", f"{number}/{workers}") for number in range(workers)]
    places = [{"CUDA_VISIBLE_DEVICES": str(number % gpus)} if gpus else {} for number in range(workers)]
    supervise(episode, commands, places, watch)
    return f"drawn by {workers} processes here"


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
