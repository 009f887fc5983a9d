"""Planted secrets: not printed, not kept by a sweep, an audit or a report, not sent to W&B, not in the logs of Ray."""

from __future__ import annotations

import base64
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy_audit
import toy_runs
import yaml
from wandb_server import KEY, serving

from assay.errors import InputError
from assay.redaction import redacted

ASSAY = str(Path(sys.executable).with_name("assay"))
PASSWORD = "hunter2hunter2"
URL = f"https://jane:{PASSWORD}@example.org/data"
SECRETS = {
    "AWS_ACCESS_KEY_ID": "PLANTEDid0000000001",
    "AWS_SECRET_ACCESS_KEY": "PLANTEDaws0000000000000000000000000000001",
    "AWS_SESSION_TOKEN": "PLANTEDsessionQ7vX2mK9bN4tY8wZ1cR5dF3gH6j",
    "RAY_AUTH_TOKEN": "ab01cd" * 10 + "ef02",
    "WANDB_API_KEY": KEY,
}
LEAKY = f"""
import os
import toy_runs
from assay.cluster import ended_sessions

ended_sessions._remove = lambda lock: None  # what Ray logged is looked into afterwards

class Runs(toy_runs.Runs):
    def _have_trouble(self):
        if self.trouble == "error":
            raise OSError("403 for {URL}?X-Amz-Signature=PLANTEDsignature with " + os.environ["AWS_SECRET_ACCESS_KEY"])
"""


def decoded(content: bytes) -> Iterator[bytes]:
    """The bytes, and what they hold compressed."""
    yield content
    if content[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(content))
        yield repr((table.to_pydict(), table.schema.metadata)).encode()
    elif content[:2] == b"\x1f\x8b":
        yield from decoded(gzip.decompress(content))
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from decoded(archive.read(name))
    elif content[:4] == b"%PDF":
        for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL):
            unpacker = zlib.decompressobj()
            try:
                yield unpacker.decompress(stream)
            except zlib.error:  # not compressed
                continue


def found(content: bytes) -> set[str]:
    """Which secrets are in some bytes."""
    needles = {"password": PASSWORD, "signature": "PLANTEDsignature", **SECRETS}
    whole = b"\0".join(decoded(content))
    texts = {name: (text.encode(), base64.b64encode(text.encode())[:-4]) for name, text in needles.items()}
    return {name for name, forms in texts.items() if any(form in whole for form in forms)}


def below(folder: Path) -> dict[str, set[str]]:
    """The files below a folder that hold a secret, and which."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return {str(path.relative_to(folder)): names for path in files if (names := found(path.read_bytes()))}


def test_the_search_finds_what_is_compressed():
    secret, parquet, archive = SECRETS["AWS_SESSION_TOKEN"], io.BytesIO(), io.BytesIO()
    table = pa.table({"message": ["A", secret * 9, "z"]})  # the statistics hold the first and the last as they are
    pq.write_table(table, parquet, compression="gzip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", secret * 9)
    pdf = b"%PDF-1.7\nstream\n" + zlib.compress(secret.encode()) + b"\nendstream"
    for content in (parquet.getvalue(), archive.getvalue(), gzip.compress(secret.encode()), pdf):
        assert secret.encode() not in content
        assert found(content) == {"AWS_SESSION_TOKEN"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder to work in, with a home of its own, and a short one for Ray."""
    folder = tmp_path_factory.mktemp("secrets")
    ray = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    (folder / "leaky.py").write_text(LEAKY)
    (folder / "home").mkdir()
    shutil.copy(toy_runs.__file__, folder / "toy_runs.py")
    raw = toy_runs.search_space(
        folder,
        trainable="leaky:Runs",
        space={"trouble": {"choice": ["none", "error"]}, "learning_rate": {"uniform": [0.01, 0.01]}},
        search={"sampler": "grid", "trials": 4, "seed": 0},
        tracking={"wandb": True},
    )
    (folder / "toy.yaml").write_text(yaml.safe_dump(raw))
    toy_audit.write_suite(folder / "tiny.yaml")
    yield folder, ray
    shutil.rmtree(ray, ignore_errors=True)


def run(place: tuple[Path, Path], *arguments: str, **environment: str) -> tuple[int, str]:
    folder, ray = place
    unwanted = ("WANDB_", "AWS_", "RAY_", "ASSAY_", "PYTHON", "NETRC")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    own = {"HOME": str(folder / "home"), "ASSAY_CACHE": str(folder / "cache"), "RAY_TMPDIR": str(ray)}
    done = subprocess.run(
        [ASSAY, *arguments],
        cwd=folder,
        env={**clean, **own, **SECRETS, **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )
    return done.returncode, done.stdout + done.stderr


def test_no_secret_is_printed_kept_sent_or_logged(place):
    folder, ray = place
    commands = [
        ("sweep", "toy.yaml", "--store", "store"),
        ("audit", "toy:best", "--suite", "tiny.yaml", "--workers", "2", "--policy", "demo", "--store", "store"),
        ("report", "latest", "--pdf", "--store", "store"),
        ("publish", "toy", "latest", "--store", "store"),
        ("trials", "toy", "--store", "store"),
        ("--debug", "publish", "nothing", "--store", URL),
    ]
    with serving() as server:
        for command in commands:
            code, output = run(place, *command, WANDB_BASE_URL=server.url)
            assert code in (0, 2, 3, 4, 5), output
            assert found(output.encode()) == set(), output
            if command[0] == "sweep":
                assert "403 for https://***@example.org/data?X-Amz-Signature=*** with ***" in output
        sent = [*server.bodies, *server.uploads.values(), repr((server.runs, server.artifacts, server.views)).encode()]
        assert len(server.uploads) > 3
        assert len(server.runs) > 2
        assert [names for body in sent if (names := found(body))] == []
    assert {path.suffix for path in (folder / "store").rglob("*")} >= {".parquet", ".pdf", ".html", ".yaml", ".json"}
    kept = [folder / name for name in ("store", "home", "cache")]
    assert {str(path): below(path) for path in [*kept, ray]} == {str(path): {} for path in [*kept, ray]}


@pytest.mark.parametrize(
    "arguments",
    [
        ("sweep", "toy.yaml", "--set", f"dataset.root={URL}"),
        ("sweep", "toy.yaml", "--set", f"fixed.{'x' * 40}=see {URL}"),
        ("sweep", "toy.yaml", "--store", URL),
        ("sweep", "toy.yaml", "--store", f"s3://AKIA:{PASSWORD}@bucket/prefix"),
        ("validate", "with_password.yaml"),
        ("audit", URL, "--store", f"s3://AKIA:{PASSWORD}@bucket/prefix"),
        ("--debug", "trials", URL),
    ],
)
def test_a_password_that_was_written_somewhere_is_refused_and_not_repeated(place, arguments):
    folder, _ = place
    raw = yaml.safe_load((folder / "toy.yaml").read_text())
    raw["dataset"]["root"] = URL
    (folder / "with_password.yaml").write_text(yaml.safe_dump(raw))
    code, output = run(place, *arguments, WANDB_MODE="disabled")
    assert code in (1, 2), output
    assert "Error: " in output or "1 fault" in output
    assert found(output.encode()) == set(), output


def test_what_an_error_quotes_is_redacted_and_what_is_no_secret_stays(monkeypatch):
    monkeypatch.setenv("OUR_API_KEY", "correct horse")
    monkeypatch.setenv("OUR_TOKEN_PATH", "/home/jane/token")
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    text = f"{URL} correct horse /home/jane/token abc s3://bucket/a@b --set key=value jane@example.org"
    kept = "https://***@example.org/data *** /home/jane/token abc s3://bucket/a@b --set key=value jane@example.org"
    assert redacted(text) == kept
    assert str(InputError(text)) == kept
