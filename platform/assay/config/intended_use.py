"""What a detector is for, in the words of who makes it: told in its manifest and in every report on it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Purpose(BaseModel):
    """What a report says under intended use; what is left out it calls not stated.

    materiality: what depends on the detector and how much, such as a tier of your own rules.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    intended_use: str | None = None
    out_of_scope_use: str | None = None
    materiality: str | None = None

    def stated(self) -> dict[str, str]:
        """The keys that are given, for a manifest."""
        return {key: value for key, value in self.model_dump().items() if value}
