"""How often 95 % intervals hold the truth where every part has six images that are alike, and how wide they are.

    python benchmarks/grouped_intervals.py [--audits 300]

Images of a part have most of their score in common; half of the parts are anomalous. Every figure that a gate may act
on is computed by `metrics.detection.figures` with the parts as groups, and once more as if images were independent. The
truth is the figure of 400,000 parts. `coverage` and `naive_coverage` are the lowest over the cells and figures but for
FPR95, which few parts cannot bound from both sides; `width_ratio` is the mean width with groups over that without.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from coverage import THRESHOLD, truth
from coverage_shapes import GROUPED

from assay.metrics import detection

SHAPES = ("views, 0.76", "views, 0.98", "copies, rounded", "10 % of parts hidden")
SIZES = ((20, 20), (50, 50))
FIGURES = ("auroc", "average_precision", "miss_rate", "false_alarm_rate")


def cell(shape: str, sizes: tuple[int, int], audits: int) -> dict[str, tuple[float, float, float]]:
    """Figure -> share of intervals that hold the truth, the same without groups, and the ratio of their widths."""
    true = truth(shape, sizes)
    random = np.random.default_rng(1)
    held, widths = {name: np.zeros(2) for name in FIGURES}, {name: np.zeros(2) for name in FIGURES}
    for number in range(audits):
        drawn = GROUPED[shape](random, *sizes)
        labels = np.repeat([0, 1], [len(drawn.normals), len(drawn.anomalies)])
        scores, parts = np.r_[drawn[:2]], np.r_[drawn[2:]].astype(str).astype(object)
        both = [detection.figures(labels, scores, threshold=THRESHOLD, seed=number, groups=g) for g in (parts, None)]
        for name in FIGURES:
            held[name] += [one[name].lower <= true[name] <= one[name].upper for one in both]
            widths[name] += [one[name].upper - one[name].lower for one in both]
    return {name: (*(held[name] / audits), widths[name][0] / widths[name][1]) for name in FIGURES}


def main() -> None:
    """Print every cell and the worst."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--audits", type=int, default=300)
    options = parser.parse_args()
    rows = []
    for shape, sizes in itertools.product(SHAPES, SIZES):
        for name, (ours, naive, ratio) in cell(shape, sizes, options.audits).items():
            rows.append((ours, naive, ratio))
            print(f"{shape:22s} {sizes[0]:3d}/{sizes[1]:3d} {name:18s} {ours:.3f} {naive:.3f} {ratio:.2f}")
    ours, naive, ratio = np.array(rows).T
    print(f"RESULT coverage={ours.min():.3f} naive_coverage={naive.min():.3f} width_ratio={ratio.mean():.2f}")


if __name__ == "__main__":
    main()
