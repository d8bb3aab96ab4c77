"""Training: one loop, fed by a recipe, minimising whatever an objective says."""
