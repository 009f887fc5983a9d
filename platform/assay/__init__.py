"""Assay: sweep robust image anomaly detectors, audit them under attack, decide whether one may be deployed.

What the command line does, these functions do in Python; they print nothing and raise the errors of `assay.errors`.
They are imported on first use, so that `import assay` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from assay import errors as errors
    from assay.api.approve import approve as approve
    from assay.api.approve import countersign as countersign
    from assay.api.audit import Audit as Audit
    from assay.api.audit import audit as audit
    from assay.api.audit import forecast_audit as forecast_audit
    from assay.api.audit import open_audit as open_audit
    from assay.api.compare import compare as compare
    from assay.api.data import Data as Data
    from assay.api.data import read_data as read_data
    from assay.api.export import export as export
    from assay.api.leaderboard import leaderboard as leaderboard
    from assay.api.load import load as load
    from assay.api.promote import promote as promote
    from assay.api.publish import publish as publish
    from assay.api.report import report as report
    from assay.api.score import Scores as Scores
    from assay.api.score import score as score
    from assay.api.study import StudyResult as StudyResult
    from assay.api.study import study as study
    from assay.api.sweep import Sweep as Sweep
    from assay.api.sweep import forecast as forecast
    from assay.api.sweep import open_sweep as open_sweep
    from assay.api.sweep import sweep as sweep
    from assay.api.verify import verify as verify

_PLACES = {
    "approve": "approve",
    "countersign": "approve",
    "Audit": "audit",
    "audit": "audit",
    "forecast_audit": "audit",
    "open_audit": "audit",
    "compare": "compare",
    "Data": "data",
    "read_data": "data",
    "export": "export",
    "leaderboard": "leaderboard",
    "load": "load",
    "promote": "promote",
    "publish": "publish",
    "report": "report",
    "Scores": "score",
    "score": "score",
    "StudyResult": "study",
    "study": "study",
    "Sweep": "sweep",
    "forecast": "sweep",
    "open_sweep": "sweep",
    "sweep": "sweep",
    "verify": "verify",
}
"""Public name -> its module in `assay.api`."""

__all__ = ["__version__", "errors", *sorted(_PLACES)]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("assay.errors")
    if name in _PLACES:
        return getattr(importlib.import_module(f"assay.api.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'assay' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
