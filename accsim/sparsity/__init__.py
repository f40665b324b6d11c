"""Sparsity patterns and masks, what hardware can make of them, how they are stored, and number formats."""
