"""Faults on purpose: a sweep under kills, locks and pauses, held against an undisturbed one."""
