"""What every command of the command line has in common: its inputs, its output, and what a failure says."""
