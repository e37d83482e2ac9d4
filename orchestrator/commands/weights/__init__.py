"""Initial weights: inspect, convert."""
