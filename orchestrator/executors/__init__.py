"""Who runs the trials: Ray Tune, or this very process. The store tells what came of it."""

from orchestrator.executors.base import Executor, Job

__all__ = ["Executor", "Job"]
