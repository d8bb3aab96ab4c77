"""Ray: actors that hold the model and take cuts; one whose node vanishes is started again where there is room.

Every node reaches the folder of the episode under the same path, and has nakawari installed.
"""

from __future__ import annotations

from typing import Any

from ...errors import NakawariError
from ..plan import Episode
from . import Watch, Wish
from .processes import ended_of

LOOK = 0.5
"""Seconds between two looks at the manifests."""


def submit(episode: Episode, wish: Wish, watch: Watch) -> str:
    """Draw the episode with actors of a Ray cluster; comes back when every cut has ended."""
    try:
        import ray
    except ImportError as error:
        raise NakawariError("The engine ray needs the package ray; pip install nakawari[ray].") from error
    ours = not ray.is_initialized()
    if ours:
        ray.init(address=wish.address, log_to_driver=False, configure_logging=False, include_dashboard=False)
    try:
        gpus = 0 if episode.device == "cpu" else ray.cluster_resources().get("GPU", 0)
        workers = wish.workers or int(gpus) or max(1, int(ray.cluster_resources().get("CPU", 1)))
        _draw(ray, episode, workers, 1 if gpus else 0, watch)
    finally:
        if ours:
            ray.shutdown()
    return f"drawn by {workers} actors"


def _draw(ray: Any, episode: Episode, workers: int, gpus: int, watch: Watch) -> None:
    actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=-1)(Drawer)
    folder = str(episode.folder.resolve())
    drawers = [actor.remote() for _ in range(workers)]
    waiting = [drawer.draw.remote(folder, number, workers) for number, drawer in enumerate(drawers)]
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1, timeout=LOOK)
        ray.get(done)  # an error of the engine itself, not of a cut
        ended = ended_of(episode)
        watch(ended, len(episode.units))
        if ended == len(episode.units):
            break  # an actor that found no room again has nothing left to do
    for drawer in drawers:
        ray.kill(drawer)


class Drawer:
    """An actor: a worker whose model stays."""

    def __init__(self) -> None:
        from ..unit import Models

        self._models = Models()

    def draw(self, folder: str, number: int, workers: int) -> int:
        """Take cuts until none is left; returns as `work`."""
        from pathlib import Path

        from ..worker import Share, work

        return work(Path(folder), Share(number, workers), models=self._models)
