"""Who runs the trials: Ray Tune, or this very process. The store tells what came of it."""
