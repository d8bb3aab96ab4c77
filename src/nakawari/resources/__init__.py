"""Memory and FLOPs of sampling with a model, found without loading weights, and settings that fit the memory."""
