"""Runs the web application on this machine alone, until Ctrl+C."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from segmend.core import signals as stopping
from segmend.core.errors import InputError
from segmend.core.progress import say
from segmend.review.application import make_application
from segmend.review.review import Review
from segmend.review.session import Session

HOST = "127.0.0.1"

_LOOK_S = 0.2
_GRACE_S = 1
"""Seconds that answers underway get when the server ends: less than a stopped process has."""


def serve(review: Review, port: int = 0, *, open_page: bool = True) -> None:
    """Serve a review until the process is asked to stop.

    Args:
        review: what is reviewed.
        port: to listen at; 0 takes that of a server of this audit that was killed, or any that is free.
        open_page: open the page in a browser, where there is a screen.

    Raises:
        InputError: the port is not free.
        Stopped: a signal other than Ctrl+C ended it.
    """
    root, mark = review.place.root, review.findings.mark
    listener, session = _listen(Session.left(root, mark), port)
    session.keep(root, mark)
    with listener:
        address = f"http://{HOST}:{session.port}/?token={session.token}"
        server = uvicorn.Server(
            uvicorn.Config(
                make_application(review, session.token),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        with _running(server, listener) as ended:
            say(f"Review at {address}")
            say("Only programs of this machine can open this address. Ctrl+C ends the review; decisions are kept.")
            if open_page and _has_screen():
                webbrowser.open(address)
            while not ended.wait(_LOOK_S):  # a signal does not interrupt a wait without a limit on every system
                pass
    session.forget(root, mark)


@contextmanager
def _running(server: uvicorn.Server, listener: socket.socket) -> Iterator[threading.Event]:
    """Run the server in a thread, and end it with the block, which Ctrl+C ends.

    Yields:
        An event that is set when the server has ended.
    """
    ended = threading.Event()  # a thread that is joined counts as ended when Ctrl+C interrupts that (Python 3.11)

    def run() -> None:
        try:
            server.run([listener])
        finally:
            ended.set()

    threading.Thread(target=run, name="segmend-review", daemon=True).start()
    try:
        yield ended
    except KeyboardInterrupt as interrupt:
        if isinstance(interrupt, stopping.Stopped) and interrupt.number != signal.SIGINT:
            raise
    finally:
        server.should_exit = True
        ended.wait(_GRACE_S + 1)


def _listen(left: Session | None, port: int) -> tuple[socket.socket, Session]:
    """A socket that listens, and the session with its port; that of a killed server if its port is wanted and free."""
    if left and port in (0, left.port):
        with _socket() as attempt:
            if _bound(attempt, left.port):
                return attempt.dup(), left
    listener = _socket()
    try:
        if not _bound(listener, port):
            problem = f"is {port}, which another program uses"
            raise InputError("port", problem, "give another one, or 0 for any that is free", code="in-use")
    except BaseException:
        listener.close()
        raise
    return listener, Session.new(listener.getsockname()[1])


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere it would let two servers share a port
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def _bound(listener: socket.socket, port: int) -> bool:
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES, getattr(errno, "WSAEACCES", None)):
            return False
        raise InputError(
            "port", f"cannot be used ({error.strerror})", "give another one", code="environment"
        ) from error
    return True


def _has_screen() -> bool:
    """Whether a browser would open in a window: some systems have one for terminals, which would take this one."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
