"""Data sets: where their videos are listed, prepared and described."""
