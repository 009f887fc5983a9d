"""The detector is in eval mode and its weights are frozen: what is attacked is what is deployed."""

from __future__ import annotations

from assay.audits.checks._context import Context, listed
from assay.audits.checks._result import CheckResult, result

ORDER = 10


def eval_mode(context: Context) -> CheckResult:
    """The detector is in eval mode and its weights are frozen: what is attacked is what is deployed."""
    training = [name or "the detector" for name, module in context.detector.named_modules() if module.training]
    loose = [name for name, weight in context.detector.named_parameters() if weight.requires_grad]
    evidence = (
        f"{len(training)} parts of the detector are in training mode{listed(training)}, where dropout and batch "
        f"statistics change its scores; {len(loose)} weights are not frozen{listed(loose)}"
    )
    wrong = len(training) + len(loose)
    return result("eval_mode", wrong == 0, evidence, wrong, 0, len(context.images))
