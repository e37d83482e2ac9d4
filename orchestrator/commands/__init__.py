"""The commands of `orchestrator`, and those over `far`: thin, importing what they need when they run."""
