"""An S3 server on loopback for tests: moto behind a small proxy that can fail in the ways object storage does."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from moto.server import ThreadedMotoServer

REGION = "us-east-1"
SECRET = "planted-secret-of-the-store"
Fault = Callable[["Proxy"], bool]
"""Answers a request in place of the server, and says whether it did."""


def error(status: int, code: str, times: int = 10**9, method: str = "", contains: str = "") -> Fault:
    """Answer so many requests (of a method, with this in their path) with an error of S3."""
    left = [times]

    def answer(proxy: Proxy) -> bool:
        if left[0] <= 0 or method not in ("", proxy.command) or contains not in proxy.path:
            return False
        left[0] -= 1
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>planted</Message></Error>".encode()
        body = b"" if proxy.command == "HEAD" else text  # as S3 does: an answer to HEAD has no body
        proxy.read_body()
        proxy.reply(status, [("Content-Type", "application/xml")], body)
        return True

    return answer


def cut(times: int = 10**9, method: str = "PUT", contains: str = "") -> Fault:
    """Close the connection in the middle of so many requests."""
    left = [times]

    def answer(proxy: Proxy) -> bool:
        if left[0] <= 0 or method != proxy.command or contains not in proxy.path:
            return False
        left[0] -= 1
        proxy.close_connection = True
        proxy.connection.close()
        return True

    return answer


def stall(seconds: float, times: int = 10**9, method: str = "PUT", contains: str = "") -> Fault:
    """Say nothing for so long to so many requests, then close."""
    left = [times]

    def answer(proxy: Proxy) -> bool:
        if left[0] <= 0 or method != proxy.command or contains not in proxy.path:
            return False
        left[0] -= 1
        time.sleep(seconds)
        proxy.close_connection = True
        with contextlib.suppress(OSError):
            proxy.connection.close()
        return True

    return answer


def expired_unless(user: str) -> Fault:
    """Refuses as expired whatever is not signed with the access key of that name."""

    def answer(proxy: Proxy) -> bool:
        known = f"Credential={user}/" in proxy.headers.get("Authorization", "")
        return not known and error(400, "ExpiredToken")(proxy)

    return answer


class Proxy(BaseHTTPRequestHandler):
    """Hands requests on to the server, unless a fault of `S3.faults` answers them."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        """Nothing: tests read `S3.requests`."""

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "server", "date"):
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def pass_on(self) -> None:
        s3 = self.server.s3
        s3.requests[self.command, self.path.partition("?")[0]] += 1
        s3.log.append(f"{self.command} {self.path}")
        if any(fault(self) for fault in list(s3.faults)):
            return
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        body = self.read_body()
        upstream = http.client.HTTPConnection(*s3.upstream, timeout=60)
        chunked = ("transfer-encoding", "content-length", "expect", "connection")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in chunked}
        upstream.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        self.reply(answer.status, answer.getheaders(), content)

    def handle_expect_100(self) -> bool:
        return True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815 - the names that the base class looks for


class Server(ThreadingHTTPServer):
    daemon_threads = True
    s3: S3

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that left is no news."""


class S3:
    """The running server: `url`, the faults it is to show, and what it was asked."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.requests: Counter[tuple[str, str]] = Counter()
        self.log: list[str] = []
        self.server = Server(("127.0.0.1", 0), Proxy)
        self.server.s3 = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.buckets = 0

    def environment(self) -> dict[str, str]:
        """What a process needs to use it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def bucket(self) -> str:
        """The name of a new bucket."""

        self.buckets += 1
        name = f"bucket-{self.buckets}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> object:
        """A client that goes past the proxy."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.upstream[0]}:{self.upstream[1]}",
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key=SECRET,
        )


@contextlib.contextmanager
def running() -> Iterator[S3]:
    """A server for the time of the block."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    s3 = S3(moto.get_host_and_port())
    thread = threading.Thread(target=s3.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield s3
    finally:
        s3.server.shutdown()
        s3.server.server_close()
        moto.stop()
