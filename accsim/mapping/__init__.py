"""Dataflows: rules that write tile programs, and the search over their choices."""

from accsim.mapping import flash, flat, gemm, lstm, unfused, vector

__all__ = ["flash", "flat", "gemm", "lstm", "unfused", "vector"]
