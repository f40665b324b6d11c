"""What a batch looks up in embedding tables: index traces, their statistics in closed form, dedup and imbalance."""
