"""Quantized denoisers: number formats for weights, packed layers, plans with a precision per layer."""
