"""Every white-box attack returns the best image it saw, not the last one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.audits.checks._context import BALLS, NO_GRADIENT, Context, attackable, shortened
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.contracts import ThreatModel
from assay.models.scoring import score
from assay.norm_balls import size
from assay.runtime.float32 import exact_float32, is_rough

if TYPE_CHECKING:
    from torch import Tensor

ORDER = 91
STEPS = 20
OF_EACH = 2


def best_iterate_kept(context: Context) -> CheckResult:
    """Every white-box attack returns the best image it saw, not the last one (Pintor et al. 2022)."""
    import torch

    entries = [entry for entry in context.suite.white_box() if entry.norm in BALLS and not entry.needs]
    if context.facts.stochastic or not entries:
        why = "a random score differs each time" if context.facts.stochastic else NO_GRADIENT
        return not_applicable("best_iterate_kept", why)
    images, direction, random = attackable(context, OF_EACH)
    lost: dict[str, int] = {}
    for entry in entries:
        threat = ThreatModel(entry.norm, entry.epsilons[-1], context.threshold)
        best = direction * score(context.detector, images)

        def seen(at: Tensor, threat: ThreatModel = threat, best: Tensor = best) -> Tensor:
            scores: Tensor = context.detector(at)
            runs = len(at) // len(images)  # an attack may ask for several images of every sample at once
            rough = torch.is_autocast_enabled(at.device.type) or is_rough()  # such scores are not compared
            if runs * len(images) == len(at) and not rough:
                moved, pixels = at.detach() - images.repeat(runs, 1, 1, 1), at.detach().flatten(1)
                inside = (size(moved, threat.norm) <= threat.epsilon) & ((pixels >= 0) & (pixels <= 1)).all(1)
                value = (direction.repeat(runs) * scores.detach()).masked_fill(~inside, -torch.inf)
                best.copy_(torch.maximum(best, value.reshape(runs, -1).amax(0)))
            return scores

        arguments = shortened(entry.attack.arguments(), STEPS)
        with exact_float32():
            attacked = entry.attack.function(seen, images, direction, threat, random, **arguments)
        worse = direction * score(context.detector, attacked.images) < best - context.same
        if count := int(worse.sum()):
            lost[entry.name] = count
    total = sum(lost.values())
    whose = f" ({', '.join(f'{name}: {count}' for name, count in lost.items())})" if lost else ""
    evidence = f"{len(entries)} white-box attacks saw a better image than they returned {total} times{whose}"
    return result("best_iterate_kept", total == 0, evidence, total, 0, len(images))
