"""What a detector costs whoever runs or trains it, for `constraints:` and `objectives:`. Lower is always better."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from assay.contracts import Images
from assay.metrics.detection import flagged
from assay.models.scoring import pixels, threshold_of
from assay.sweeps.evaluation import Measured

if TYPE_CHECKING:
    from torch import nn

WARM_UP, TIMED = 3, 21
"""Forward passes before the clock counts, and those of which the median is taken."""


class Evaluated(NamedTuple):
    """A detector, the validation images, its scores of them under the section `evaluation`, how long it was trained."""

    detector: nn.Module
    images: Images
    measured: Measured
    evaluation: Mapping[str, Any]
    device: str
    trained: float = 0.0


def costs(names: Iterable[str], case: Evaluated) -> dict[str, float]:
    """The named costs of a detector."""
    return {name: MEASURES[name](case) for name in names}


def latency_ms(case: Evaluated) -> float:
    """Milliseconds from one image to its score, the median of some passes; other work on the machine is in it."""
    import torch

    image, seconds = pixels(case.images, 0, 1, case.device), []
    with torch.no_grad():
        for turn in range(WARM_UP + TIMED):
            started = time.perf_counter()
            case.detector(image).cpu()  # waits for a GPU to be done
            if turn >= WARM_UP:
                seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def parameters(case: Evaluated) -> float:
    """How many numbers the detector stores: weights, statistics and its bank of normals."""
    return float(sum(tensor.numel() for tensor in case.detector.state_dict().values()))


def memory_mb(case: Evaluated) -> float:
    """Megabytes (10^6 bytes) of all that the detector stores."""
    tensors = case.detector.state_dict().values()
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors)) / 1e6


def false_alarms(case: Evaluated) -> float:
    """Share of the normals that the evaluation's attack lifts over the threshold of `evaluation.false_alarm_rate`."""
    labels, measured = case.images.labels, case.measured
    threshold = threshold_of(labels, measured.clean, case.evaluation["false_alarm_rate"])["value"]
    return float(np.mean(flagged(measured.attacked[labels == 0], threshold)))


def train_seconds(case: Evaluated) -> float:
    """Seconds of its training so far, evaluations left out; other work on the machine is in it."""
    return case.trained


MEASURES: Mapping[str, Callable[[Evaluated], float]] = {
    measure.__name__: measure for measure in (latency_ms, parameters, memory_mb, false_alarms, train_seconds)
}
