"""FLAT: Kao et al., An Optimized Dataflow for Mitigating Attention Bottlenecks, ASPLOS 2023 (arXiv 2107.06419)."""
