"""Work done ahead of its use, in background threads: decoders and tensor operations release the interpreter's lock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from far.config.trial import TrialConfig

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")

AHEAD = 2
"""Results that are made while their consumer is busy with the one before, where each has work for all threads."""
LARGEST_FRAME = 240 * 427
"""Pixels of a frame as decoded that the estimate of memory reckons with: 240 lines of a wide picture."""


def prefetched(
    items: Iterable[T],
    parts: Callable[[T], Sequence[Callable[[], P]]],
    join: Callable[[T, list[P]], R],
    *,
    workers: int,
    ahead: int = AHEAD,
) -> Generator[R, None, None]:
    """Yield ``join(item, [part() for part in parts(item)])`` in order, made ahead of the consumer.

    Parts are computed by ``workers`` threads and joined by one more, so that many threads work on few results: at most
    ``ahead`` are in the making or ready. With 0 workers everything is computed in place.

    An error is raised at its place in the order. Closing the iterator, or leaving it to be collected, ends the threads.
    """
    if workers == 0:
        for item in items:
            yield join(item, [part() for part in parts(item)])
        return
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="far-data")
    joiner = ThreadPoolExecutor(1, thread_name_prefix="far-data-join")

    def joined(item: T, made: list[Future[P]]) -> R:
        results = [each.result() for each in made]
        made.clear()  # a future would keep its result alive
        return join(item, results)

    try:
        for item in items:
            pending.append(joiner.submit(joined, item, [pool.submit(part) for part in parts(item)]))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for each in (pool, joiner):
            each.shutdown(wait=False, cancel_futures=True)
        for each in (joiner, pool):
            each.shutdown(wait=True)


def batches_ahead(workers: int, videos: int) -> int:
    """Return how many micro-batches of ``videos`` videos are made ahead: more where one has no work for all threads."""
    return max(AHEAD, math.ceil(2 * workers / videos))


def loader_bytes(config: TrialConfig, micro_batch: int, value_bytes: int) -> int:
    """Return the most bytes that the loader takes on the training device, the batch in training not counted.

    Args:
        config: the trial.
        micro_batch: videos of one device at once.
        value_bytes: of one value of a clip as the network takes it: 2 in bf16 and fp16, 4 in fp32.

    Returns:
        The batches that are made ahead; the one that is being joined, in fp32; and what each thread augments: frames as
        bytes and three times as floats.
    """
    length, height, width = config.model.clip
    repeats = config.recipe.augment.repeats
    clip = 3 * length * height * width
    batches = batches_ahead(config.run.workers, micro_batch) * micro_batch * repeats * clip * value_bytes
    joining = 4 * micro_batch * repeats * clip
    threads = max(1, config.run.workers) * 3 * length * LARGEST_FRAME * (repeats + 3 * 4)
    return batches + joining + threads
