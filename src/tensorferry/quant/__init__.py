"""Quantisation after training, on the lowered program."""
