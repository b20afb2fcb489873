"""Keeps other sites' pages away: a local server is within reach of every page in the browser."""

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost")

POLICY = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Nothing from a network, in nobody's frame, for nobody else to read."""


class Guard:
    """Refuses requests under another host name (DNS rebinding) and from other origins' pages."""

    def __init__(self, app: ASGIApp, policy: Mapping[str, str] = POLICY) -> None:
        self._app, self._policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 in words, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if reason := _refusal(scope["method"], Headers(scope=scope)):
            await JSONResponse({"error": reason}, 403, headers=self._policy)(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._policy)
            await send(message)

        await self._app(scope, receive, send_with_policy)


def _refusal(method: str, headers: Headers) -> str | None:
    host = headers.get("host", "")
    if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
        return f"this page answers under {' and '.join(HOSTS)} only, not '{host}'"
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return f"requests from pages of '{origin}' are refused"
    if method in ("GET", "HEAD"):
        return None
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        # What a form of another page can send without asking is none of these.
        return "requests that change something are sent as application/json"
    return None
