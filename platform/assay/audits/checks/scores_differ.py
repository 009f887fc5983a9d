"""Images have scores of their own: few share one, and few sit at the end of a range to which scores are cut."""

from __future__ import annotations

from collections import Counter

import numpy as np

from assay.audits.checks._context import Context
from assay.audits.checks._evidence import share
from assay.audits.checks._result import CheckResult, result

ORDER = 54
ABOUT = "strength"
SHARED = 0.1
"""Share of images that may have the same score as another one."""


def scores_differ(context: Context) -> CheckResult:
    """Few different images have one score: an attack sees no way across the plateau that cut or rounded scores make.

    A score that was normalised and cut to [0, 1], rounded, or taken through a sigmoid that saturates stays as it is
    however an image is changed, so an attack that goes by scores finds nothing, and robustness looks better than it is.
    Without a gradient nothing else shows this. Images with the same pixels count once.
    """
    _, first = np.unique(np.array(context.images.hashes), return_index=True)
    places = np.sort(first)
    scores = context.clean[places]
    counts = Counter(scores.tolist())
    tied = sum(count for count in counts.values() if count > 1)
    ends = {name: counts[value] for name, value in (("highest", scores.max()), ("lowest", scores.min()))}
    saturated = ", ".join(f"{count} have the {name} of all" for name, count in ends.items() if count > 1)
    shown = share(tied, len(scores), SHARED, worth=context.worth(places))
    evidence = (
        f"{tied} of {len(scores)} different images have the same score as another one ({len(counts)} different scores"
        f"{'; ' + saturated if saturated else ''}); {shown.words}"
    )
    if not shown.passed:
        evidence += ". Scores that are cut, rounded or saturated hide what an attack gains: bring the raw score"
    return result("scores_differ", shown.passed, evidence, tied / len(scores), SHARED, len(scores))
