"""What tests of running sweeps share."""

from __future__ import annotations

from orchestrator.executors.cluster import prepare_environment

prepare_environment(None)  # Ray reads it when it is first imported, which libraries do unasked
