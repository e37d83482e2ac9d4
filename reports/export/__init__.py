"""A study as a folder that can be handed on: its files, results and tables, without what is this machine's alone."""
