"""From a study to jobs."""
