"""Prediction over views and its scoring."""
