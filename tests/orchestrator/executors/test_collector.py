"""The pause of the search for garbage."""

from __future__ import annotations

import gc

from orchestrator.executors import collector


def test_a_pause_lasts_until_the_last_that_overlaps_ends() -> None:
    import_, shut_down = collector.paused(), collector.paused()  # as in two threads
    assert gc.isenabled()
    import_.__enter__()
    shut_down.__enter__()
    import_.__exit__(None, None, None)
    assert not gc.isenabled()
    shut_down.__exit__(None, None, None)
    assert gc.isenabled()


def test_a_search_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collector.paused(), collector.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
