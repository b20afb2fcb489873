"""Listening for requests, until told to end."""

import errno
import socket
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from abbe.errors import ConfigError
from abbe.serve.local import signals_end

_KEPT = 15
"""s for which a connection that says nothing is kept."""


def listen(host: str, port: int) -> socket.socket:
    """A socket on an address of this machine; port 0 takes any that is free.

    Raises:
        ConfigError: There is no such address here, or the port is taken or may not be used.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: a port is 0 (any that is free) to 65535")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host {host}: this machine has no such address ({error})") from error
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen()  # who is told the address may ask at once
    except OSError as error:
        listening.close()
        where = f"--port {port}"
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            where = f"--host {host}"
        raise ConfigError(f"{where}: {error.strerror}. Give another") from error
    return listening


def address_of(listening: socket.socket) -> str:
    """Where it listens, as clients call it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server_of(app: ASGIApp, seconds: float) -> uvicorn.Server:
    """What answers with an app; what is in hand when it is to end is waited for.

    Args:
        app: The service.
        seconds: For which it waits.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, ws="none",
            timeout_keep_alive=_KEPT, timeout_graceful_shutdown=max(1, round(seconds)),
        )
    )  # fmt: skip


def run(app: ASGIApp, listening: socket.socket, seconds: float) -> None:
    """Answer until interrupted or told to terminate; see `server_of`."""
    server = server_of(app, seconds)
    # uvicorn passes signals on when it has ended, and images would stay on disk.
    with suppress(KeyboardInterrupt), signals_end(server):
        server.run(sockets=[listening])
