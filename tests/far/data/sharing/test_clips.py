from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from far.data.decoding.decoder import VideoError
from far.data.sharing import clips as module
from far.data.sharing import window as window_module
from far.data.sharing.clips import Kind, Lap, Sharing
from far.data.sharing.window import Window

GROUP = "abc"
CLIPS = 48


class Trial(threading.Thread):
    """A trial that reads all clips in order, as a process of its own would."""

    def __init__(self, directory: Path, name: str, made: Counter[int], **how: object) -> None:
        super().__init__(daemon=True)
        self.made, self.how = made, how
        window = Window(directory, int(how.get("size", 1 << 20)), name, [GROUP])
        self.sharing = Sharing(window, companions=int(how.get("companions", 0)), workers=1)
        self.read: list[np.ndarray] = []
        self.failures: list[str] = []

    def clip(self, place: int) -> np.ndarray:
        self.made[place] += 1
        time.sleep(0.004)
        if place in self.how.get("bad", ()):  # type: ignore[operator]
            raise VideoError(Path("bad.mp4"), f"clip {place} is damaged")
        return np.full(5000, place, np.uint8)

    def run(self) -> None:
        time.sleep(float(self.how.get("late", 0)))
        kind = Kind(GROUP, self.clip, lambda clip: clip, lambda clip: clip)
        lap = Lap(self.sharing, kind, start=0, order=range(CLIPS))
        for place in range(CLIPS):
            try:
                self.read.append(lap.read(place))
            except VideoError as error:
                self.failures.append(error.reason)
            time.sleep(float(self.how.get("pause", 0)))
            if place == 2 and (goes_on := self.how.get("goes_on")):
                assert isinstance(goes_on, threading.Event) and goes_on.wait(60)


def run(trials: list[Trial]) -> None:
    for trial in trials:
        trial.start()
    for trial in trials:
        trial.join(60)
        assert not trial.is_alive()
    for trial in trials:
        trial.sharing.close()


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_module, "LOOK", 0.01)


def is_right(trial: Trial, missing: set[int] = frozenset()) -> bool:  # type: ignore[assignment]
    return [clip[0] for clip in trial.read] == [place for place in range(CLIPS) if place not in missing] and all(
        (clip == clip[0]).all() and len(clip) == 5000 for clip in trial.read
    )


def test_each_clip_is_made_once_and_all_make_some(tmp_path: Path) -> None:
    made = [Counter[int]() for _ in range(4)]
    trials = [Trial(tmp_path / "w", f"t{n}", each) for n, each in enumerate(made)]
    run(trials)
    assert all(is_right(trial) for trial in trials)
    assert sum(made, Counter()) == Counter(range(CLIPS))
    assert all(len(each) >= CLIPS // 8 for each in made)
    assert not (tmp_path / "w").exists()


def test_a_lone_trial_shares_nothing(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "w", "alone", made := Counter())
    run([trial])
    assert is_right(trial)
    assert made == Counter(range(CLIPS))
    assert trial.sharing.window.directory == tmp_path / "w"


def test_a_late_trial_finds_what_its_companion_made(tmp_path: Path) -> None:
    first = Trial(tmp_path / "w", "first", made := Counter(), companions=1)
    first.start()
    first.join()
    late = Trial(tmp_path / "w", "late", made, companions=1)
    run([late])
    first.sharing.close()
    assert is_right(first)
    assert is_right(late)
    assert made == Counter(range(CLIPS))


@pytest.mark.parametrize("size", [16_000, 64_000])
def test_a_slow_trial_holds_nobody_up_where_the_window_is_small(tmp_path: Path, size: int) -> None:
    made = Counter[int]()
    fast = [Trial(tmp_path / "w", f"t{n}", made, size=size) for n in range(2)]
    slow = Trial(tmp_path / "w", "slow", own := Counter(), size=size, goes_on=(goes_on := threading.Event()))
    slow.start()
    run(fast)
    assert len(slow.read) <= 3
    goes_on.set()
    slow.join()
    slow.sharing.close()
    assert all(is_right(trial) for trial in [*fast, slow])
    assert made.total() + own.total() <= 2 * CLIPS + 8


def test_a_trial_that_stops_in_the_middle_of_a_clip_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    going, stopped = threading.Event(), Trial(tmp_path / "w", "stopped", Counter())
    trial = Trial(tmp_path / "w", "going on", made := Counter())
    claimed = threading.Event()

    def clip(place: int) -> np.ndarray:
        claimed.set()
        assert going.wait(30)
        return np.zeros(5000, np.uint8)

    stopped.clip = clip  # type: ignore[method-assign]
    stopped.start()
    assert claimed.wait(10)
    run([trial])
    going.set()
    stopped.join()
    stopped.sharing.close()
    assert is_right(trial)
    assert made == Counter(range(CLIPS))


def test_what_cannot_be_read_fails_for_each_trial_alike(tmp_path: Path) -> None:
    bad = {0, 7, 20}
    trials = [Trial(tmp_path / "w", f"t{n}", Counter(), bad=bad) for n in range(3)]
    run(trials)
    for trial in trials:
        assert is_right(trial, bad)
        assert trial.failures == [f"clip {place} is damaged" for place in sorted(bad)]


@pytest.mark.parametrize("size", [0, 5000, 9000])
def test_a_window_that_holds_no_two_clips_is_said_once_and_not_used(
    tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    made = [Counter[int]() for _ in range(2)]
    trials = [Trial(tmp_path / "w", f"t{n}", each, size=size) for n, each in enumerate(made)]
    with caplog.at_level(logging.WARNING):
        run(trials)
    assert all(is_right(trial) for trial in trials)
    assert "does not hold two of" in caplog.text
    assert len(caplog.messages) <= 2, "once each; who is alone then has nothing to say"


def test_memory_that_is_gone_is_said_once_and_each_goes_on_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(window_module, "_add", full)
    trials = [Trial(tmp_path / "w", f"t{n}", Counter()) for n in range(2)]
    with caplog.at_level(logging.WARNING):
        run(trials)
    assert all(is_right(trial) for trial in trials)
    assert "No space left on device" in caplog.text
    assert len(caplog.messages) <= 2


def test_a_place_that_a_thread_has_yet_to_begin_is_wanted_while_others_are_ahead_of_it(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "w", "one", Counter())
    lap = Lap(trial.sharing, Kind(GROUP, trial.clip, np.asarray, np.asarray), start=100, order=[4, 5, 6])
    for place, first in ((5, 104), (6, 104), (4, 107)):
        lap.read(place)
        assert trial.sharing.window.me.place == first
    trial.sharing.close()


def test_who_shares_nothing_any_more_is_no_reader(tmp_path: Path) -> None:
    trials = [Trial(tmp_path / "w", f"t{n}", Counter()) for n in range(2)]
    trials[0].sharing.give_up("no room")
    time.sleep(0.02)
    assert trials[1].sharing.readers(GROUP) == []
    run(trials)
    assert all(is_right(trial) for trial in trials)


def test_room_is_not_made_of_what_only_others_want(tmp_path: Path) -> None:
    """Who augments differently wants frames, and leaves alone the clips that others share among themselves."""
    size = 4 * (5000 + 128)
    one, two = (Trial(tmp_path / "w", name, Counter(), size=size).sharing for name in ("one", "two"))
    third = Sharing(Window(tmp_path / "w", size, "third", ["other", "frames"]))
    fourth = Sharing(Window(tmp_path / "w", size, "fourth", ["frames"]))
    for place in range(4):
        assert one.window.publish(f"{GROUP}-{place:012d}", np.zeros(5000, np.uint8), [two.window.me], place)
    kind = Kind("frames", lambda place: np.zeros(5000, np.uint8), lambda clip: clip, lambda clip: clip)
    Lap(third, kind, start=0, order=range(90, 92)).read(90)
    assert sum(two.window.has(f"{GROUP}-{place:012d}") for place in range(4)) == 4
    for each in (one, two, third, fourth):
        each.close()


def test_what_one_thread_made_ahead_without_room_for_it_another_does_not_make_again(tmp_path: Path) -> None:
    made = Counter[int]()
    trial, companion = (Trial(tmp_path / "w", name, made) for name in ("one", "two"))
    lap = Lap(trial.sharing, Kind(GROUP, trial.clip, np.asarray, np.asarray), start=0, order=range(8))
    read: list[np.ndarray] = []
    with companion.sharing.window.claim(f"{GROUP}-{5:012d}") as is_mine:  # as the thread has that makes it
        assert is_mine
        thread = threading.Thread(target=lambda: read.append(lap.read(5)))
        thread.start()
        while not made:  # it has met the claim, and makes what comes after
            time.sleep(0.001)
        lap._kept[5] = np.full(5000, 5, np.uint8)
    thread.join(10)
    assert read[0][0] == 5 and made[5] == 0
    for each in (trial, companion):
        each.sharing.close()


def test_work_that_costs_nothing_is_not_shared(tmp_path: Path) -> None:
    trials = [Trial(tmp_path / "w", f"t{n}", Counter()) for n in range(2)]
    calls: list[int] = []

    def cheap(place: int) -> np.ndarray:
        calls.append(place)
        return np.full(5000, place, np.uint8)

    for trial in trials:
        trial.clip = cheap  # type: ignore[method-assign]
    run(trials)
    assert all(is_right(trial) for trial in trials)
    assert len(calls) > CLIPS + CLIPS // 4


@pytest.mark.parametrize("seed", range(3))
def test_readers_that_pause_at_random_read_what_is_right(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    made = Counter[int]()
    trials = [
        Trial(
            tmp_path / "w",
            f"t{n}",
            made,
            size=rng.choice([12_000, 40_000, 400_000]),
            pause=rng.choice([0, 0.002, 0.01]),
        )
        for n in range(4)
    ]
    run(trials)
    assert all(is_right(trial) for trial in trials)
