"""Smaller denoisers: number formats for weights, layers that keep them packed, plans of which layer gets which."""
