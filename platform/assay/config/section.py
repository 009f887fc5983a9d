"""A mapping of a YAML file, as a model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping in a YAML file that allows no other keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
