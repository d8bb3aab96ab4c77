"""The templates for clusters: accelerate accepts them, the shell can read them, and what cannot be saved is refused."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType

from nakawari.errors import UsageError
from nakawari.training.accelerating import check_whole_weights, launched_sharded

CLUSTER = Path(__file__).parents[2] / "recipes" / "cluster"
KINDS = {"ddp": DistributedType.MULTI_GPU, "fsdp": DistributedType.FSDP}


def launch_words(path: Path) -> argparse.Namespace:
    """What `accelerate launch` makes of a template, as far as it goes without GPUs."""
    words = ["--config_file", str(path), "-m", "nakawari", "adapt", "recipe.yaml"]
    return _validate_launch_command(launch_command_parser().parse_args(words))[0]


@pytest.mark.parametrize("path", sorted(CLUSTER.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_accepts_the_template(path: Path):
    settings = load_config_from_file(str(path))
    assert settings.distributed_type == KINDS[path.stem]
    assert settings.num_processes == 4


def test_the_settings_arrive_at_the_processes():
    plain = launch_words(CLUSTER / "ddp.yaml")
    assert plain.multi_gpu and not plain.use_fsdp and not plain.use_deepspeed
    shared = launch_words(CLUSTER / "fsdp.yaml")
    assert shared.use_fsdp and shared.fsdp_version == 2 and not shared.multi_gpu


def test_settings_of_fsdp_that_are_not_ours_are_refused(monkeypatch: pytest.MonkeyPatch):
    assert not launched_sharded()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match="set fsdp_version to 2"):
        launched_sharded()
    monkeypatch.setenv("FSDP_VERSION", "2")
    assert launched_sharded()
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    with pytest.raises(UsageError, match="no fsdp_offload_params"):
        launched_sharded()


def test_the_job_script_is_a_script():
    subprocess.run(["bash", "-n", CLUSTER / "slurm.sh"], check=True)


@pytest.mark.parametrize("kind", [DistributedType.MEGATRON_LM, DistributedType.DEEPSPEED])
def test_weights_in_parts_are_refused(kind: DistributedType):
    with pytest.raises(UsageError, match=r"cannot save the weights; launch with recipes/cluster/fsdp\.yaml"):
        check_whole_weights(kind)
    check_whole_weights(DistributedType.MULTI_CPU)
