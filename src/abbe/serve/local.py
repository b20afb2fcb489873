"""Listening on this machine only."""

import errno
import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.applications import Starlette

from abbe.errors import ConfigError

ADDRESS = "127.0.0.1"


def listen(port: int = 0) -> socket.socket:
    """A socket on the loopback address; port 0 takes any that is free.

    Raises:
        ConfigError: The port is taken, or may not be used.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"port {port}: a port is 0 (any that is free) to 65535")
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
        listening.listen()
    except OSError as error:
        listening.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise ConfigError(
            f"port {port}: {error.strerror}. Give another --port, or none to take a free one"
        ) from error
    return listening


def address_of(listening: socket.socket) -> str:
    """The address to open in a browser."""
    return f"http://{ADDRESS}:{listening.getsockname()[1]}/"


def run(app: Starlette, listening: socket.socket, *, open_browser: bool = False) -> None:
    """Answer until interrupted, told to terminate, or left by a terminal that was closed."""
    if open_browser:
        # The socket listens already: a browser that is early waits a moment.
        threading.Thread(target=webbrowser.open, args=[address_of(listening)], daemon=True).start()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False))
    # uvicorn passes Ctrl+C on when it has answered what was asked; here it is the way to end.
    with suppress(KeyboardInterrupt), signals_end(server):
        server.run(sockets=[listening])


@contextmanager
def signals_end(server: uvicorn.Server) -> Iterator[None]:
    """Have SIGTERM and SIGHUP end a server; else the process would end before what follows."""

    def end(*_: object) -> None:
        server.should_exit = True

    names = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    signals = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in signals}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
