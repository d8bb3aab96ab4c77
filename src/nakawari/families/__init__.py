"""The model families: architectures, samplers, pipelines. Nothing here knows about training."""
