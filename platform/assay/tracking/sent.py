"""What was sent to which W&B project: `published/sweeps/NAME.json`, `published/audits/ID.json`.

Kept beside the sweeps and audits, not in them: what is finished and signed is never written to again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from assay.store import formats
from assay.store.store import Store
from assay.tracking.client import Connection


class Published:
    """Run id (or `report`) -> hash of what was sent, of one sweep or audit in one project."""

    def __init__(self, store: Store, key: str, connection: Connection) -> None:
        """key: `sweeps/NAME` or `audits/ID`."""
        self.store, self.what, self.key = store, key, f"published/{key}.json"
        self.project = f"{connection.server}/{connection.path}"
        self.sent = self._projects().get(self.project, {})

    def note(self, sent: Mapping[str, str]) -> None:
        """Keep what the server has confirmed."""
        self.sent |= sent
        whole = {formats.FIELD: formats.written("published"), **self._projects(), self.project: self.sent}
        self.store.write(self.key, json.dumps(whole, indent=2, sort_keys=True).encode())

    def _projects(self) -> dict[str, dict[str, str]]:
        """Project -> what was sent to it."""
        content = self.store.read_json(self.key) if self.store.exists(self.key) else {}
        formats.check_content(content, "published", self.store.place(self.key))
        return {project: sent for project, sent in content.items() if project != formats.FIELD}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time sends it; what another one has sent until now is known then."""
        folder, _, name = self.key.removesuffix(".json").rpartition("/")
        with self.store.locked(f"{folder}/.{name}.lock", f"`assay publish` of {self.what}"):
            self.sent = self._projects().get(self.project, {})
            yield
