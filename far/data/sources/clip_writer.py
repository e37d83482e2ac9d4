"""The process that draws and encodes demo clips for ``demo_writer``: one chunk per request, on stdin and stdout.

Started as ``python -m far.data.sources.clip_writer``. It ends with its stdin, so with its parent, however that ends.
"""

from __future__ import annotations

import os
import sys

from far.data.decoding.worker import answer_stream, receive, send
from far.data.sources.demo_writer import write_clips


def main() -> None:
    """Write clips until the parent goes; an error is the answer to its request."""
    answers = answer_stream()
    while True:
        try:
            request = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: object = write_clips(*request)
        except Exception as error:
            answer = error
        try:
            send(answers, answer)
        except BrokenPipeError:  # the reader has gone
            os._exit(0)


if __name__ == "__main__":
    main()
