"""Ending a run when asked to: the step under way ends, the state is saved, and the process stops."""

from __future__ import annotations

import signal
import threading
from typing import Any

# Of a terminal or connection that closes; Windows has none, and under nohup it stays ignored.
HANGUP = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else ()


class Stopped(BaseException):
    """The run was asked to stop, and can go on from what is saved.

    No Exception: what goes on with other work after a failure must not go on after this.
    """


class StopSignals:
    """While entered, SIGINT, SIGTERM and SIGHUP are only noted in `asked`; a second SIGINT acts as it always did.

    A second of the others does not: a pool of processes sends several. On exit a signal that nobody has acted on is
    raised again.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, *HANGUP)

    def __init__(self) -> None:
        self.asked = ""  # the signal's name
        self.handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            self.handlers = {one: signal.signal(one, self._note) for one in self.SIGNALS}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number in self.handlers:
            self._put_back(number)
        if self.asked and (exception[0] is None or issubclass(exception[0], Exception)):  # no failure may hide it
            signal.raise_signal(signal.Signals[self.asked])

    def _note(self, number: int, frame: Any) -> None:
        self.asked = signal.Signals(number).name
        if number == signal.SIGINT:
            self._put_back(number)

    def _put_back(self, number: int) -> None:
        signal.signal(number, self.handlers[number] or signal.SIG_DFL)  # None: set by another than Python
