"""Networks as torch modules; what can be said of them without torch is in ``far.architecture``."""
