"""Ray: actors that load the model and draw a share; if an actor's node is lost, it is restarted on another node.

Every node must reach the job's folders under the same paths and have nakawari installed.
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
"""Polling interval in seconds."""


def submit(job: Job, wish: Wish, watch: Watch) -> str:
    """Run the job with actors of a Ray cluster; returns when it is done."""
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
    """Connect to the cluster at the address or in RAY_ADDRESS, or start a local one."""
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, include_dashboard=False)
    except (ConnectionError, ray.exceptions.RayError) as error:
        place = address or os.environ.get("RAY_ADDRESS") or "this machine"
        raise NakawariError(
            f"Could not connect to a Ray cluster at {place} ({' '.join(str(error).split())[:200]}); check that "
            "`ray status` finds it; a cluster with token authentication needs RAY_AUTH_MODE=token here, too."
        ) from error


def _run(ray: Any, job: Job, workers: int, gpus: int, watch: Watch) -> None:
    actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=-1)(Worker)
    here = str(Path.cwd())
    actors = [actor.remote() for _ in range(workers)]
    waiting = {one.work.remote(job.call, here, f"{number}/{workers}"): one for number, one in enumerate(actors)}
    while waiting and not job.is_done:  # an actor that could not be placed again may have nothing left to do
        ended, _ = ray.wait(list(waiting), num_returns=1, timeout=LOOK)
        for task in ended:
            _end(ray, task)
            ray.kill(waiting.pop(task))  # frees a slot for an actor of a lost node
        watch(*((job.done(), job.pieces) if job.pieces else (workers - len(waiting), workers)))
    for one in waiting.values():
        ray.kill(one)


def _end(ray: Any, task: Any) -> None:
    """Report the error of a share; an error that is not a `NakawariError` comes from Ray and is raised."""
    try:
        ray.get(task)
    except NakawariError as error:
        print(f"nakawari: {getattr(error, 'cause', error)}", file=sys.stderr, flush=True)


class Worker:
    """An actor: a persistent process that keeps its model."""

    def work(self, call: Callable[[str], None], place: str, share: str) -> None:
        """Draw a share in the folder from which the job was started, if it exists here: paths may be relative to it."""
        with chdir(place if Path(place).is_dir() else "."):
            call(share)
