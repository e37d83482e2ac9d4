"""Finished trials, read and selected."""
