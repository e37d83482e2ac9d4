"""Trained networks: loading and explanation."""
