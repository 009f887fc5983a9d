"""Checks before any attack: whether a detector can be audited at all, and anything its owner should know.

They use real images. A detector that cannot be audited is refused here with one error, before any work; anything
surprising about one that can becomes a finding of the audit.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assay import delong
from assay.contracts import Images, Norm
from assay.data.reduced import take
from assay.errors import DataError, ModelError
from assay.interop.open_gradients import SHOWN, why_none
from assay.models import certificates
from assay.models.scoring import SAME, clean_scores, pixels, some_of_each
from assay.runtime.out_of_memory import out_of_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

PROBED = 4  # samples of each class that are scored repeatedly
OTHER_SIZES = (1, 3)  # batch sizes
ALIKE = 0.01
"""Scores that differ by less than this share of their own size are reported."""


@dataclass(frozen=True)
class Finding:
    """Something that does not prevent an audit but that its reader must know."""

    name: str
    text: str


@dataclass(frozen=True)
class Facts:
    """What an audit can do with a detector.

    differentiable: whether there is a gradient from score to pixel (possibly zero). neighbours: whether it implements
    contracts.SoftNeighbours. certifies: the norms for which it has certificates (contracts.Certified). stochastic:
    whether two passes over the same images differ. monotone: whether it states that its score is (contracts.Monotone).
    """

    differentiable: bool
    neighbours: bool
    certifies: tuple[Norm, ...]
    stochastic: bool
    findings: tuple[Finding, ...]
    monotone: bool = False


@dataclass(frozen=True)
class Unexamined:
    """What is assumed of a detector that was not checked."""

    differentiable: bool = True
    neighbours: bool = False
    certifies: tuple[Norm, ...] = ()
    stochastic: bool = False


def inspect(detector: nn.Module, images: Images, threshold: float | None, device: str = "cpu") -> Facts:
    """Check a detector on the images of a split; threshold None: it has none yet.

    Raises DataError if the split lacks a class. Raises ModelError if the detector is not frozen, fails, changes its
    input or itself, returns anything but one finite score per image, gives all images the same score, or scores an
    image depending on the other images of its batch.
    """
    check_classes(images)
    check_frozen(detector)
    before = {name: tensor.clone() for name, tensor in _tensors(detector)}
    chosen = take(images, some_of_each(images.labels, PROBED))
    probe = pixels(chosen, 0, len(chosen), device)
    check_output(detector, probe)
    scores = clean_scores(functools.partial(_call, detector), images, device, ModelError)
    if np.ptp(scores) == 0:
        raise ModelError(f"the detector scores all {len(scores)} images {scores[0]:.4g}; it cannot separate any")
    limit = SAME * float(scores.std())
    once = _call(detector, probe)
    change = float((_call(detector, probe) - once).abs().max())
    for size in OTHER_SIZES:
        apart = float((_in_batches(detector, probe, size) - once).abs().max())
        if apart > limit >= change:
            raise ModelError(
                f"an image's score depends on the other images of its batch: in batches of {size} it moves by up to "
                f"{apart:.2g}; is a part in train mode, such as batch-norm, or are scores normalised over the batch?"
            )
    changed = [name for name, tensor in _tensors(detector) if not _same(tensor, before[name])]
    if changed:
        raise ModelError(
            f"the detector changes itself when it scores: {', '.join(changed[:5])}; is a part in train mode, such as "
            "batch-norm? Export or save it after `eval()`"
        )
    gradient, random = differentiable(detector, probe), change > limit
    findings = [
        *_about_scores(images, scores, threshold),
        *_about_gradient(detector, gradient, probe[:1], limit),
    ]
    if random:
        text = f"the score is random: two passes over the same images differ by up to {change:.2g}"
        findings.append(Finding("stochastic", text))
    certifies = certificates.norms(detector)
    monotone = certificates.monotone(detector) is not None
    return Facts(gradient, hasattr(detector, "score_with"), certifies, random, tuple(findings), monotone)


def check_classes(images: Images) -> None:
    """Raise DataError for a split without normals or without anomalies."""
    anomalies = int((images.labels == 1).sum())
    if not 0 < anomalies < len(images):
        raise DataError(
            f"the split has {len(images) - anomalies} normal and {anomalies} anomalous images; an audit needs both: "
            "change the dataset's fractions or its split_seed"
        )


def check_frozen(detector: nn.Module) -> None:
    """Raise ModelError for a detector that was not prepared by `model_folder.freeze`."""
    training = [name or type(part).__name__ for name, part in detector.named_modules() if part.training]
    if training:
        raise ModelError(f"the detector is in train mode ({', '.join(training[:5])}); call `eval()` on all of it")
    loose = [name for name, weight in detector.named_parameters() if weight.requires_grad]
    if loose:
        raise ModelError(
            f"the detector's weights require gradients ({', '.join(loose[:5])}); call `requires_grad_(False)` on it"
        )


def check_output(detector: nn.Module, images: Tensor) -> None:
    """Raise ModelError if the detector does not return scores (B,) for images (B, C, H, W), or changes the images."""
    import torch

    given = images.clone()
    scores = _raw(detector, given)
    if not given.equal(images):
        raise ModelError("the detector changes the images it is given; let it work on a copy")
    if not isinstance(scores, torch.Tensor):
        raise ModelError(f"the detector returns a {type(scores).__name__}; it must return a tensor of scores (B,)")
    if scores.shape != (len(images),):
        raise ModelError(
            f"the detector returns {tuple(scores.shape)} for {len(images)} images; {_advice(scores.shape)}"
        )
    if not scores.is_floating_point():
        raise ModelError(
            f"the detector returns {scores.dtype}: decisions or counts? It must return the score before the threshold, "
            "as floating-point numbers"
        )
    if scores.device != images.device:
        raise ModelError(
            f"the detector's scores are on {scores.device}, its images on {images.device}; move the scores"
        )


def differentiable(detector: nn.Module, images: Tensor) -> bool:
    """Whether there is a gradient from score to pixel, even if it is zero."""
    import torch

    asked = images.clone().requires_grad_(True)
    try:
        scores = detector(asked)
        (gradient,) = torch.autograd.grad(scores.sum(), asked, allow_unused=True)
    except (MemoryError, RuntimeError) as error:  # raised by torch if some operation has no derivative
        if not out_of_memory(error):
            return False
        if len(images) == 1:
            raise
        return differentiable(detector, images[:1])
    return gradient is not None


def _about_scores(images: Images, scores: NDArray[np.float64], threshold: float | None) -> Iterator[Finding]:
    groups = images.parts if images.group_names else None
    auroc = delong.auroc(images.labels, scores, groups)
    low, high = delong.interval(auroc, groups)
    if high < 0.5:
        text = (
            f"clean AUROC is {auroc.value:.3f} [{max(low, 0):.3f}, {high:.3f}], below chance: is a lower score of a "
            "detector from outside more anomalous? Then set `higher_is: normal` in its card"
        )
        yield Finding("below_chance", text)
    size = float(np.abs(scores).max())
    if (spread := float(np.ptp(scores))) < ALIKE * size:
        text = (
            f"the scores of all images lie between {scores.min():.6g} and {scores.max():.6g}, {spread / size:.1g} of "
            "their own size: does the detector want another range of pixels than [0, 1], such as 0 to 255, or is it "
            "not trained? Such a range belongs inside it"
        )
        yield Finding("scores_alike", text)
    if threshold is not None and not scores.min() <= threshold < scores.max():
        flags = "all" if threshold < scores.min() else "none"
        text = (
            f"the threshold {threshold:.4g} lies outside the clean scores, {scores.min():.4g} to {scores.max():.4g}: "
            f"it flags {flags} of the images"
        )
        yield Finding("threshold_out_of_range", text)


def _about_gradient(detector: nn.Module, gradient: bool, image: Tensor, limit: float) -> Iterator[Finding]:
    """Why there is no gradient, or through which closed regions it goes; image: (1, C, H, W)."""
    if not gradient:
        text = f"there is no gradient from score to pixel ({why_none(detector, image)}): attacked as a black box"
        yield Finding("no_gradient", text)
    elif places := getattr(detector, "closed_places", None):
        apart = float((_call(detector, image) - detector(image.clone().requires_grad_(True)).detach()).abs().max())
        where = ", ".join(f"{place.kind} at {place.where}" for place in list(places)[:SHOWN])
        same = "the same with and without it" if apart <= limit else f"NOT the same with it: they differ by {apart:.2g}"
        text = f"its forward turns gradients off ({where}); the attacks' gradient goes through, and scores are {same}"
        yield Finding("gradients_opened", text)


def _advice(shape: tuple[int, ...]) -> str:
    """What to do about a shape that is not (B,)."""
    if len(shape) == 2 and shape[1] == 1:
        return "it must return (B,): add `.squeeze(1)`"
    if len(shape) == 2:
        return (
            "class logits? A score is one number for each image: take the column of the anomalous class, or for two "
            "classes `logits[:, 1] - logits[:, 0]`"
        )
    if len(shape) > 2:
        return "an anomaly map? A score is one number for each image, such as `.flatten(1).amax(1)` of the map"
    return "it must return (B,), one score for each image"


def _in_batches(detector: nn.Module, images: Tensor, size: int) -> Tensor:
    import torch

    return torch.cat([_call(detector, part) for part in torch.split(images, size)])


def _call(detector: nn.Module, images: Tensor) -> Tensor:
    """The scores (B,) of images; raises ModelError if they have another shape."""
    scores = _raw(detector, images)
    if scores.shape != (len(images),):
        shape = tuple(scores.shape)
        raise ModelError(
            f"the detector returns {shape} for {len(images)} images, though (B,) for other numbers of them"
        )
    checked: Tensor = scores
    return checked


def _raw(detector: nn.Module, images: Tensor) -> Any:
    """Whatever the detector returns."""
    import torch

    try:
        with torch.no_grad():
            return detector(images)
    except Exception as error:  # the code may be the user's, and may raise anything
        if out_of_memory(error):
            raise
        what = f"{tuple(images.shape)} on {images.device}"
        raise ModelError(f"the detector fails on images {what}: {type(error).__name__}: {error}") from error


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same values; a NaN that stays one has not changed."""
    if one.equal(other):
        return True
    floats = one.is_floating_point() or one.is_complex()
    return floats and one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


def _tensors(detector: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from detector.named_parameters()
    yield from detector.named_buffers()
