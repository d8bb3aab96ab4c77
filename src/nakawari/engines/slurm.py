"""Slurm: an array job, one task per worker. Every node must reach the job's folders under the same paths."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import NakawariError
from ..files import write_text
from . import Job, Watch, Wish

SCRIPT = "slurm.sh"
WORKERS = 4


def script_of(job: Job, workers: int) -> str:
    """The batch script: a killed worker is restarted in its task, a task on a failed node is requeued."""
    gpu = "" if job.device == "cpu" else "# For GPUs, add: #SBATCH --gres=gpu:1\n"
    command = shlex.join([sys.executable, "-m", "nakawari", *job.words])
    return f"""#!/bin/bash
#SBATCH --job-name=nakawari
#SBATCH --array=0-{workers - 1}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --chdir={Path.cwd()}
#SBATCH --output={job.folder.resolve()}/slurm-%a.log
{gpu}while :; do
  {command} --share "$SLURM_ARRAY_TASK_ID/{workers}"
  status=$?
  [ "$status" -gt 128 ] || exit "$status"
done
"""


def submit(job: Job, wish: Wish, watch: Watch) -> str:
    """Write the batch script, and unless `emit` is set, pass it to `sbatch`; does not wait for the job."""
    path = job.folder / SCRIPT
    write_text(path, script_of(job, wish.workers or WORKERS))
    if wish.emit:
        return f"wrote {path}"
    if shutil.which("sbatch") is None:
        raise NakawariError(
            f"The engine slurm needs sbatch, which is not installed here; run sbatch {path} on the cluster."
        )
    done = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NakawariError(f"sbatch refused {path} ({' '.join(done.stderr.split())}); correct it and submit again.")
    return f"job {done.stdout.strip()} of Slurm"
