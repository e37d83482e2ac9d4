"""The commands of `reports`."""
