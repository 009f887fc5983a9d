"""The rule by which checks that count samples decide: how often a sound audit fails, and a broken one is caught."""

from __future__ import annotations

import numpy as np
import pytest

from assay.audits.checks import _evidence as evidence
from assay.audits.checks._evidence import backed, gathered, looks, loss, share
from assay.metrics import groups

LABELS = np.repeat([0, 1], 300)


def outcome(rng, kind: str, true: float, allowed: float, first: int, labels=LABELS) -> evidence.Evidence:
    """Of one check of a simulated audit: a share of hits, or AUROC lost by anomalies that flip or that all move."""
    hit = rng.random(len(labels)) < true
    scores = rng.normal(size=len(labels)) + labels * {"flip": 20.0}.get(kind, 2.0)
    after = scores - labels * (np.where(hit, 100.0, 0.0) if kind == "flip" else true)

    def judge(places, seen, count):
        if kind == "share":
            return share(seen.sum(), len(places), allowed, count)
        return loss(labels[places], scores[places], after[places], allowed, count)

    return gathered(labels, first, lambda places: hit[places].astype(float), judge)[0]


# What an audit counts: kind, the largest true figure that is allowed, what is allowed, samples of each class first.
# A shift of all anomalies by 0.17 costs 0.02 of an AUROC of 0.921.
COUNTED = [
    ("share", 0.1, 0.1, 8), ("share", 0.1, 0.1, 8), ("share", 0.05, 0.05, 32), ("share", 0.01, 0.01, 300),
    ("flip", 0.02, 0.02, 32), ("flip", 0.02, 0.02, 32), ("flip", 0.02, 0.02, 8), ("move", 0.17, 0.02, 32),
    ("share", 0.1, 0.1, 32), ("share", 0.02, 0.02, 32), ("share", 0.1, 0.1, 300),
]  # fmt: skip


@pytest.mark.parametrize("each", [12, 60, 300])
def test_a_sound_audit_is_rarely_invalid_though_every_figure_is_at_its_limit(each):
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], each)
    failed = [any(not outcome(rng, *one, labels).passed for one in COUNTED) for _ in range(400)]
    assert np.mean(failed) <= 0.02


def of_parts(rng, kind: str, true: float, allowed: float, worth: bool) -> evidence.Evidence:
    """Of one check of a simulated audit of 20 parts a class, six images of each: a part is hit as a whole."""
    parts = np.repeat(np.arange(40), 6)
    labels, names = (parts >= 20).astype(int), [f"part {part}" for part in parts] if worth else None
    hit = (rng.random(40) < true)[parts]
    scores = rng.normal(size=40)[parts] + 20.0 * labels
    after = scores - labels * np.where(hit, 100.0, 0.0)
    if kind == "share":
        return share(hit.sum(), len(hit), allowed, worth=groups.number(names, len(hit)))
    return loss(labels, scores, after, allowed, groups=names)


@pytest.mark.parametrize(
    ("kind", "true", "allowed", "naive"),
    [("share", 0.1, 0.1, 0.03), ("share", 0.02, 0.02, 0.03), ("flip", 0.02, 0.02, 0.004)],
)
def test_images_of_one_part_are_counted_once(kind, true, allowed, naive):
    rng = np.random.default_rng(3)
    failed = [[not of_parts(rng, kind, true, allowed, worth).passed for _ in range(1000)] for worth in (True, False)]
    assert np.mean(failed[0]) <= 0.003
    assert np.mean(failed[1]) >= naive, "as if every image were a part"


def test_a_share_that_failed_one_sound_audit_in_five_when_16_samples_decided():
    rng = np.random.default_rng(1)
    assert np.mean(rng.binomial(16, 0.05, 1000) > 1.6) > 0.15, "the rule that this one replaces"
    assert np.mean([not outcome(rng, "share", 0.05, 0.1, 8).passed for _ in range(1000)]) <= 0.002


@pytest.mark.parametrize(
    ("kind", "true", "allowed", "first"),
    [
        ("share", 0.2, 0.1, 8),
        ("share", 0.15, 0.05, 32),
        ("share", 0.5, 0.1, 8),
        ("flip", 0.12, 0.02, 32),
        ("flip", 0.12, 0.02, 8),
        ("move", 0.6, 0.02, 32),
    ],
)
def test_a_broken_audit_is_caught(kind, true, allowed, first):
    rng = np.random.default_rng(2)
    caught = np.mean([not outcome(rng, kind, true, allowed, first).passed for _ in range(300)])
    assert caught >= 0.9


def test_more_samples_are_taken_only_while_they_do_not_decide():
    labels = np.repeat([0, 1], [500, 100])
    assert looks(labels, 8) == [8, 16, 32, 64, 128, 256]
    assert looks(labels[400:], 8) == [8, 16, 32, 64, 100]
    assert looks(np.repeat([0, 1], 4), 8) == [4]
    asked = []

    def look(places):
        asked.append(len(places))
        return np.full(len(places), hit)

    def judge(places, seen, count):
        return share(seen.sum(), len(places), 0.1, count)

    hit = 1.0
    found, places, seen = gathered(labels, 8, look, judge)
    assert (found.decision, asked, len(places), seen.all()) == ("failed", [16], 16, True)
    hit = 0.0
    found, places, _ = gathered(labels, 8, look, judge)
    assert found.decision == "passed"
    assert sorted(set(places)) == list(places), "each sample once"
    assert sum(asked[1:]) == len(places) < 100, "far from all there are"


def test_undecided_is_said_and_passes():
    found = share(2, 16, 0.1)
    assert (found.decision, found.passed) == ("undecided", True)
    assert "12.5%" not in found.words
    assert found.words.endswith("not shown to be too large; allowed 10%")
    assert share(16, 16, 0.1).words.startswith("the true share is above ")
    assert share(0, 100, 0.1).words.startswith("the true share is below ")


def test_hits_that_are_no_whole_numbers_are_rounded_to_the_safe_side():
    part, low, high = (share(hits, 50, 0.1) for hits in (6.4, 6, 7))
    assert (part.lower, part.upper, part.share) == (low.lower, high.upper, 6.4 / 50)


def test_samples_left_far_behind_fail_a_loss_that_few_samples_cannot_show():
    labels, before = np.repeat([0, 1], 12), np.arange(24.0)
    after = before - 3.0 * labels
    lost = loss(labels, before, after, 0.02)
    assert lost.decision == "undecided"
    assert lost.share > 0.02
    assert backed(lost, share(24, 24, 0.1)).decision == "failed"
    assert backed(lost, share(24, 24, 0.1)).share == lost.share
    assert backed(lost, share(1, 24, 0.1)) == lost
    none = loss(labels, before, before, 0.02)
    assert backed(none, share(24, 24, 0.1)) == none, "what cost nothing was strong enough"
