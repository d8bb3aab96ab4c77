"""What drawing with a model takes: memory and arithmetic, found without a weight being loaded, and a way that fits."""
