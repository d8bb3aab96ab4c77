"""Training: one loop for all recipes and objectives."""
