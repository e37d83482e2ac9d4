"""FAR: the model, its data, one trial's training and evaluation. Needs neither Ray nor MLflow."""

__version__ = "0.1.0"
