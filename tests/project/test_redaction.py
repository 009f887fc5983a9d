"""Formats of secrets, each in the place where it is met: none is left, and what only looks like one stays."""

from __future__ import annotations

import base64
import json

import pytest

from assay.redaction import HIDDEN, holds_password, redacted

WORD = "Tr0ub4dor-and-3"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"

BY_FORMAT = {
    "in an address": f"https://jane:{WORD}@example.org/data",
    "with a slash": f"https://jane:ab/{WORD}@example.org/data",
    "with a quote": f'postgres://jane:a"b{WORD}@db/x',
    "with a blank": f"https://jane:a b {WORD}@example.org",
    "without a scheme": f"cannot reach jane:{WORD}@example.org",
    "without a scheme, with a port": f"jane:{WORD}@db:5432",
    "a token alone": f"https://{WORD}@example.org",
    "Azure": f"https://a.blob.core.windows.net/c/b?sv=2024&sig={WORD}%3D",
    "AWS": f"https://b.s3.amazonaws.com/k?X-Amz-Signature={WORD}",
    **{
        name: f"https://example.org/x?a=1&{name}={WORD}"
        for name in ("key", "api_key", "apikey", "auth", "code", "pwd", "access_token", "Password", "client_secret")
    },
    "fragment": f"https://example.org/x#access_token={WORD}",
    "semicolon": f"https://example.org/x;token={WORD}",
    "connection string": f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={WORD}==;EndpointSuffix=x",
    "database": f"Server=db;User=jane;Password={WORD};",
    "bearer": f"Authorization: Bearer {WORD}{WORD}",
    "basic": "authorization: basic " + base64.b64encode(f"jane:{WORD}".encode()).decode(),
    "PEM": f"key: {PEM} end",
    "PEM, cut short": PEM[:60],
    "PEM as repr": repr(PEM),
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "Hugging Face": "hf_" + "aB3" * 11,
    "GitHub": "ghp_" + "aB3" * 12,
    "GitHub, fine": "github_pat_" + "aB3_" * 20,
    "GitLab": "glpat-" + "aB3-" * 5,
    "Slack": "xoxb-123456789012-aB3aB3aB3",
    "AWS key": "AKIAIOSFODNN7EXAMPLE",
    "Google": "AIza" + "aB3" * 12,
}
LEFT = (WORD, "MIIEvQ", "hkiG9w", "aB3aB3", "eyJzdWIi", "IOSFODNN7", "VHIwdWI", "aB3_aB3", "aB3-aB3")


@pytest.mark.parametrize("name", BY_FORMAT)
def test_a_secret_is_known_by_its_format(name):
    shown = redacted(f"it failed: {BY_FORMAT[name]} (again)")
    assert HIDDEN in shown
    assert not [text for text in LEFT if text in shown]
    assert shown.startswith("it failed: ")
    assert holds_password(BY_FORMAT[name])


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org:8080/a/b?page=2", "s3://bucket/prefix/@scope/x", "https://example.org/@jane/post",
        "git@github.com:org/repo.git", "demo:best", "my_module:make", "at 12:30, mail jane@example.org", "a@b.c",
        "assay audit demo:best --suite quick", "models/3f9c1b7a5e2d/manifest.json", "threshold: 0.5; key: value",
        "https://example.org/x?size=64&norm=linf", "basic authentication failed", "C:/data/a@2x.png", "task-list",
        "sha256:" + "ab01" * 16, "Normal: good@1.png", "https://example.org:443",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_secret_stays(text):
    assert redacted(text) == text
    assert not holds_password(text)


NAMES = (
    "AWS_SECRET_ACCESS_KEY", "PRIVATE_KEY", "DB_PASS", "DB_PWD", "GITHUB_PAT", "KEY_PASSPHRASE", "AZURE_STORAGE_KEY",
    "WANDB_KEY", "AZURE_CONNECTION_STRING", "SENTRY_DSN", "my_secret", "SECRET_URL", "db_password", "PROXY_AUTH",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_is_secret_by_its_name(monkeypatch, name):
    monkeypatch.setenv(name, WORD)
    assert redacted(f"a{WORD}z") == f"a{HIDDEN}z"


@pytest.mark.parametrize("name", ["PWD", "OLDPWD", "SSH_ASKPASS", "KEY_PATH", "RAY_AUTH_MODE", "COMPASSES", "HOME"])
def test_places_and_words_are_none(monkeypatch, name):
    monkeypatch.setenv(name, "/somewhere/else")
    assert redacted("in /somewhere/else/x") == "in /somewhere/else/x"


def test_a_value_is_found_in_every_form_it_is_met_in(monkeypatch):
    odd = "p@ss/w%rd 'qu\"ote'\\ü-and-more"
    account = {"type": "service_account", "private_key": PEM, "private_key_id": "0123456789abcdef"}
    monkeypatch.setenv("SOME_PASSWORD", odd)
    monkeypatch.setenv("GOOGLE_CREDENTIALS", json.dumps(account))
    monkeypatch.setenv("DEPLOY_KEY", "first-line-of-it\nsecond-line-of-it")
    import urllib.parse

    forms = [odd, urllib.parse.quote(odd), urllib.parse.quote(odd, safe=""), repr(odd)[1:-1], json.dumps(odd)[1:-1]]
    forms += ["second-line-of-it", "0123456789abcdef", "hkiG9w0BAQEFAASC", PEM.replace("\n", "\\n")]
    for form in forms:
        assert redacted(f"say {form} twice") == f"say {HIDDEN} twice", form
    for user in ("a", "ab", "abc"):
        sent = base64.b64encode(f"{user}:{odd}".encode()).decode()
        assert odd.encode()[4:-4] not in base64.b64decode(
            redacted(f"sent {sent}").removeprefix("sent ").encode() + b"=="
        )
