"""Diagnosis: where a variant's latents collapse, what a training run did, what a variant is made of."""
