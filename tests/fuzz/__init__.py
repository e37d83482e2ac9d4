"""Fuzzing of the command line: ``python -m tests.fuzz --cases 10000 --seed 0``, run in the root of the repository.

A case is a workspace (study, farlab.toml, store, data set, lists, weights), an environment and arguments, each right,
nearly right or junk, and one invocation of ``farlab.main()`` in it. It fails if a traceback or a control character
reaches the output, if the error is one that nobody foresaw (exit code 1), or if it takes longer than a minute.

Covered are all commands and all their options. Those that would train, serve or wait run as far as they get before:
``sweep`` and ``train`` with ``--dry-run``, ``plan`` without ``--probe``, ``chaos`` with a fault that does not exist,
``resume`` and ``retry`` on a cluster that does not exist, ``ui`` on an address that cannot be, ``status --watch`` and
``logs --follow`` where nothing runs. What happens while trials run is the matter of ``farlab chaos``.
"""
