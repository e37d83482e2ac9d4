"""Results to tables, statistics and figures. Trains nothing."""
