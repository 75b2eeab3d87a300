"""The web application: what the page of a review asks for, as JSON, pictures and files."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from segmend.core.errors import Code, InputError
from segmend.review.review import Review
from segmend.review.security import Guard

_STATUS: Mapping[Code, int] = {
    "unknown-name": 404,
    "missing-file": 409,
    "changed-data": 409,
    "damaged": 409,
    "unreadable": 409,
    "mismatch": 409,
    "in-use": 503,
    "not-writable": 503,
    "no-space": 503,
    "too-large": 503,
}
"""Statuses of HTTP by the code of an error; all others are 400."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}
_SHARED = ("pixels.js", "outlines.js", "elements.js", "colours.css", "controls.css")
"""Files of the mailed report that the page of a review uses, too."""

_KEPT = {"Cache-Control": "private, max-age=300"}
_LONGEST_BODY = 2**16

Answer = Callable[[Review, Request], Response]
Change = Callable[[Review, Mapping[str, Any]], Mapping[str, Any]]


def make_application(review: Review, token: str) -> Starlette:
    """The application of a review.

    Args:
        review: what is reviewed.
        token: that requests must know.
    """
    reading = [
        ("/", _page),
        ("/static/{name}", _static),
        ("/api/audit", lambda review, _: JSONResponse(review.overview())),
        ("/api/labels", lambda review, request: JSONResponse(review.labels(_reader(request)))),
        ("/api/agreement", lambda review, _: JSONResponse(review.agreement())),
        ("/api/progress", lambda review, request: JSONResponse(review.progress(_reader(request)))),
        ("/api/cases/{case}", _case),
        ("/api/cases/{case}/scan", _scan),
        ("/api/cases/{case}/masks", _masks),
        ("/api/cases/{case}/volume/{kind}.nii.gz", _volume),
    ]
    changing: list[tuple[str, Change]] = [
        ("/api/decisions", Review.decide),
        ("/api/take_back", Review.take_back),
        ("/api/open", Review.open_viewer),
        ("/api/replace", Review.replace),
        ("/api/export", Review.export),
    ]
    routes = [Route(path, _endpoint(review, answer), methods=["GET"]) for path, answer in reading]
    routes += [Route(path, _change(review, change), methods=["POST"]) for path, change in changing]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={404: _unknown, 405: _unknown, Exception: _unforeseen},
    )


def _endpoint(review: Review, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await run_in_threadpool(answer, review, request)
        except InputError as error:
            return _explained(error)

    return endpoint


def _change(review: Review, change: Change) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(await run_in_threadpool(change, review, await _body(request)))
        except InputError as error:
            return _explained(error)

    return endpoint


async def _body(request: Request) -> dict[str, Any]:
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _LONGEST_BODY:
            raise InputError("request", "is too long", f"send at most {_LONGEST_BODY} bytes", code="invalid-value")
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError) as error:
        raise InputError("request", f"is not JSON ({error})", "send an object", code="invalid-value") from error
    if not isinstance(found, dict):
        raise InputError("request", "is no JSON object", "send an object", code="invalid-value")
    return found


def _explained(error: InputError) -> Response:
    return JSONResponse({"error": str(error), "code": error.code}, _STATUS.get(error.code, 400))


async def _unknown(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return JSONResponse({"error": "there is nothing at this address", "code": "unknown-name"}, status)


async def _unforeseen(request: Request, error: Exception) -> Response:
    """The server prints where it comes from."""
    return JSONResponse({"error": f"an error that was not foreseen: {error!r}", "code": "environment"}, 500)


def _page(review: Review, request: Request) -> Response:
    return _file("index.html")


def _static(review: Review, request: Request) -> Response:
    return _file(request.path_params["name"])


def _file(name: str) -> Response:
    """A file of the page, by its name among those that there are: a name that leads elsewhere is none of them."""
    folder = files("segmend.audit.report") if name in _SHARED else files("segmend.review").joinpath("page")
    known = {each.name: each for each in folder.iterdir() if each.is_file()}
    kind = next((kind for ending, kind in _TYPES.items() if name.endswith(ending)), None)
    if name not in known or kind is None:
        raise InputError("page", f"has no file '{name}'", "reload it", code="unknown-name")
    return Response(known[name].read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})


def _case(review: Review, request: Request) -> Response:
    return JSONResponse(review.case(request.path_params["case"], request.query_params.get("reader", "")))


def _scan(review: Review, request: Request) -> Response:
    window = (_number(request, "low"), _number(request, "high"))
    content = review.scans.slice_of_scan(
        review.scans.case(request.path_params["case"]),
        _whole(request, "axis"),
        _whole(request, "index"),
        _whole(request, "channel", 0),
        _window(*window),
    )
    return Response(content, media_type="image/png", headers=_KEPT)


def _masks(review: Review, request: Request) -> Response:
    content = review.scans.slice_of_masks(
        review.scans.case(request.path_params["case"]),
        _whole(request, "axis"),
        _whole(request, "index"),
        request.query_params.get("label", ""),
    )
    return Response(content, media_type="image/png", headers=_KEPT)


def _volume(review: Review, request: Request) -> Response:
    content = review.volume(
        request.path_params["case"],
        request.path_params["kind"],
        request.query_params.get("label", ""),
        _whole(request, "channel", 0),
    )
    return Response(content, media_type="application/gzip", headers=_KEPT)


def _reader(request: Request) -> str:
    return request.query_params.get("reader", "")


def _whole(request: Request, name: str, default: int | None = None) -> int:
    given = request.query_params.get(name, "" if default is None else str(default))
    if not (given.isascii() and given.isdecimal() and len(given) < 10):
        raise InputError(name, f"is '{given}'", "give a whole number", code="invalid-value")
    return int(given)


def _number(request: Request, name: str) -> float | None:
    given = request.query_params.get(name)
    if given is None:
        return None
    try:
        number = float(given)
    except ValueError as error:
        raise InputError(name, f"is '{given}'", "give a number", code="invalid-value") from error
    if not abs(number) < 1e30:  # which NaN is not, either
        raise InputError(name, f"is '{given}'", "give a finite number", code="invalid-value")
    return number


def _window(low: float | None, high: float | None) -> tuple[float, float] | None:
    if low is None and high is None:
        return None
    if low is None or high is None or not high > low:
        raise InputError(
            "low, high", f"are {low} and {high}", "give both, the second above the first", code="invalid-value"
        )
    return low, high
