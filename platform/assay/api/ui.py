"""The local page that shows a store as it is now."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from contextlib import suppress

from assay.api.arguments import StoreLike, store_of
from assay.errors import AssayError, InputError
from assay.reports.live import server


def serve(store: StoreLike = None, *, port: int = 0, on_ready: Callable[[str], object] = lambda address: None) -> None:
    """Serve the page of a store on 127.0.0.1 until Ctrl-C; on_ready: called with its address, which holds the token.

    port: 0 for any that is free. Raises InputError where the port is taken, StoreError where the store cannot be read,
    AssayError where the extra `ui` is not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise AssayError(server.INSTALL) from error
    place = store_of(store)
    place.names("sweeps")  # a store that cannot be read is an error before anything is served
    token = secrets.token_urlsafe(24)
    application = server.application(place, token)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((server.HOST, port))
        except (OSError, OverflowError) as error:
            raise InputError(f"--port {port} is taken or not allowed ({error}); leave it out for a free one") from error
        listening.listen(128)
        on_ready(f"http://{server.HOST}:{listening.getsockname()[1]}/{token}/")
        config = uvicorn.Config(
            application, log_level="warning", access_log=False, server_header=False, lifespan="off", proxy_headers=False
        )
        with suppress(KeyboardInterrupt):  # how a person ends it
            uvicorn.Server(config).run(sockets=[listening])
