"""What results mean: comparability, differences, correctness, provenance."""
