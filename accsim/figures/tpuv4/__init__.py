"""Figures of TPU v4 (Jouppi et al., ISCA 2023)."""
