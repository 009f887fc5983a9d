"""An exception from one gate or one check of a policy, granted by a named person, with a reason, until a day."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator


def _day(value: Any) -> Any:
    """A date written `2027-01-31`, and nothing else that could be taken for one."""
    if isinstance(value, datetime.date) or (isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value)):
        try:
            return datetime.date.fromisoformat(str(value))
        except ValueError:
            pass
    raise ValueError("must be a date such as 2027-01-31")


Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Waiver(BaseModel):
    """What need not hold, and on whose authority. `expires` is the first day on which the waiver no longer counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate: str | None = Field(None, min_length=1)
    check: str | None = Field(None, min_length=1)
    granted_by: Words
    reason: Words
    expires: Annotated[datetime.date, BeforeValidator(_day)]

    @model_validator(mode="after")
    def _of_one_thing(self) -> Self:
        if (self.gate is None) == (self.check is None):
            raise ValueError("give exactly one of gate and check, the name of what is waived")
        return self

    @property
    def of(self) -> str:
        """`gate robust ranking` or `check gradients`."""
        return f"check {self.check}" if self.gate is None else f"gate {self.gate}"

    def counts(self, today: datetime.date) -> bool:
        """Whether it has not expired."""
        return today < self.expires
