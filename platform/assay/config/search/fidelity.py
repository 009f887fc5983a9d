"""The section `fidelity:`: cheap attacks decide who trains on, the full one measures what is left.

Cheap adversarial evaluations rank configurations much as strong ones do (Mendes et al. 2023, arXiv 2304.02497), but
not those that mask their gradients, so a random share of the trials is measured under both.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BeforeValidator

from assay import shelves
from assay.config.section import Section
from assay.config.validation import shown
from assay.contracts import Plain
from assay.errors import Fault
from assay.shelves import Item, Shelf
from assay.units import SMALLEST, Count, Fraction, number


class Rung(Section):
    """A lower rung; in the file, the attack's parameters stand beside its name.

    until: the epoch at which a trial is measured by this attack, and stopped if it is not among the best. train: the
    share of the train images that it is trained on up to there. image_size: the longer side of all images. Where a rung
    has more or larger images than the one before, a trial is trained from its beginning, `until` epochs.
    """

    until: Count
    attack: Annotated[Item, Shelf("attacks")]
    train: Annotated[float, BeforeValidator(number), Gt(0), Le(1)] = 1.0
    image_size: Annotated[int, Ge(SMALLEST)] | None = None


class Fidelity(Section):
    """Attacks that decide at lower rungs which trials train on; objectives are of the top rung alone, `evaluation:`.

    ladder: the lower rungs, such as {until: 5, attack: fgsm}, weaker ones first; `stop_early.reduction` says how many
    trials continue. train, image_size: a share of the train images, and the longer side of all images, for a rung that
    is to have fewer or smaller ones; where the next one has more, a trial is trained anew from its beginning.
    check: the share of trials, drawn at random, that the full attack measures at every rung as well; `assay trials NAME
    --rungs` then says whether a rung misled.
    """

    ladder: Annotated[Sequence[Rung], MinLen(1)]
    check: Fraction = 0.2


BESIDE = ("until", "train", "image_size")
"""Keys of a rung that are not of its attack."""


def at(evaluation: Mapping[str, Any], rung: Mapping[str, Any]) -> Plain:
    """The evaluation with the attack of a rung, both as plain values; norm, epsilon and the rest stay as they are."""
    own = {key: evaluation[key] for key in ("norm", "epsilon", "every", "false_alarm_rate") if key in evaluation}
    return {**own, **{key: value for key, value in rung.items() if key not in BESIDE}}


def images(rung: Mapping[str, Any] | None) -> tuple[float, int | None]:
    """The share of the train images of a rung, and the side of all images, None for that of the dataset."""
    return (1.0, None) if rung is None else (rung.get("train", 1.0), rung.get("image_size"))


def label(rung: Mapping[str, Any]) -> str:
    """A rung's name in the log: `fgsm`, `pgd-5`, `pgd-20x2`, `pgd-5 of 0.25 at 32 px`."""
    steps, restarts = rung.get("steps"), rung.get("restarts", 1)
    share, side = images(rung)
    attack = str(rung["attack"]) + (f"-{steps}" if steps else "") + (f"x{restarts}" if restarts > 1 else "")
    return attack + (f" of {share:.3g}" if share < 1 else "") + (f" at {side} px" if side else "")


def faults(fidelity: Fidelity, evaluation: Any, stop_early: Any, epochs: int | None) -> Iterator[Fault]:
    """What makes a ladder none: epochs or strength that do not rise, no early stopping, a rung above the last epoch."""
    if stop_early is None:
        yield Fault("fidelity", "", "needs stop_early, which says how many trials go on from a rung")
    elif stop_early.grace != fidelity.ladder[0].until:
        allowed = f"must be the epoch of the first rung of fidelity.ladder, {fidelity.ladder[0].until}"
        yield Fault("stop_early.grace", shown(stop_early.grace), allowed)
    before = 0
    for place, rung in enumerate(fidelity.ladder):
        key = f"fidelity.ladder.{place}"
        if rung.until <= before:
            yield Fault(f"{key}.until", shown(rung.until), f"must be more than that of the rung before, {before}")
        if epochs is not None and rung.until >= epochs:
            yield Fault(f"{key}.until", shown(rung.until), f"must be less than the epochs of a trial, {epochs}")
        before = rung.until
    yield from _images_grow(fidelity)
    attacks = [*(rung.attack for rung in fidelity.ladder), evaluation.attack]
    for place, (weak, strong) in enumerate(itertools.pairwise(attacks)):
        if _steps(weak) > _steps(strong):
            above = f"fidelity.ladder.{place + 1}" if place + 1 < len(fidelity.ladder) else "evaluation"
            allowed = (
                f"takes {_steps(weak)} steps in all, more than {above} with {_steps(strong)}; order rungs by strength"
            )
            yield Fault(f"fidelity.ladder.{place}.attack", shown(weak.name), allowed)


def _images_grow(fidelity: Fidelity) -> Iterator[Fault]:
    """Rungs with fewer or smaller images than the rung before."""
    for place, (lower, upper) in enumerate(itertools.pairwise(fidelity.ladder)):
        key = f"fidelity.ladder.{place + 1}"
        if upper.train < lower.train:
            allowed = f"must not be less than that of the rung before, {lower.train:g}"
            yield Fault(f"{key}.train", shown(upper.train), allowed)
        if upper.image_size is not None and (lower.image_size is None or upper.image_size < lower.image_size):
            before = "whole images" if lower.image_size is None else lower.image_size
            allowed = f"must not be less than that of the rung before, {before}"
            yield Fault(f"{key}.image_size", shown(upper.image_size), allowed)


def _steps(attack: Item) -> int:
    """Steps of an attack over all its restarts; 1 for one without."""
    given = shelves.bind(attack.function, attack.parameters)
    return int(given.get("steps") or 1) * int(given.get("restarts") or 1)
