"""Figures of papers made again: published and simulated values side by side. One module and one line a figure."""
