"""What a detector is for, as stated by its authors; kept in its manifest and shown in every report on it."""

from __future__ import annotations

from assay.config.section import Section


class Purpose(Section):
    """The "intended use" of a report; fields left out appear there as not stated.

    materiality: what depends on the detector and how much, for example a tier of your internal rules.
    """

    intended_use: str | None = None
    out_of_scope_use: str | None = None
    materiality: str | None = None

    def stated(self) -> dict[str, str]:
        """The fields that were given, for a manifest."""
        return {key: value for key, value in self.model_dump().items() if value}
