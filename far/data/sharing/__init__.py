"""One decoding for all trials of a machine that read the same videos at the same time."""
