"""Hyper-parameter search: Optuna proposes configurations, the same executor runs them, the store keeps them."""
