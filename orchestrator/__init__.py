"""Many trials: study, plan, store, executors on Ray, the MLflow mirror."""
