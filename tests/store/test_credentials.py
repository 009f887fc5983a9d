"""Who asks S3: a profile with a role, as companies have, which pyarrow's own chain does not know."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pyarrow import fs

from assay.store import object_storage

CONFIG = """\
[profile base]
region = us-west-2
[profile company]
role_arn = arn:aws:iam::123456789012:role/researcher
source_profile = base
region = us-west-2
"""
SIGNED_ON = """\
[profile person]
sso_session = company
sso_account_id = 123456789012
sso_role_name = researcher
region = us-west-2
[sso-session company]
sso_start_url = https://company.example/start
sso_region = us-west-2
"""
KEYS = "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = secret\n"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch):
    """A function profile -> what the client of S3 is made with; the token service is moto's."""
    pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    (tmp_path / "config").write_text(CONFIG + SIGNED_ON)
    (tmp_path / "credentials").write_text(KEYS)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for module in ("botocore.tokens.SSOTokenProvider", "botocore.credentials.SSOProvider"):  # where a sign-on is left
        monkeypatch.setattr(f"{module}._SSO_TOKEN_CACHE_DIR", str(tmp_path / "sso"))
    given: list[dict[str, object]] = []
    monkeypatch.setattr(fs, "S3FileSystem", lambda **options: given.append(options))

    def ask(profile: str) -> dict[str, object]:
        monkeypatch.setenv("AWS_PROFILE", profile)
        object_storage._client.cache_clear()
        object_storage._client("s3", "bucket")
        return given[-1]

    yield ask
    object_storage._client.cache_clear()
    server.stop()


def test_the_role_of_a_profile_asks_and_not_the_key_that_it_comes_from(asked):
    found = asked("company")
    assert found["access_key"] not in ("AKIABASE", None)
    assert found["session_token"]


def test_what_pyarrow_finds_itself_it_also_renews_itself(asked):
    assert "access_key" not in asked("base")


class Portal(BaseHTTPRequestHandler):
    """The service that gives whoever has signed on the keys of a role."""

    def do_GET(self) -> None:
        known = self.headers["x-amz-sso_bearer_token"] == "a-token" and "role_name=researcher" in self.path
        keys = {"accessKeyId": "ASIASSO", "secretAccessKey": "secret", "sessionToken": "token", "expiration": 2**42}
        body = json.dumps({"roleCredentials": keys}).encode() if known else b"{}"
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def portal(monkeypatch) -> Iterator[None]:
    """One on this machine."""
    server = HTTPServer(("127.0.0.1", 0), Portal)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


def test_who_has_signed_on_asks_with_the_keys_of_the_role(asked, portal, tmp_path):
    cache = tmp_path / "sso" / f"{hashlib.sha1(b'company').hexdigest()}.json"
    cache.parent.mkdir(parents=True)
    token = {"accessToken": "a-token", "expiresAt": "2999-01-01T00:00:00Z", "region": "us-west-2"}
    cache.write_text(json.dumps(token | {"startUrl": "https://company.example/start"}))
    found = asked("person")
    assert (found["access_key"], found["session_token"]) == ("ASIASSO", "token")


def test_who_has_not_signed_on_is_told_to(asked, portal):
    with pytest.raises(OSError, match="say `aws sso login`, or look at it"):
        asked("person")
