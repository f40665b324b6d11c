"""Dataflows: rules that write tile programs, and the search over their choices."""

from accsim.mapping import flash, flash1, flat, fusemax, gemm, lstm, naive, unfused, vector

__all__ = ["flash", "flash1", "flat", "fusemax", "gemm", "lstm", "naive", "unfused", "vector"]
