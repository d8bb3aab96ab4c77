"""Cuts: time sheets, drawings, missing in-betweens and output."""
