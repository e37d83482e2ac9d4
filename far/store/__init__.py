"""Files of a trial: names, atomic writes, locks, records."""
