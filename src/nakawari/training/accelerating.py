"""The accelerator of a run: accelerate's devices, processes and precision."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, parse_flag_from_env, patch_environment

from ..errors import UsageError
from ..processes import on_cpu
from .trackers import check_installed

_ASKS = "ACCELERATE_USE_FSDP"
"""Environment variables that `accelerate launch` sets for an FSDP configuration."""
_UNREAD = {
    "FSDP_OFFLOAD_PARAMS": "fsdp_offload_params",
    "FSDP_ACTIVATION_CHECKPOINTING": "fsdp_activation_checkpointing (objective.gradient_checkpointing does it)",
}


def make_accelerator(mixed_precision: str, trackers: Sequence[str], logs: Path) -> Accelerator:
    """The accelerator of one run, in a process that may have had earlier ones.

    Args:
        trackers: who is told of every step.
        logs: where they write what they keep on disk.

    Raises: `UsageError` for a tracker that is not installed, or where accelerate would split the weights its own way.
    """
    check_installed(trackers)
    # accelerate keeps one state per process and refuses a second run with another precision.
    AcceleratorState._reset_state()
    # Sharding is our own, see `sharding`.
    with patch_environment(**{_ASKS: "false"}):
        accelerator = Accelerator(
            cpu=on_cpu(),
            mixed_precision=mixed_precision,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
            log_with=list(trackers) or None,
            project_dir=logs if trackers else None,
        )
    check_whole_weights(accelerator.distributed_type)
    return accelerator


def check_whole_weights(kind: DistributedType) -> None:
    """Raise `UsageError` for sharding methods that checkpoints do not support."""
    if kind in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise UsageError(
            f"Under {kind.value} checkpoints here cannot save the weights; launch with recipes/cluster/fsdp.yaml, "
            "which splits them among the processes, too, or with recipes/cluster/ddp.yaml."
        )


def launched_sharded() -> bool:
    """Whether `accelerate launch` uses FSDP. Raises `UsageError` for unsupported FSDP settings."""
    if not parse_flag_from_env(_ASKS):
        return False
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise UsageError("Sharding here is FSDP 2; set fsdp_version to 2, as recipes/cluster/fsdp.yaml does.")
    for name, said in _UNREAD.items():
        if parse_flag_from_env(name):
            raise UsageError(f"Sharding here has no {said}; leave it out of accelerate's configuration.")
    return True
