"""Sparseloop: Wu et al., Sparseloop: An Analytical Approach to Sparse Tensor Accelerator Modeling, MICRO 2022."""
