"""Data sets: generate, prepare, check, stats, sample."""
