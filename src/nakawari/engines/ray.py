"""Ray: actors that hold the model and take a share; one whose node vanishes is started again where there is room.

Every node reaches the folders of the job under the same paths, and has nakawari installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

from ..errors import NakawariError
from . import Job, Watch, Wish

LOOK = 0.5
"""Seconds between two looks at what is done."""


def submit(job: Job, wish: Wish, watch: Watch) -> str:
    """Do the work with actors of a Ray cluster; comes back when it is done."""
    try:
        import ray
    except ImportError as error:
        raise NakawariError("The engine ray needs the package ray; pip install nakawari[ray].") from error
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, wish.address)
    try:
        gpus = 0 if job.device == "cpu" else ray.cluster_resources().get("GPU", 0)
        workers = wish.workers or int(gpus) or max(1, int(ray.cluster_resources().get("CPU", 1)))
        _run(ray, job, workers, 1 if gpus else 0, watch)
    finally:
        if ours:
            ray.shutdown()
    return f"drawn by {workers} actors"


def _connect(ray: Any, address: str | None) -> None:
    """Join the cluster at the address, or that in RAY_ADDRESS, or start one here."""
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, include_dashboard=False)
    except (ConnectionError, ray.exceptions.RayError) as error:
        place = address or os.environ.get("RAY_ADDRESS") or "this machine"
        raise NakawariError(
            f"No Ray cluster could be joined at {place} ({' '.join(str(error).split())[:200]}); see whether "
            "`ray status` finds it; one that wants a token needs RAY_AUTH_MODE=token here, too."
        ) from error


def _run(ray: Any, job: Job, workers: int, gpus: int, watch: Watch) -> None:
    actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=-1)(Worker)
    here = str(Path.cwd())
    actors = [actor.remote() for _ in range(workers)]
    waiting = {one.work.remote(job.call, here, f"{number}/{workers}"): one for number, one in enumerate(actors)}
    while waiting and not job.is_done:  # an actor that found no room again may have nothing left to do
        ended, _ = ray.wait(list(waiting), num_returns=1, timeout=LOOK)
        for task in ended:
            _end(ray, task)
            ray.kill(waiting.pop(task))  # makes room for one whose node vanished
        watch(*((job.done(), job.pieces) if job.pieces else (workers - len(waiting), workers)))
    for one in waiting.values():
        ray.kill(one)


def _end(ray: Any, task: Any) -> None:
    """Say what a share failed with; an error that is not one of ours is the engine's own, and raised."""
    try:
        ray.get(task)
    except NakawariError as error:
        print(f"nakawari: {getattr(error, 'cause', error)}", file=sys.stderr, flush=True)


class Worker:
    """An actor: a process that stays, and with it its model."""

    def work(self, call: Callable[[str], None], place: str, share: str) -> None:
        """Do a share in the folder from which the job was started, where it is here, too: paths may count from it."""
        with chdir(place if Path(place).is_dir() else "."):
            call(share)
