"""The interfaces between the parts of Assay: detector, trainable, attack, dataset, pseudo-anomaly, backbone.

Images are float tensors (B, C, H, W) in [0, 1], or uint8 arrays (N, C, H, W) at rest.
Scores are (B,); **higher is more anomalous**. Labels: 0 normal, 1 anomalous.
An epsilon is in pixel scale (2/255 is two grey levels of 255); for l2, the norm of the whole perturbation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NotRequired, Protocol, TypedDict

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

Norm = Literal["linf", "l2", "l1", "patch", "spatial"]
Split = Literal["train", "labelled", "contamination", "validation", "test"]
"""`labelled`: anomalies given to training as such. `contamination`: anomalies hidden among the train normals."""
Duplicates = Literal["refuse", "drop", "allow"]
"""What is done with images that are there twice: `refuse` those in two splits, `drop` all but one, or `allow` them."""
Fit = Literal["stretch", "letterbox", "crop"]
"""How an image of another aspect becomes one of the detector's size."""
Filter = Literal["bilinear", "bicubic", "lanczos", "box", "nearest"]
Regime = Literal["evasion", "false_alarm", "both"]
Knowledge = Literal["white-box", "score", "label", "transfer", "none"]
Monotonicity = Literal["rising", "falling", "mixed"]
Plain = dict[str, Any]
"""Values by name, nested as in YAML and JSON: numbers, text, true and false, null, lists, mappings.

Open on purpose, as the author of a file, an item of a shelf or another library decides which names there are: the
values of a file that is not checked yet, the parameters of an item, keyword arguments. Whatever Assay itself defines
has a type of its own.
"""


@dataclass(frozen=True)
class ThreatModel:
    """How far an attacker may change an image, and the decision the attack is against.

    epsilon: linf, l2, l1: radius of the ball around the clean image, in pixel scale. patch: share of the image's area
    that one square may cover. spatial: share of the attack's own largest rotation and shift.
    threshold: the score above which an image is flagged; needed by attackers who only see decisions.
    """

    norm: Norm
    epsilon: float
    threshold: float | None = None


class Attacked(NamedTuple):
    """The result of an attack: the best image per sample by the true score, and its cost per sample.

    images: (B, C, H, W) in [0, 1] and inside the threat model's ball around the clean image.
    scores: (B,) the detector's own float32 score of exactly those images.
    forwards, backwards: (B,) integer passes spent on each image.
    broken_at: (B,) forwards after which an image first crossed the threat model's threshold, or -1; None if the attack
    does not record it.
    """

    images: Tensor
    scores: Tensor
    forwards: Tensor
    backwards: Tensor
    broken_at: Tensor | None = None


class Attack(Protocol):
    """Moves the raw score of every image as far as the threat model allows.

    direction: (B,) of +1 (raise the score: make a normal look anomalous) and -1 (lower it: hide an anomaly).
    random: one generator per image, the only source of randomness; an image's draws do not depend on other images.
    start: images inside the ball to start from (a result at a smaller epsilon), besides the clean image.
    Uses the raw score as its loss, keeps the best iterate by the true score, never stops at "success" and never returns
    an image that is worse (for the attacker) than the clean one.
    Its module sets `NORMS`, the supported norms, `KNOWLEDGE`, what the attacker sees of the detector, and `NEEDS` if it
    needs more than that: "neighbours" (a SoftNeighbours), "monotone" (a Monotone), "surrogate" (another detector,
    passed as the keyword `surrogate`), "randomness" (a score that differs from call to call).
    """

    def __call__(
        self,
        score: Callable[[Tensor], Tensor],
        images: Tensor,
        direction: Tensor,
        threat: ThreatModel,
        random: Sequence[torch.Generator],
        *,
        start: Tensor | None = None,
        **parameters: Any,
    ) -> Attacked: ...


class SoftNeighbours(Protocol):
    """A detector that scores by distances to stored normals and can return smoother versions of that score.

    The nearest neighbours change from pixel to pixel; a loss over all distances has a gradient that sees further.
    """

    def score_with(self, images: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """The score (B,) with `pool` of the distances (B, N) in place of the mean over the k nearest."""
        ...


class Banked(Protocol):
    """A detector that scores by a bank of stored normals and can return a copy with a smaller bank.

    It needs no training images for that: the smaller bank is a coreset of the stored rows.
    """

    def bank_rows(self) -> int:
        """The number of rows of the bank."""
        ...

    def with_bank(self, share: float) -> nn.Module:
        """A copy in eval mode with a `share` (above 0, to 1) of the rows, at least one; 1 is the detector itself."""
        ...


class Mapped(Protocol):
    """A detector that scores places of an image on the way to its score."""

    def score_and_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The scores (B,), and the scores (B, h, w) of as many places as the detector has; higher is more anomalous."""
        ...


class Certified(Protocol):
    """A detector that can prove how far its score can be moved."""

    CERTIFIES: tuple[Norm, ...]

    def certify(
        self, images: Tensor, norm: Norm, radii: Tensor, random: Sequence[torch.Generator], confidence: float
    ) -> tuple[Tensor, Tensor]:
        """Bounds (B, R), (B, R) on the score within a ball of each of R radii, at that confidence.

        The confidence holds for all bounds at once. `random` has one generator per image. A deterministic proof
        ignores both.
        """
        ...


class Monotone(Protocol):
    """A detector whose score only rises or only falls with each pixel, or is made of parts that do.

    MONOTONE: `rising`, the score never falls as a pixel brightens; `falling`, it never rises; `mixed`, it has parts of
    both kinds, and a method `decomposed(rising, falling)`. Over an linf ball the extremes of the first two are those of
    its two ends, exactly; `mixed` gives sound bounds. Assay certifies such a detector for linf without a `certify`, and
    an audit tests the claim.
    """

    MONOTONE: Monotonicity

    def decomposed(self, rising: Tensor, falling: Tensor) -> Tensor:
        """Scores (B,) that see `rising` where they rise with a pixel, and `falling` where they fall; for `mixed` alone.

        `decomposed(x, x)` is the score of x. A sum of a rising and a falling part is rise(rising) + fall(falling).
        Source: mixed monotone functions and their decomposition (Coogan and Arcak 2015, section 2).
        """
        ...


class Corruption(Protocol):
    """A change that images undergo in the field without an attacker, in five severities."""

    def __call__(self, images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
        """The images (B, C, H, W) in [0, 1], corrupted at severity 1 to 5; one generator per image."""
        ...


@dataclass(frozen=True)
class Sample:
    """One image of a dataset, not yet decoded. Samples with the same `group` must stay in one split.

    masks: files that mark the defect; several are united. category: the kind of product, where a dataset has several.
    """

    id: str
    path: Path
    label: int
    split: Split
    defect: str = "normal"
    group: str | None = None
    masks: tuple[Path, ...] = ()
    category: str | None = None


@dataclass(frozen=True)
class Dataset:
    """The result of a dataset function: the samples of all splits, still on disk, and how to decode them.

    image_size: the side of square images, [height, width], or `native` where all files have one size and keep it.
    notes: counts and remarks for the manifest, such as the number of dropped uncertain samples.
    notices: what its user must know of how it was read, in sentences.
    validation_anomalies: `labelled` ones set aside, or `pseudo`: made from held-out normals.
    duplicates: what is done with images that have the same pixels; two labels for one image are refused unless allowed.
    fit, filter: how images of another size are shrunk to it.
    bit_depth: of 16-bit files; None: 16, if their values use that many. mask_above: the value of a mask above which a
    pixel is marked.
    """

    name: str
    samples: tuple[Sample, ...]
    image_size: int | Sequence[int] | Literal["native"]
    channels: int
    validation_anomalies: Literal["labelled", "pseudo"]
    duplicates: Duplicates = "refuse"
    licence: str = "unknown"
    notes: Mapping[str, int | str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    bit_depth: int | None = None
    mask_above: int = 127
    fit: Fit = "stretch"
    filter: Filter = "bilinear"


@dataclass(frozen=True)
class Images:
    """Decoded images of one split: pixels uint8 (N, C, H, W), labels int64 (N,), one id, defect and hash each.

    groups: the physical part that each image shows, None for one without; empty where none has any.
    categories: the kind of product that each image shows; empty where there is only one.
    """

    pixels: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    defects: tuple[str, ...]
    hashes: tuple[str, ...]
    groups: tuple[str | None, ...] = ()
    categories: tuple[str | None, ...] = ()

    @property
    def group_names(self) -> tuple[str | None, ...] | None:
        """The group of each image, or None where no image has one."""
        return self.groups if any(group is not None for group in self.groups) else None

    @property
    def parts(self) -> tuple[str, ...]:
        """The group of each image, the image itself where it has none."""
        return tuple(group or id_ for group, id_ in zip(self.groups or self.ids, self.ids, strict=True))

    def __len__(self) -> int:
        return len(self.ids)


def no_images() -> Images:
    """Empty Images."""
    import numpy as np

    return Images(np.empty((0, 1, 1, 1), np.uint8), np.empty(0, np.int64), (), (), ())


class Description(TypedDict):
    """What the manifest says about a dataset.

    hash: of all decoded images. image_size: the side of square images, or [height, width]. counts: split -> how many
    are `normal` and how many `anomalous`. groups: how many groups hold them, where images are of groups. notes: those
    of the Dataset, and what was found in decoding it. notices: those of the Dataset, if there are any. shrinking:
    `fit` and `filter`, where these are not the usual ones.
    """

    name: str
    hash: str
    image_size: int | list[int]
    channels: int
    counts: dict[Split, dict[str, int]]
    groups: NotRequired[dict[Split, dict[str, int]]]
    validation_anomalies: str
    licence: str
    notes: dict[str, int | str]
    notices: NotRequired[list[str]]
    shrinking: NotRequired[dict[str, str]]


@dataclass(frozen=True)
class TrainingData:
    """Everything a trial may see of a dataset: training data and the validation split. Never a test image.

    train: the images labelled as normal; in a contaminated dataset some of them are anomalous.
    description: goes into the manifest unchanged.
    labelled: anomalies to train on, none by default.
    """

    train: Images
    validation: Images
    description: Description
    labelled: Images = field(default_factory=no_images)

    @property
    def nbytes(self) -> int:
        """Bytes of all decoded images."""
        return sum(images.pixels.nbytes for images in (self.train, self.validation, self.labelled))


class PseudoAnomalies(NamedTuple):
    """Images (B, C, H, W) in [0, 1] made anomalous, and the mask (B, 1, H, W) bool of what was changed."""

    images: Tensor
    mask: Tensor


class PseudoAnomaly(Protocol):
    """Turns every normal image into an anomalous one, batched on the device of the images.

    An item that must see normals first is a class instead: constructed with its parameters, fitted once by
    `fit(normals)` on train normals (N, C, H, W), then called with images and generator only.
    A module with `SPACE = "features"` defines an item that takes and returns features (B, F).
    """

    def __call__(self, images: Tensor, generator: torch.Generator, **parameters: Any) -> PseudoAnomalies: ...


class Backbone(Protocol):
    """A module images (B, channels, H, W) in [0, 1] -> features (B, F); its attribute `features` is F.

    If there is a last feature map, the method `maps(images)` returns it: (B, F, h, w).
    """

    def __call__(self, *, channels: int, **parameters: Any) -> nn.Module: ...


class Trainable(Protocol):
    """One training run: a class called with the data, a seed, a device and its own parameters.

    On one machine, runs with the same seed are identical, even if one was saved and restored in between.
    The constructor's keyword parameters, except `seed` and `device`, are what a search space may set.
    Its module sets `NEEDS = "anomalies"` if it cannot train on normals alone. Setting a parameter `pseudo_anomaly`
    meets that need as well.
    """

    epochs: int

    def __init__(self, data: TrainingData, *, seed: int, device: str, **parameters: Any) -> None: ...

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch and return the losses to log."""
        ...

    def detector(self) -> nn.Module:
        """A frozen copy of the current detector in eval mode: images (B, C, H, W) -> scores (B,)."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue: weights, optimiser, generators. Tensors and plain values only."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        ...

    @classmethod
    def build(cls, *, channels: int, image_size: int | Sequence[int], **parameters: Any) -> nn.Module:
        """An untrained detector of the same shape, to load saved weights into (buffers may be resized).

        image_size: as the manifest states it, the side of square images or [height, width].
        """
        ...
