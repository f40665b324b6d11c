"""Figures of TPU v4 and its interconnect."""
