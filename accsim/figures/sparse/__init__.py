"""Sparse products: storage, what units can skip, balance, number formats; of several papers, and our own."""
