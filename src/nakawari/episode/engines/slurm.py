"""Slurm: an array job, one task for each worker. Every node reaches the folder under the same path."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys

from ...errors import NakawariError
from ...files import write_text
from ..plan import Episode
from . import Watch, Wish

SCRIPT = "slurm.sh"
WORKERS = 4


def script_of(episode: Episode, workers: int) -> str:
    """The batch script: a worker that is killed starts again in its task, a task whose node fails is queued again."""
    folder = episode.folder.resolve()
    gpu = "" if episode.device == "cpu" else "# For GPUs, add: #SBATCH --gres=gpu:1\n"
    command = shlex.join([sys.executable, "-m", "nakawari", "episode", "work", str(folder)])
    return f"""#!/bin/bash
#SBATCH --job-name=nakawari
#SBATCH --array=0-{workers - 1}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={folder}/slurm-%a.log
{gpu}while :; do
  {command} --share "$SLURM_ARRAY_TASK_ID/{workers}"
  status=$?
  [ "$status" -gt 128 ] || exit "$status"
done
"""


def submit(episode: Episode, wish: Wish, watch: Watch) -> str:
    """Write the batch script, and unless only that is wished, hand it to `sbatch`; does not wait for the job."""
    path = episode.folder / SCRIPT
    write_text(path, script_of(episode, wish.workers or WORKERS))
    if wish.emit:
        return f"wrote {path}"
    if shutil.which("sbatch") is None:
        raise NakawariError(f"The engine slurm needs sbatch, which is not here; run sbatch {path} where it is.")
    done = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NakawariError(f"sbatch refused {path} ({' '.join(done.stderr.split())}); mend it and submit again.")
    return f"job {done.stdout.strip()} of Slurm; see nakawari episode status {episode.folder}"
