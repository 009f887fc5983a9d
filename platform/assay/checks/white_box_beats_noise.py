"""At equal norm and epsilon the white-box attacks move a sample at least as far as random noise does."""

from __future__ import annotations

from typing import Any

import numpy as np

from assay.checks._context import Context, row

ORDER = 100
SEEN = 0.01  # share of samples where noise may beat the white-box attacks


def white_box_beats_noise(context: Context) -> dict[str, Any]:
    """At equal norm and epsilon the white-box attacks move a sample at least as far as random noise does."""
    scores = context.scores
    shift = scores["direction"] * (scores["adversarial_score"] - scores["clean_score"])
    noise_names = {entry.name for entry in context.suite.attacks if entry.knowledge == "none"}
    noise = np.isin(scores["attack"], list(noise_names))
    best: dict[tuple[Any, ...], list[float]] = {}
    for sample, norm, epsilon, by_noise, value in zip(
        scores["sample"], scores["norm"], scores["epsilon"], noise, shift, strict=True
    ):
        pair = best.setdefault((sample, norm, epsilon), [-np.inf, -np.inf])
        pair[int(by_noise)] = max(pair[int(by_noise)], value)
    pairs = np.array([pair for pair in best.values() if np.isfinite(pair).all()])
    if not len(pairs):
        return row(
            "white_box_beats_noise", False, "the suite has no noise control beside a white-box attack", 1, SEEN, 0
        )
    beaten = float((pairs[:, 1] > pairs[:, 0]).mean())
    mean = pairs.mean(axis=0)
    evidence = (
        f"noise moves {beaten:.1%} of {len(pairs)} samples further than every white-box attack of its budget; "
        f"mean shift {mean[0]:.3g} white-box, {mean[1]:.3g} noise"
    )
    return row("white_box_beats_noise", beaten <= SEEN and mean[0] > mean[1], evidence, beaten, SEEN, len(pairs))
