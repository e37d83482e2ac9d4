"""One trial: DeepSpeed training, evaluation, checkpoints."""
