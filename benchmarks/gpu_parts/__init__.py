"""The parts of `benchmarks/gpu.py`: each runs one measurement in a separate process."""
