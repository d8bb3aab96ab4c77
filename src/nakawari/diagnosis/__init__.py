"""Diagnosis of a variant's latents (collapse, explosion), of a training log, and of a variant's parts."""
