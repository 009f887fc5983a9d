"""A W&B server on the loopback, as much of one as publishing needs: it keeps what arrives, or misbehaves as told.

GraphQL (viewer, upsertBucket, artifacts, run files, runs, projects, upsertView), the file stream, uploads. By hand:

    python tests/support/wandb_server.py 8080      then WANDB_BASE_URL=http://127.0.0.1:8080 WANDB_API_KEY=(40 letters)
"""

from __future__ import annotations

import base64
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef0123456789abcdef01234567"
ENTITY = "solar"
CREATED = "2026-01-01T00:00:00Z"


class Server(ThreadingHTTPServer):
    """runs: id -> {config, summary, history, state, group, ...}. artifacts: `name:vN` -> {type, digest, files}.

    behaviour: `well`, `500` (every answer), `slow` (DELAY seconds an answer), `hangs` (no answer), `drops` (the file
    stream is accepted and forgotten). A key other than KEY is refused.
    """

    daemon_threads = True
    DELAY = 0.5

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.behaviour = "well"
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, bytes] = {}
        self.views: dict[str, dict[str, Any]] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""

    def run_called(self, name: str) -> dict[str, Any]:
        """The one run of that display name."""
        [found] = [run for run in self.runs.values() if run["name"] == name]
        return found

    def files_of(self, artifact: str) -> set[str]:
        """The names of the files of an artifact's newest version."""
        return set(self.artifacts[max(name for name in self.artifacts if name.startswith(f"{artifact}:"))]["files"])

    # What GraphQL operations answer, by their names: `def Viewer` is of `query Viewer`.

    def Viewer(self, _: Any) -> Any:  # noqa: N802
        nobody: dict[str, Any] = {"edges": []}
        me = {"id": "u", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "a@b.c", "flags": "{}"}
        return {"viewer": {**me, "admin": False, "deletedAt": None, "teams": nobody, "apiKeys": nobody}}

    GetViewer = GetDefaultEntity = Viewer

    def UpsertBucket(self, v: Any) -> Any:  # noqa: N802
        with self.lock:
            inserted = v["name"] not in self.runs
            fresh = {"id": v["name"], "name": "", "group": None, "config": {}, "summary": {}, "history": {}}
            run = self.runs.setdefault(v["name"], {**fresh, "state": "running", "sent": 0})
            if v.get("displayName"):  # by wandb.init
                run |= {"name": v["displayName"], "group": v["groupName"], "job": v["jobType"], "state": "running"}
                run |= {"host": v["host"], "program": v["program"], "notes": v["notes"], "tags": v["tags"]}
                run |= {"project": v["project"], "entity": v["entity"] or ENTITY, "sent": run["sent"] + 1}
            if v.get("config"):
                run["config"] = {key: one["value"] for key, one in json.loads(v["config"]).items()}
        project = {"id": "p", "name": run["project"], "entity": {"id": "e", "name": run["entity"]}}
        bucket = {"id": v["name"], "name": v["name"], "displayName": run["name"], "description": None, "config": "{}"}
        bucket |= {"sweepName": None, "project": project, "historyLineCount": 0}
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def stream(self, run_id: str, body: dict[str, Any]) -> None:
        """Take in a request of the file stream."""
        with self.lock:
            run = self.runs[run_id]
            for name, part in body.get("files", {}).items():
                lines = [json.loads(line) for line in part["content"]] if name.endswith(("json", "jsonl")) else []
                if name == "wandb-summary.json":
                    run["summary"] = lines[-1]
                elif name == "wandb-history.jsonl":
                    run["history"] |= {part["offset"] + number: line for number, line in enumerate(lines)}
            if body.get("complete"):
                run["state"] = "failed" if body.get("exitcode") else "finished"

    def _run(self, run: dict[str, Any]) -> dict[str, Any]:
        config = json.dumps({key: {"value": value} for key, value in run["config"].items()})
        node = {"id": run["id"], "name": run["id"], "displayName": run["name"], "state": run["state"], "tags": []}
        node |= {"config": config, "summaryMetrics": json.dumps(run["summary"]), "systemMetrics": "{}"}
        node |= {"group": run["group"], "jobType": run.get("job"), "sweepName": None, "description": None}
        node |= {"createdAt": CREATED, "heartbeatAt": CREATED, "historyLineCount": len(run["history"]), "notes": None}
        return {**node, "projectId": "1", "user": {"name": ENTITY, "username": ENTITY}, "historyKeys": {}}

    def _runs(self, v: Any) -> Any:
        wanted = json.loads(v.get("filters") or "{}").get("name", {}).get("$in")
        found = [self._run(run) for run in self.runs.values() if wanted is None or run["id"] in wanted]
        edges = [{"node": run, "cursor": "c"} for run in found]
        page = {"endCursor": "c", "hasNextPage": False}
        whole = {
            "runCount": len(found),
            "readOnly": False,
            "internalId": "1",
            "runs": {"edges": edges, "pageInfo": page},
        }
        return {"project": whole}

    Runs = _runs

    def ArtifactType(self, v: Any) -> Any:  # noqa: N802
        return {"project": {"artifact": None}}

    def CreateArtifact(self, v: Any) -> Any:  # noqa: N802
        with self.lock:
            name = v["artifactCollectionName"]
            versions = [key for key in self.artifacts if key.rpartition(":")[0] == name]
            same = [key for key in versions if self.artifacts[key]["digest"] == v["digest"]]
            key = same[0] if same else f"{name}:v{len(versions)}"
            if not same:
                one = {"type": v["artifactTypeName"], "digest": v["digest"], "files": {}, "state": "PENDING"}
                self.artifacts[key] = one | {"run": v["runName"], "metadata": v.get("metadata")}
            latest = {"id": versions[-1], "versionIndex": len(versions) - 1} if versions else None
            sequence = {"id": name, "latestArtifact": latest}
            told = {"id": key, "digest": v["digest"], "state": self.artifacts[key]["state"], "aliases": []}
            return {"createArtifact": {"artifact": {**told, "artifactSequence": sequence}}}

    def CreateArtifactManifest(self, v: Any) -> Any:  # noqa: N802
        file = {"id": "m", "name": "wandb_manifest.json", "displayName": "m", "uploadHeaders": []}
        file["uploadUrl"] = f"{self.url}/put/manifest/{v['artifactID']}"
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def CreateArtifactFiles(self, v: Any) -> Any:  # noqa: N802
        def node(one: dict[str, Any]) -> dict[str, Any]:
            url = f"{self.url}/put/artifact/{one['artifactID']}/{one['name']}"
            told = {"id": one["name"], "name": one["name"], "displayName": one["name"], "uploadUrl": url}
            told |= {"uploadHeaders": [], "uploadMultipartUrls": None, "storagePath": one["name"]}
            return {"node": {**told, "artifact": {"id": one["artifactID"]}}}

        return {"createArtifactFiles": {"files": {"edges": [node(one) for one in v["artifactFiles"]]}}}

    def CommitArtifact(self, v: Any) -> Any:  # noqa: N802
        artifact = self.artifacts[v["artifactID"]]
        artifact["state"] = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": v["artifactID"], "digest": artifact["digest"]}}}

    def ArtifactByID(self, v: Any) -> Any:  # noqa: N802
        artifact, (name, _, version) = self.artifacts[v["id"]], v["id"].rpartition(":")
        project = {"id": "p", "internalId": "1", "name": "assay", "entity": {"name": ENTITY}}
        told = {"id": v["id"], "artifactSequence": {"name": name, "project": project}, "digest": artifact["digest"]}
        told |= {"versionIndex": int(version[1:]), "artifactType": {"name": artifact["type"]}, "description": None}
        told |= {"metadata": None, "ttlDurationSeconds": 0, "ttlIsInherited": False, "tags": [], "historyStep": None}
        told |= {"state": artifact["state"], "size": 1, "commitHash": None, "fileCount": len(artifact["files"])}
        return {"artifact": {**told, "createdAt": CREATED, "updatedAt": None, "aliases": []}}

    def UseArtifact(self, v: Any) -> Any:  # noqa: N802
        return {"useArtifact": {"artifact": {"id": v["artifactID"]}}}

    def CreateRunFiles(self, v: Any) -> Any:  # noqa: N802
        files = [{"name": name, "uploadUrl": f"{self.url}/put/run/{v['run']}/{name}"} for name in v["files"]]
        return {"createRunFiles": {"runID": v["run"], "uploadHeaders": [], "files": files}}

    def GetProjects(self, _: Any) -> Any:  # noqa: N802
        names = sorted({run["project"] for run in self.runs.values()})
        told = [{"__typename": "Project", "id": name, "name": name, "entityName": ENTITY} for name in names]
        edges = [{"node": {**one, "createdAt": CREATED, "isBenchmark": False, "user": None}} for one in told]
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        return {"models": {"pageInfo": page, "edges": edges}}

    def ProjectInternalId(self, _: Any) -> Any:  # noqa: N802
        return {"project": {"id": "p", "internalId": "1"}}

    def upsertView(self, v: Any) -> Any:  # noqa: N802
        with self.lock:
            inserted = not v["id"]
            key = v["id"] or base64.b64encode(f"View:{len(self.views)}".encode()).decode().rstrip("=")
            project = {"id": "p", "name": v["projectName"], "entityName": v["entityName"]}
            view = {"id": key, "type": v["type"], "name": v["name"], "displayName": v["displayName"]}
            view |= {"description": v["description"], "project": project, "spec": v["spec"], "updatedAt": CREATED}
            self.views[key] = view
        return {"upsertView": {"view": view, "inserted": inserted}}

    def ProjectViews(self, v: Any) -> Any:  # noqa: N802
        about = {"user": None, "createdAt": CREATED, "previewUrl": None}
        edges = [{"node": {**view, **about}, "cursor": "c"} for view in self.views.values()]
        return {"project": {"allViews": {"pageInfo": {"endCursor": "c", "hasNextPage": False}, "edges": edges}}}

    def upload(self, path: str, content: bytes) -> None:
        """Take in a file."""
        with self.lock:
            kind, _, rest = path.partition("/")
            self.uploads[path] = content
            if kind == "artifact":
                artifact, _, name = rest.partition("/")
                self.artifacts[artifact]["files"][name] = content


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        """GraphQL or the file stream."""
        body = self._body()
        if self.path.startswith("/sdk/"):  # what W&B's client says of itself
            return self._say(200, {})
        if self._misbehaves():
            return None
        if self.path != "/graphql":
            run_id = self.path.split("/")[4]
            self.server.requests.append("file_stream")
            if self.server.behaviour != "drops":
                self.server.stream(run_id, json.loads(body))
            return self._say(200, {"limits": {}})
        asked = json.loads(body)
        operation = (re.search(r"(?:query|mutation)\s+(\w+)", asked["query"]) or ["", "?"])[1]
        self.server.requests.append(operation)
        answer = getattr(self.server, operation, None)
        if answer is None:
            return self._say(200, {"data": None, "errors": [{"message": f"{operation} is not known here"}]})
        variables = asked.get("variables") or {}
        return self._say(200, {"data": answer(variables.get("input") or variables)})

    def do_PUT(self) -> None:
        """An upload."""
        body = self._body()
        if not self._misbehaves():
            self.server.upload(self.path.removeprefix("/put/"), body)
            self._say(200, {})

    def do_GET(self) -> None:
        """Nothing is read back."""
        self._say(404, {})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.bodies.append(body)
        return body

    def _misbehaves(self) -> bool:
        if self.server.behaviour == "slow":
            time.sleep(self.server.DELAY)
        if self.server.behaviour == "hangs":
            self.server.released.wait(60)
        if self.server.behaviour == "500":
            self._say(500, {"errors": [{"message": "on fire"}]})
            return True
        expected = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
        if self.command == "POST" and self.headers.get("Authorization") != expected:
            self._say(401, {"errors": [{"message": "user is not logged in"}]})
            return True
        return False

    def _say(self, code: int, content: Any) -> None:
        text = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def serving(port: int = 0) -> Iterator[Server]:
    """A server that answers while the block runs."""
    server = Server(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    with serving(int(sys.argv[1])) as running:
        print(f"WANDB_BASE_URL={running.url} WANDB_API_KEY={KEY}", flush=True)
        threading.Event().wait()
