"""The templates for clusters: accelerate accepts them, the shell can read them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType

CLUSTER = Path(__file__).parents[2] / "recipes" / "cluster"


@pytest.mark.parametrize("path", sorted(CLUSTER.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_accepts_the_template(path: Path):
    settings = load_config_from_file(str(path))
    assert settings.distributed_type == DistributedType.MULTI_GPU
    assert settings.num_processes == 4


def test_the_job_script_is_a_script():
    subprocess.run(["bash", "-n", CLUSTER / "slurm.sh"], check=True)
