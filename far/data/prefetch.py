"""Work done ahead of its use, in background threads: decoders and tensor operations release the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

DEPTH = 2
"""Results kept ready for each worker."""


def prefetched(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Yield ``work(item)`` in order, computed by ``workers`` threads ahead of the consumer; 0 computes in place.

    An error in ``work`` is raised at its place in the order. Closing the iterator, or leaving it to be collected, ends
    the threads.
    """
    if workers == 0:
        yield from map(work, items)
        return
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="far-data")
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > DEPTH * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
