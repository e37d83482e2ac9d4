"""``python -m farlab``, and ``python PATH/farlab`` for launchers that want a path."""

from __future__ import annotations

import os
import sys

if not sys.flags.safe_path:  # else the first entry is neither the working directory nor this folder
    _folder = os.path.dirname(__file__)  # noqa: PTH120  (pathlib is not to come from the working directory)
    _home = os.path.dirname(_folder)  # noqa: PTH120
    if sys.path[0] == _folder:
        sys.path[0] = _home
    elif sys.path[0] != _home:
        del sys.path[0]  # `-m` puts the working directory first, whose files are not to run in place of ours

from farlab.command_line import main

main()
