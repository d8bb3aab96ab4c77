"""The default engine: processes on this machine, one per GPU, or the given number."""

from __future__ import annotations

from . import Job, Watch, Wish
from .processes import again, supervise, worker


def submit(job: Job, wish: Wish, watch: Watch) -> str:
    """Run the job with local processes; returns when it is done."""
    gpus = 0 if job.device == "cpu" else _gpus()
    workers = wish.workers or max(1, gpus)
    commands = [again(worker(job, f"{number}/{workers}")) for number in range(workers)]
    places = [{"CUDA_VISIBLE_DEVICES": str(number % gpus)} if gpus else {} for number in range(workers)]
    supervise(job, commands, places, watch)
    return f"drawn by {workers} processes here"


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
