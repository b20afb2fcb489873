"""Who may ask: holders of the token, or programs of this machine; no pages of other sites."""

import hmac
import ipaddress

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from abbe.errors import ConfigError
from abbe.service.log import tell

LEAST_TOKEN = 16
"""Characters of a token: fewer can be tried out."""
OPEN = ("/health/live", "/health/ready", "/docs", "/openapi.json", "/static-offline-docs")
"""What needs no token: nothing of images or packages is told there."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


def is_loopback(host: str) -> bool:
    """Whether an address is within reach of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_token(host: str, token: str | None) -> None:
    """Refuse to be open to others without a token, or with one that is soon found.

    Raises:
        ConfigError: Naming what to do.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host}: others than this machine may reach it, so a token is needed. Give "
            "--token-file FILE, or set ABBE_TOKEN; 'openssl rand -hex 32' makes one"
        )
    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or " " in token):
        raise ConfigError(
            f"token: {LEAST_TOKEN} or more ASCII characters without blanks are needed; 'openssl "
            "rand -hex 32' makes one"
        )


class Guard:
    """Refuses requests that show no token, where there is one.

    Without a token, those are refused that come under another host name (DNS rebinding) or from
    pages of other sites, which a browser on this machine may have open.

    Args:
        app: What is guarded.
        token: What is to be shown; None where this machine's programs may ask without.
        origins: Sites whose pages may ask.
    """

    def __init__(self, app: ASGIApp, token: str | None, origins: tuple[str, ...] = ()) -> None:
        self._app, self._token, self._origins = app, token, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 403 in words, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refused = self._refusal(scope["path"], Headers(scope=scope))
        if refused is not None:
            tell(scope["method"], "(refused)", refused.status_code, 0.0)
        await (refused or self._app)(scope, receive, send_with_headers)

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        if self._token is not None:
            if path.startswith(OPEN):
                return None
            shown = headers.get("authorization", "")
            if hmac.compare_digest(shown.encode(), f"Bearer {self._token}".encode()):
                return None
            words = "show the token: 'Authorization: Bearer …'"
            return JSONResponse({"error": words}, 401, headers={"WWW-Authenticate": "Bearer"})
        host, origin = headers.get("host", ""), headers.get("origin")
        if not is_loopback(_without_port(host)):
            words = "without a token this service answers under localhost and 127.0.0.1 only"
            return JSONResponse({"error": words}, 403)
        if origin is not None and origin not in (f"http://{host}", *self._origins):
            return JSONResponse({"error": "requests from pages of other sites are refused"}, 403)
        return None


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).strip("[]")
