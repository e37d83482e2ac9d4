"""FARLab's own check on a GPU: is it right, how fast is it, does a whole trial run. ``python -m benchmarks.gpu``."""
