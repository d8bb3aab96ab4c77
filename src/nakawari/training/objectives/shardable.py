"""Which denoisers processes can share, see `training.sharding`."""

from __future__ import annotations

from ...errors import UsageError
from ...families.base import InterpolationPipeline
from ...quantization.layers import packed_layers


def check_shardable(pipeline: InterpolationPipeline) -> None:
    """Raise `UsageError` where a pipeline's denoiser cannot be shared."""
    denoiser = pipeline.denoiser
    if pipeline.family == "mini":
        # It evaluates a clip in parts, as many as its size and the processor's cache say, and is small.
        raise UsageError("The denoiser of a mini is small and is not sharded; set shard to false.")
    if packed_layers(denoiser):
        raise UsageError("A quantized denoiser is not sharded; set objective.base_dtype to bf16, or shard to false.")
    if any(not parameter.ndim for parameter in denoiser.parameters()):
        raise UsageError("A denoiser with a learned scale of one number is not sharded; set shard to false.")
