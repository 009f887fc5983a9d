"""The audit of dependencies: what fails it, what it says where nothing can be asked."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "audit_dependencies.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="no checkout, which alone has .ci")
OLD = {"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["2.0"]}
NEW = {"id": "PYSEC-2", "aliases": [], "fix_versions": []}
FOUND = [
    {"name": "one", "version": "1.0", "vulns": [OLD]},
    {"name": "two", "version": "1.0", "vulns": []},
    {"name": "own", "skip_reason": "Dependency not found on PyPI"},
]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_a_vulnerability_fails_unless_it_is_answered_for(script):
    judged = script["judged"]
    assert judged(FOUND, {}) == (
        ["one 1.0: PYSEC-1, fixed in 2.0"],
        "2 libraries, 0 answered for, not known there: own",
    )
    assert judged(FOUND, {"CVE-2026-1": "only in a part that is not used"})[0] == []
    assert judged(FOUND, {"CVE-2026-1": ""})[0] != []
    assert judged([{"name": "x", "version": "1", "vulns": [NEW]}], {})[0] == ["x 1: PYSEC-2, fixed in no version yet"]


def test_an_answer_to_what_is_no_longer_there_fails(script):
    wrong, _ = script["judged"](FOUND, {"PYSEC-1": "known", "PYSEC-9": "known"})
    assert wrong == ["PYSEC-9: no longer there; take it out of known_vulnerabilities.yaml"]


def test_the_list_gives_a_reason_for_each(script):
    import yaml

    answered = yaml.safe_load(script["ANSWERED"].read_text()) or {}
    assert all(isinstance(reason, str) and len(reason) > 20 for reason in answered.values())


def test_builds_are_asked_for_by_the_version_that_the_index_knows(script):
    installed = script["installed"]()
    assert "torch" in installed
    assert "assay" not in installed
    assert not any("+" in version for version in installed.values())


class Osv(BaseHTTPRequestHandler):
    """Knows a vulnerability of pillow."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        affected = [{"package": asked["package"], "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "999.0"}]}]}]
        known = {"vulns": [{"id": "PYSEC-7", "aliases": [], "summary": "bad", "affected": affected}]}
        text = json.dumps(known if asked["package"]["name"] == "pillow" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def audit(*options: str, cache: Path) -> tuple[int, str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, SCRIPT, *options], env=environment, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def test_a_vulnerable_library_of_this_environment_is_named(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        code, output = audit("-s", "osv", "--osv-url", f"http://127.0.0.1:{server.server_port}", cache=tmp_path)
    finally:
        server.shutdown()
        server.server_close()
    assert code == 1, output
    assert "PYSEC-7, fixed in 999.0" in output
    assert "pillow" in output
    assert "0 answered for" in output


def test_offline_it_says_that_nothing_was_audited_and_passes(tmp_path):
    code, output = audit("-s", "osv", "--osv-url", "http://127.0.0.1:9", cache=tmp_path)
    assert code == 0, output
    assert "dependency audit: NOT RUN" in output
