"""Who may ask the server: programs of this machine that know its token, and no page of another site.

A page of another site can make a browser send requests here. It cannot read the answers, does not know the token, gets
no cookie sent along (``SameSite=Strict``) and cannot add a header of its own without being asked first. A name of
another site that leads to this machine is noticed by the header ``Host``.
"""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("localhost", "127.0.0.1")

HEADER = "X-Segmend"
"""A request that changes something has it."""

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; font-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load: nothing from elsewhere."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_ASK = "Open the address that 'segmend review' has printed; it ends in a token."


class Guard:
    """Refuses requests that do not come from the page, and adds headers of security to every answer.

    Args:
        app: that answers the others.
        token: of this server.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token
        # Cookies are shared by all ports of a machine, so each server has one of its own.
        self._cookie = f"segmend-{hashlib.sha256(token.encode()).hexdigest()[:12]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        first = scope["path"] == "/" and self._is_token(_query(scope).get("token", ""))

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    added[name] = value
                added.setdefault("Cache-Control", "no-store")
                if first:
                    added.append("Set-Cookie", f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        refusal = self._refusal(scope, headers, first)
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Headers, first: bool) -> Response | None:
        if _host(headers.get("host", "")) not in HOSTS:
            return _refused(scope, "the name of this server is not localhost")
        if not first and not self._is_token(self._held(headers)):
            return _refused(scope, _ASK)
        if scope["method"] not in ("GET", "HEAD") and headers.get(HEADER) != "1":
            return _refused(scope, f"the header {HEADER} is missing")
        return None

    def _held(self, headers: Headers) -> str:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return ""
        return cookies[self._cookie].value if self._cookie in cookies else ""

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _refused(scope: Scope, reason: str) -> Response:
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": reason, "code": "forbidden"}, 403)
    return PlainTextResponse(reason, 403)


def _query(scope: Scope) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}


def _host(header: str) -> str:
    return header.rpartition(":")[0].lower() if ":" in header else header.lower()
