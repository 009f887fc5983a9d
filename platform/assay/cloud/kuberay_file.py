"""A file for KubeRay, before `kubectl apply`: does it start the Ray that is installed, and is all of it filled in?"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from assay.cloud import cluster_file
from assay.cloud.account_check import Finding
from assay.config import yaml_file
from assay.errors import InputError

KINDS = ("RayCluster", "RayJob")
API = "ray.io/v1"
"""Of KubeRay 1.0 or newer; authOptions are known from 1.6 on, and older ones drop unknown fields without a word."""
WRITTEN = re.compile(r"^\s*[^\s#]", re.MULTILINE)
"""A line that is not a comment."""


def is_one(text: str) -> bool:
    """Whether the text is a file for KubeRay; one that is no YAML is not."""
    try:
        return any(one.get("kind") in KINDS for one in _objects(text))
    except InputError:
        return False


def look(text: str) -> list[Finding]:
    """What Ray or a colleague would find only once the pods are up.

    That is another version of KubeRay or of Ray than the driver's, no token, or blanks that are left. Raises InputError
    where it is not readable as YAML.
    """
    left = cluster_file.blanks(text)
    found = [
        Finding("file", "fault", f"{', '.join(left)} to be filled in", "the head comment has the command")
        if left
        else Finding("file", "ok", "nothing is left to be filled in")
    ]
    for one in _objects(text):
        spec = one.get("spec") or {}
        if one.get("kind") in KINDS and one.get("apiVersion") != API:
            found.append(_api(one))
        cluster = spec if one.get("kind") == "RayCluster" else spec.get("rayClusterSpec")
        if one.get("kind") in KINDS and isinstance(cluster, dict):
            found += [_ray(one, cluster), _token(one, cluster)]
    return found


def _api(one: dict[str, Any]) -> Finding:
    said = f"{_name(one)}: apiVersion is {one.get('apiVersion')}, which knows no token"
    return Finding("kuberay", "fault", said, f"KubeRay 1.6 or newer, and apiVersion: {API}")


def _ray(one: dict[str, Any], cluster: dict[str, Any]) -> Finding:
    ours, theirs = version("ray"), cluster.get("rayVersion")
    if theirs == ours:
        return Finding("ray", "ok", f"{_name(one)}: Ray {ours}")
    return Finding(
        "ray",
        "fault",
        f"{_name(one)}: rayVersion is {theirs}, and Ray {ours} is installed here",
        f"build the image from this version of Assay and set rayVersion to {ours}",
    )


def _token(one: dict[str, Any], cluster: dict[str, Any]) -> Finding:
    auth = cluster.get("authOptions")
    if isinstance(auth, dict) and auth.get("mode", "token") == "token":
        return Finding("token", "ok", f"{_name(one)}: Ray asks for a token")
    said = f"{_name(one)}: Ray asks for no token, so whoever reaches its ports can run code there"
    return Finding("token", "fault", said, "authOptions: {mode: token, secretName: assay-ray-token}")


def _name(one: dict[str, Any]) -> str:
    return f"{one['kind']} {(one.get('metadata') or {}).get('name', '')}".strip()


def _objects(text: str) -> list[dict[str, Any]]:
    """The objects of a file, which `---` lines divide."""
    parts = re.split(r"^---.*$", text, flags=re.MULTILINE)
    return [yaml_file.written(part.encode(), "the file for KubeRay") for part in parts if WRITTEN.search(part)]
