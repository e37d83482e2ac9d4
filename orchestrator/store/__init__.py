"""The store of trials and its remote copy."""
