"""What identifies a figure in the metrics table of an audit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from assay.store.figures import Figure
from assay.units import epsilon_key


@dataclass(frozen=True)
class FigureName:
    """The fields are in the order that best explains which figure is missing.

    epsilon: in pixel scale; the severity of a corruption, the largest of a `curve_area`, 0 for clean images.
    """

    attack: str
    norm: str
    epsilon: float
    regime: str
    defect: str
    metric: str


FILTERS = tuple(field.name for field in dataclasses.fields(FigureName))
"""The columns of the metrics table that identify a figure."""


def name_of(figure: Figure) -> FigureName:
    """The name of a figure, its epsilon rounded so that equal ones compare equal."""
    epsilon = epsilon_key(figure.epsilon)
    return FigureName(figure.attack, figure.norm, epsilon, figure.regime, figure.defect, figure.metric)
