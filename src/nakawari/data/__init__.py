"""Data: triplets, clips, pairs, and synthetic scenes."""
