"""One trial: DeepSpeed training, evaluation, checkpoints. Needs no Ray, no MLflow."""
