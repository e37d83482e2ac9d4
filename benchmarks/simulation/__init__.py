"""Simulated studies whose truth is known: what FARLab's tables claim of them, and how often that is wrong."""
