"""What was sent to which W&B project: `published/sweeps/NAME.json`, `published/audits/ID.json`.

Beside the sweeps and audits and not in them: what is finished and signed is not written to again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from assay.store import formats
from assay.store.store import Store
from assay.tracking.client import Connection


class Published:
    """Run id (or `report`) -> hash of what was sent, of one sweep or audit in one project."""

    def __init__(self, store: Store, key: str, connection: Connection) -> None:
        """key: `sweeps/NAME` or `audits/ID`."""
        self.store, self.what, self.key = store, key, f"published/{key}.json"
        self.project = f"{connection.server}/{connection.path}"
        self.sent: dict[str, str] = self._known().get(self.project, {})

    def note(self, sent: Mapping[str, str]) -> None:
        """Keep what the server has confirmed."""
        self.sent |= sent
        whole = {formats.FIELD: formats.written("published"), **self._known(), self.project: self.sent}
        self.store.write(self.key, json.dumps(whole, indent=2, sort_keys=True).encode())

    def _known(self) -> dict[str, Any]:
        """What was sent to any project, beside the version of the format."""
        known: dict[str, Any] = self.store.read_json(self.key) if self.store.exists(self.key) else {}
        formats.check_content(known, "published", self.store.place(self.key))
        return known

    def locked(self) -> AbstractContextManager[None]:
        """One process at a time sends it."""
        folder, _, name = self.key.removesuffix(".json").rpartition("/")
        return self.store.locked(f"{folder}/.{name}.lock", f"`assay publish` of {self.what}")
