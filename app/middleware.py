"""Middleware that refuses requests for which gradio would fetch an address, or write a file elsewhere."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REFUSED = JSONResponse({"detail": "This page fetches nothing from other addresses: upload the file itself."}, 403)
_NOT_FOUND = JSONResponse({"detail": "There is no such thing on this page."}, 404)
_ADDRESS = re.compile(r"https?:", re.IGNORECASE)
_FILE = re.compile(r"/(file|proxy)[=/]\s*https?:", re.IGNORECASE)
_RECORDER = re.compile(r"/process_recording/*$")  # of the screen: it writes videos beside the page's own folder


class NoFetching:
    """ASGI middleware that refuses an address where gradio expects a file, which it would fetch for the client."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _RECORDER.search(scope["path"]):
            await _NOT_FOUND(scope, receive, send)
        elif _FILE.search(scope["path"]):
            await _REFUSED(scope, receive, send)
        else:
            await self._read(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look into what is sent as JSON; uploads, which are not, pass by as they come."""
        request = Request(scope, receive)
        if scope["method"] != "POST" or request.headers.get("content-type", "").lower().startswith("multipart/"):
            await self._app(scope, receive, send)
            return
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        if _names_an_address(body):
            await _REFUSED(scope, receive, send)
        else:
            await self._app(scope, _replayed(body, receive), send)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a receiver of a body that was read already, and then of what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def _names_an_address(body: bytes) -> bool:
    """Return whether anything in a JSON body is a file at an address, in the form in which gradio describes files."""
    try:
        values: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):  # gradio refuses it as well
        return False
    while values:
        value = values.pop()
        if isinstance(value, dict):
            if isinstance(path := value.get("path"), str) and _ADDRESS.match(path.strip()):
                return True
            values += value.values()
        elif isinstance(value, list):
            values += value
    return False
