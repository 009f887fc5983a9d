"""Who asks S3: a profile with a role, as companies have, which pyarrow's own chain does not know."""

from __future__ import annotations

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
KEYS = "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = secret\n"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch):
    """A function profile -> what the client of S3 is made with; the token service is moto's."""
    pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "credentials").write_text(KEYS)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
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
