"""Executors of trials: Ray Tune, or this process. Outcomes are in the store."""
