"""What runs, as people see it."""
