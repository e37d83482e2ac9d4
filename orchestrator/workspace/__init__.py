"""The workspace that a command belongs to: where it is and what it sets."""
