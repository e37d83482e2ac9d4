"""Tracking backends."""
