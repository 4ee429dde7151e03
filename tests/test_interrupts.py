"""Ctrl-C at the worst of moments."""

import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from edgesim.interrupts import interruptible

PATIENCE_S = 30.0


class Watched:
    """Calls something when it goes."""

    def __init__(self, going: Callable[[], None]) -> None:
        self.going = going

    def __del__(self) -> None:
        self.going()


class Plain:
    pass


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    """The handler that Python begins with, whatever started the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):  # the signal is handled somewhere in here
        pass


def after(happening: Callable[[], None]) -> None:
    """Let something happen, and wait for what comes of it."""
    happening()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_python_alone_loses_what_comes_in_a_finaliser() -> None:
    watched = Watched(press)
    del watched  # nothing is raised, here or later
    time.sleep(0.05)


def test_ctrl_c_in_a_finaliser_is_heard() -> None:
    held = [Watched(press)]
    with pytest.raises(KeyboardInterrupt), interruptible():
        after(held.clear)


def test_ctrl_c_in_the_callback_of_a_weak_reference_is_heard() -> None:
    held = [Plain()]
    weakref.finalize(held[0], press)
    with pytest.raises(KeyboardInterrupt), interruptible():
        after(held.clear)


def test_ctrl_c_elsewhere_comes_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interruptible():
        after(press)
    assert time.monotonic() - began < PATIENCE_S
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_programs_own_stays() -> None:
    heard = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    with interruptible():
        press()
    assert heard == [signal.SIGINT]


def test_other_threads_than_the_main_one_may_run() -> None:
    seen = []

    def run() -> None:
        with interruptible():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
