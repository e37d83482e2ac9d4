"""Who runs the trials: Ray Tune, or this very process. The store tells what came of it."""

from orchestrator.executors.base import Chain, Executor, Job, ListQueue, Queue, Stop

__all__ = ["Chain", "Executor", "Job", "ListQueue", "Queue", "Stop"]
