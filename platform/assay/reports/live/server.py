"""The server behind `assay ui`: Starlette, for this machine only, read only, behind a token in the address."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from assay.errors import AssayError, StoreError
from assay.reports.live import frame
from assay.reports.live.watched import NotThereError, Watched
from assay.store.store import Store

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

HOST = "127.0.0.1"
NAMES = [HOST, "localhost"]
"""What a browser may call this server. Any other name is that of a page elsewhere which was made to lead here."""
INSTALL = "the page needs Starlette and Uvicorn; install: pip install 'assay[ui]'"
PAGES = (
    "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPORTS = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
"""A report is a file of the store, which others may have written: it may run, ask for and send nothing."""
HEADERS = {
    "Content-Security-Policy": PAGES,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NO_TOKEN = "This address lacks the token: use the one that assay ui printed.\n"
NOTHING = "There is nothing of that name here.\n"


def application(store: Store, token: str, after: float | None = None) -> Starlette:
    """The application, whose pages are below /TOKEN/. after: as of Watched.

    Raises AssayError where Starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.responses import HTMLResponse, PlainTextResponse
        from starlette.routing import Mount, Route
    except ImportError as error:
        raise AssayError(INSTALL) from error
    watched = Watched(store, f"/{token}", after=after)
    style = frame.style()

    def page(path: str, make: Callable[[Request], str]) -> Route:
        return Route(path, lambda request: HTMLResponse(make(request)))

    def finished(folder: str, file: str) -> Route:
        def answer(request: Request) -> Response:
            content = watched.file(folder, request.path_params["name"], file)
            return HTMLResponse(content, headers={"Content-Security-Policy": REPORTS})

        return Route(f"/{folder}/{{name}}/{file}", answer)

    def text(path: str, content: str, kind: str) -> Route:
        return Route(path, lambda request: PlainTextResponse(content, media_type=kind))

    pages = [
        page("/", lambda request: watched.first()),
        page("/sweeps/{name}", lambda request: watched.sweep(request.path_params["name"], _number(request))),
        page("/audits/{name}", lambda request: watched.audit(request.path_params["name"])),
        finished("audits", "report.html"),
        finished("studies", "study.html"),
        text("/style.css", style, "text/css"),
        text("/live.js", frame.SCRIPT, "text/javascript"),
    ]
    return Starlette(
        routes=[Mount(f"/{token}", routes=pages)],
        middleware=[
            Middleware(_WithHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False),
            Middleware(_WithToken, token=token),
        ],
        exception_handlers={
            404: lambda request, error: PlainTextResponse(NOTHING, 404),
            NotThereError: lambda request, error: PlainTextResponse(NOTHING, 404),
            StoreError: lambda request, error: PlainTextResponse(f"{error}\n", 503),
        },
    )


def _number(request: Request) -> int:
    """The page of a table that was asked for."""
    number = request.query_params.get("page", "1")
    if not (number.isascii() and number.isdigit() and 0 < len(number) < 9 and int(number)):
        raise NotThereError(number)
    return int(number)


class _WithToken:
    """Refuses an address that does not begin with the token, in a time that tells nothing about it."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        from starlette.responses import PlainTextResponse

        first = str(scope.get("path", "")).removeprefix("/").partition("/")[0]
        known = secrets.compare_digest(first.encode(errors="replace"), self.token)
        to = self.app if known or scope["type"] == "lifespan" else PlainTextResponse(NO_TOKEN, 403)
        await to(scope, receive, send)


class _WithHeaders:
    """Sets HEADERS on every answer that has none of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and the headers with the answer."""
        from starlette.datastructures import MutableHeaders
        from starlette.types import Message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    given.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers)
