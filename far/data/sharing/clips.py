"""A trial's way to clips that other trials of this machine read as well: each is made once, by whoever comes first.

A trial that meets a clip which another is making takes the next of its own order that nobody has begun, so that as many
are made at once as trials have threads. It is never slower than alone by more than its patience: whoever waits too long
makes the clip for itself, and so does everybody where nothing can be shared.
"""

from __future__ import annotations

import bisect
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ByteSize

from far.data.sharing.window import Clip, Reader, Window, expected, name_of, next_use
from far.errors import FarError

log = logging.getLogger(__name__)
T = TypeVar("T")

POLL = 0.002
"""Seconds between two looks for a clip that another process makes."""
HELP_EVERY = 8
"""Looks after each of which one more is taken for work that nobody has begun."""
PATIENCE = 5.0
"""Seconds after which a clip that another process makes is made here too, or 20 times what one takes."""
COMING = 60.0
"""Seconds in which trials that are started together have all begun."""
CHEAP = 0.002
"""Seconds of work below which a clip is rather made again than shared."""
NOT_SHARED = "clips are not shared with other trials, so each decodes for itself (slower)"
TRIED = 16
"""Clips after which it is known what one costs."""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """Clips of one kind.

    Attributes:
        group: whoever reads clips of the same group reads the same.
        make: makes the clip of a place in the order.
        pack: returns what of a clip is shared.
        unpack: makes a clip of that.
        apart_from: a group whose readers do not need these.
    """

    group: str
    make: Callable[[int], T]
    pack: Callable[[T], Clip]
    unpack: Callable[[Clip], T]
    apart_from: str = ""


class Sharing:
    """What this process shares.

    Args:
        window: the clips in memory.
        companions: how many trials will read the same ones, as far as is known.
        workers: threads that this process reads with.
    """

    def __init__(self, window: Window, *, companions: int = 0, workers: int = 1) -> None:
        self.window, self.companions, self.workers = window, companions, max(1, workers)
        self.is_on = True
        self._began = time.monotonic()
        self._begin: int | None = None

    def begin(self, place: int) -> None:
        """Say where this process is before it reads; its companions are expected where it began."""
        self._begin = place if self._begin is None else self._begin
        self.window.move(place)

    def readers(self, group: str, apart_from: str = "") -> list[Reader]:
        """Return who else will read clips of a group, those included that are still expected."""
        if not self.is_on:
            return []
        others = [each for each in self.window.others() if each.trial != self.window.me.trial]
        found = [each for each in others if group in each.wants and apart_from not in each.wants]
        missing = self.companions - len({each.trial for each in others})
        if missing > 0 and not apart_from and time.monotonic() - self._began < COMING:
            found.append(expected("", [group], self._begin or 0))
        return found

    def give_up(self, why: str) -> None:
        """Share nothing from now on, and say so once."""
        if self.is_on:
            self.close()  # nobody is to keep anything for it
            log.warning("%s: %s", NOT_SHARED, why)

    def close(self) -> None:
        """Be a reader no longer."""
        self.is_on = False
        self.window.close()


class Lap(Generic[T]):
    """One pass over clips, in an order that all readers of a group have.

    Args:
        sharing: what this process shares.
        kind: of the clips.
        start: place of the pass among all passes of a trial.
        order: the places of this process in this pass, ascending.
        is_inner: whether it only serves the making of another pass's clips.
    """

    def __init__(
        self, sharing: Sharing, kind: Kind[T], *, start: int, order: Sequence[int], is_inner: bool = False
    ) -> None:
        self._sharing, self._window, self._kind = sharing, sharing.window, kind
        self._start, self._order, self._is_inner = start, order, is_inner
        self._lock = threading.Lock()
        self._first, self._done = 0, set[int]()
        self._kept: dict[int, T] = {}
        self._failed: set[int] = set()
        self._made, self._seconds, self._bytes = 0, 0.0, 0
        if order and not is_inner:
            sharing.begin(start + order[0])

    def read(self, place: int) -> T:
        """Return the clip of a place; raises what making it raises."""
        try:
            return self._obtained(place)
        except OSError as error:
            self._sharing.give_up(str(error))
        finally:
            self._has_read(place)
        return self._kind.make(place)

    def _has_read(self, place: int) -> None:
        """Let others know which is the first place that has not been read, whatever threads may be ahead of it."""
        if self._is_inner or not self._sharing.is_on:
            return
        with self._lock:
            self._done.add(place)
            while self._first < len(self._order) and self._order[self._first] in self._done:
                self._done.remove(self._order[self._first])
                self._first += 1
            is_over = self._first == len(self._order)
            self._window.move(self._start + (self._order[-1] + 1 if is_over else self._order[self._first]))

    def _obtained(self, place: int) -> T:
        """Take a clip from the window, or make it if nobody does, or wait for it and make others meanwhile."""
        name, began, looks = name_of(self._kind.group, self._start + place), time.monotonic(), 0
        while readers := self._readers():
            if place in self._kept:
                break
            clip = self._window.take(name)
            if clip is not None:
                return self._taken(name, clip, readers)
            with self._window.claim(name) as is_mine:
                if is_mine and place not in self._kept:
                    clip = self._window.take(name)  # which was put there between
                    return self._offered(place, name, readers)[0] if clip is None else self._kind.unpack(clip)
            if time.monotonic() - began > max(PATIENCE, 20 * self._cost):
                break  # whoever makes it is stopped, or far too slow
            if looks % HELP_EVERY or not self._help(place, readers):
                time.sleep(POLL)
            looks += 1
        return self._kept.pop(place) if place in self._kept else self._timed(place)

    def _taken(self, name: str, clip: Clip, readers: Sequence[Reader]) -> T:
        if next_use(name, readers) == float("inf"):
            self._window.discard(name)
        return self._kind.unpack(clip)

    def _readers(self) -> list[Reader]:
        """Return whom a clip is worth sharing with."""
        if self._made >= TRIED and self._cost < CHEAP:
            return []
        return self._sharing.readers(self._kind.group, self._kind.apart_from)

    @property
    def _cost(self) -> float:
        """Seconds that a clip takes here."""
        return self._seconds / max(1, self._made)

    def _timed(self, place: int) -> T:
        began = time.monotonic()
        made = self._kind.make(place)
        with self._lock:
            self._made += 1
            self._seconds += time.monotonic() - began
        return made

    def _offered(self, place: int, name: str, readers: Sequence[Reader], ahead: float = float("inf")) -> tuple[T, bool]:
        """Make a clip and put it into the window if somebody will want it; return whether it is there."""
        made = self._timed(place)
        use = min(next_use(name, readers), ahead)
        if use == float("inf"):
            return made, False
        clip = self._kind.pack(made)
        self._bytes = max(self._bytes, clip.nbytes)
        if 2 * clip.nbytes > self._window.size:
            self._sharing.give_up(f"the memory for them does not hold two of {ByteSize(clip.nbytes).human_readable()}")
            return made, False
        everybody = [*readers, *self._window.others(), self._window.me]  # they decide what else may go
        return made, self._window.publish(name, clip, everybody, use)

    def _help(self, place: int, readers: Sequence[Reader]) -> bool:
        """Make the next clip of this order that nobody has begun; return whether there was one."""
        if self._is_inner:
            return False
        for later in self._soon(place, 1 + len({each.trial for each in readers})):
            name = name_of(self._kind.group, self._start + later)
            if later in self._kept or later in self._failed or self._window.has(name):
                continue
            with self._window.claim(name) as is_mine:
                if not is_mine or self._window.has(name):
                    continue
                try:
                    made, is_there = self._offered(later, name, readers, later - place)
                except FarError:
                    self._failed.add(later)  # when its turn comes, it is tried again, and said
                    return True
                if not is_there:
                    self._kept[later] = made
                return True
        return False

    def _soon(self, place: int, trials: int) -> Sequence[int]:
        """Return the places after one that are near enough to be made ahead."""
        most = 2 * self._sharing.workers * trials
        if self._bytes:
            most = min(most, self._window.size // (2 * self._bytes))
        first = bisect.bisect_right(self._order, place)
        return self._order[first : first + most]
