"""Signals that ask a process to stop: Ctrl+C, the time limit of a batch job, a terminal that is closed.

Without more, a signal raises ``Stopped`` in the main thread, so that every ``finally`` runs. Where work would be lost,
``deferred`` lets it reach a point from which it can be continued. A thread makes sure that a process which is deep in a
library, where Python receives no signal, is ended within ``ANSWER_S`` too. A second signal ends the process wherever it
is.

Nothing heavy is imported here: the first thing that ``segmend`` does is to listen.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Literal, NoReturn

ANSWER_S = 4.0
"""Seconds after which a process is ended that should have ended by itself."""

_ONE_REQUEST_S = 0.5
"""Signals that follow within this time are one request: ``timeout`` and some shells send theirs twice."""

SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if name in signal.Signals.__members__  # Windows has no SIGHUP, others no SIGBREAK
)

Mode = Literal["end", "raise", "defer"]


class Stopped(KeyboardInterrupt):
    """The process was asked to stop.

    Args:
        number: the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)

    @property
    def status(self) -> int:
        """Exit status of the process, by the convention of shells: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number

    def __str__(self) -> str:
        return f"{self.cause}; {_outlook}"

    @property
    def cause(self) -> str:
        """What has stopped the process, as a part of a message."""
        return f"stopped by {'Ctrl+C' if self.number == signal.SIGINT else self.number.name}"


_START_AGAIN = "run the same command again to start again"
_outlook = _START_AGAIN


def promise(what: str | None) -> None:
    """States what the same command would do if the process were stopped from now on; at first, it would start again.

    Args:
        what: such as "continue from step 250"; None leaves what was stated before.
    """
    global _outlook
    if what is not None:
        _outlook = f"run the same command again to {what}"


def promise_nothing() -> None:
    """Reset the stated outcome, at the beginning of a command."""
    global _outlook
    _outlook = _START_AGAIN


class _Listener:
    """The handler of the signals of this process, and the thread behind it."""

    def __init__(self) -> None:
        self.mode: Mode = "raise"
        self.requested: signal.Signals | None = None
        self.unhurried = False
        self._first_at = 0.0
        self._insisted = False
        self._before: dict[int, Any] = {}
        self._hook = sys.unraisablehook
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)

    def start(self) -> None:
        for number in SIGNALS:
            # nohup has this signal ignored, and means it.
            if number.name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._before[number] = signal.getsignal(number)
        self.claim()
        self._fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        # Raised in a destructor, the exception would only be printed; the thread ends the process then.
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        threading.Thread(target=self._watch, name="segmend-signals", daemon=True).start()

    def claim(self) -> None:
        """Install the handlers, also replacing those of a library."""
        for number in self._before:
            signal.signal(number, self._handle)

    def stop(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._fd)
        sys.unraisablehook = self._hook
        self._sender.close()  # ends the thread

    def forget(self) -> None:
        """In a forked process, which is to be ended like any other, and not to answer for its parent."""
        signal.set_wakeup_fd(-1)
        for number in self._before:
            signal.signal(number, signal.SIG_DFL)

    def check(self) -> None:
        """Raises if the process was asked to stop.

        Raises:
            Stopped: it was.
        """
        if self.requested is not None:
            raise Stopped(self.requested)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self._note(number)
        if self.mode == "end":
            self._end()
        if self.mode == "raise" or again:
            raise Stopped(number)

    def _note(self, number: int) -> bool:
        """Record a signal; return whether it is a second request."""
        now = time.monotonic()
        if self.requested is None:
            self.requested, self._first_at = signal.Signals(number), now
        return now - self._first_at > _ONE_REQUEST_S

    def _watch(self) -> None:
        deadline: float | None = None
        with self._receiver as receiver:
            while True:
                receiver.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.01))
                try:
                    numbers = receiver.recv(1)
                except TimeoutError:
                    if self._insisted or not (self.unhurried or self.mode == "defer"):
                        self._end()
                    deadline = time.monotonic() + ANSWER_S if self.unhurried else None
                    continue
                if not numbers:
                    return
                if numbers[0] in SIGNALS:
                    self._insisted = self._note(numbers[0])
                    deadline = time.monotonic() + ANSWER_S

    def _end(self) -> NoReturn:
        """Ends the process here and now, without leaving temporaries or child processes."""
        assert self.requested is not None
        end_children()
        for tidy in reversed(tuple(_tidying)):
            with suppress(Exception):  # the main thread may be at the same
                tidy()
        stopped = Stopped(self.requested)
        text = f"{stopped.cause} before any work began" if self.mode == "end" else str(stopped)
        with suppress(OSError):
            os.write(2, f"segmend: {text}\n".encode("ascii", "backslashreplace"))
        os._exit(stopped.status)

    def _unraisable(self, unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Stopped):
            self._hook(unraisable)


_listener: _Listener | None = None
_tidying: list[Callable[[], object]] = []


@contextmanager
def listening(mode: Mode = "raise") -> Iterator[None]:
    """Answers signals inside the block. Only the main thread hears signals; elsewhere, nothing is changed.

    Args:
        mode: "raise" raises ``Stopped``; "end" ends the process at once, for blocks such as imports which have
            nothing to tidy up, and in which an exception may be swallowed.
    """
    global _listener
    if _listener is not None:
        with _in_mode(mode):
            yield
        return
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    listener = _Listener()
    listener.mode = mode
    listener.start()
    _listener = listener
    try:
        yield
    finally:
        _listener = None
        listener.stop()


@contextmanager
def deferred() -> Iterator[None]:
    """Lets the block go on after a first signal, to a point at which it calls ``check``.

    Raises:
        Stopped: at the end of the block, if a signal came and nothing was raised inside.
    """
    with listening():
        with _in_mode("defer"):
            yield
        check()


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises at once inside a block in which nothing would be lost, within one of ``deferred``.

    Raises:
        Stopped: a signal comes, or came before.
    """
    with _in_mode("raise"):
        check()
        yield


@contextmanager
def unhurried() -> Iterator[None]:
    """Give a stopped process unlimited time to end inside the block."""
    if _listener is None:
        yield
        return
    _listener.unhurried = True
    try:
        yield
    finally:
        _listener.unhurried = False


def requested() -> signal.Signals | None:
    """The signal by which the process was asked to stop, if it was."""
    return _listener.requested if _listener else None


def check() -> None:
    """Raises if the process was asked to stop.

    Raises:
        Stopped: it was.
    """
    if _listener:
        _listener.check()


def claim() -> None:
    """Reinstall the handlers where a library has replaced them."""
    if _listener and threading.current_thread() is threading.main_thread():
        _listener.claim()


@contextmanager
def at_the_end(tidy: Callable[[], object]) -> Iterator[None]:
    """Has a function called at the end of the block, and also where the process must be ended inside."""
    _tidying.append(tidy)
    try:
        yield
    finally:
        _tidying.remove(tidy)
        tidy()


def end_soon(status: int) -> None:
    """Has the process end as soon as the interpreter begins to: taking large libraries down may take seconds.

    What libraries have registered for the end of the process still runs.
    """
    global _status
    _status = status


def _skip_the_rest() -> None:
    if _status is not None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(_status)


_status: int | None = None
atexit.register(_skip_the_rest)  # before all others, so it is called after them


def end_children() -> None:
    """Ends the processes that this one has started."""
    import psutil

    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()


@contextmanager
def _in_mode(mode: Mode) -> Iterator[None]:
    if _listener is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before, _listener.mode = _listener.mode, mode
    try:
        yield
    finally:
        if _listener is not None:
            _listener.mode = before


def _after_fork() -> None:
    global _listener
    if _listener is not None:
        _listener.forget()
        _listener = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
