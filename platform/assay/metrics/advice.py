"""What a sweep taught, in words, each with its figure: what mattered, what was exhausted, what never won, what is next.

The best trials are the best quarter by the rule of `best:`, for the ends of ranges the best eighth, and five at least.
Something is said of them only where chance alone would show it in at most 1 of 20 cases. A guided search tries what did
well more often, so that this is a guide to the next sweep and no test.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from scipy.stats import binom, hypergeom

from assay.config import objectives as choice
from assay.metrics.searched_range import EDGE, Range, distribution, ranges
from assay.store import seeds
from assay.store.trial_log import Record
from assay.units import in_255

NEEDED = 8
"""Complete trials before anything is said."""
FEWEST = 5
"""Trials that are called the best ones, at least."""
CHANCE = 0.05
KINDS = ("mattered", "edge", "never won", "next")
"""In this order they are given."""


@dataclass(frozen=True)
class Finding:
    """A sentence about a sweep, of one kind, and the parameter that it is about; "" where it is about none."""

    kind: Literal["mattered", "edge", "never won", "next"]
    parameter: str
    text: str

    def __str__(self) -> str:
        return f"next: {self.text}" if self.kind == "next" else self.text


class Ranked(NamedTuple):
    """Complete trials, the best first, and how many of them are called the best."""

    trials: Sequence[Record]
    best: int


def advice(
    records: Mapping[int, Record],
    directions: Mapping[str, str],
    rule: Mapping[str, Any],
    importances: Sequence[Mapping[str, Any]] = (),
    name: str = "NAME",
) -> list[Finding]:
    """All that can be said; empty before NEEDED trials are complete.

    directions: objective -> `max` or `min`. rule: `best:` of the search space. importances: rows of schemas.IMPORTANCE.
    name: of the sweep, for commands.
    """
    ranked = _ranked(records, directions, rule)
    if len(ranked.trials) < NEEDED:
        return []
    edges = [one for key, of in sorted(ranges(records).items()) for one in _edge(key, of, ranked, name)]
    found = [*_mattered(importances), *edges, *_never_won(ranked)]
    further = [*found, *_settled(importances, found, ranked)]
    if not any(one.kind == "next" for one in further):
        more = f"try more: assay sweep --resume {name} --trials {2 * len(ranked.trials)}"
        further.append(Finding("next", "", f"{len(ranked.trials)} complete trials show nothing to change; {more}"))
    return sorted(further, key=lambda one: KINDS.index(one.kind))


def _ranked(records: Mapping[int, Record], directions: Mapping[str, str], rule: Mapping[str, Any]) -> Ranked:
    measured = seeds.averaged(records, directions)
    order = sorted(measured, key=lambda n: choice.merit(measured[n], rule, directions), reverse=True)
    return Ranked([records[n] for n in order], max(FEWEST, len(order) // 4))


def _mattered(importances: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Every parameter whose share is above its chance level, the largest first; or that none is."""
    found = []
    measured = _measured(importances)
    for objective in dict.fromkeys(str(row["objective"]) for row in measured):
        rows = [row for row in measured if row["objective"] == objective]
        above = sorted((row for row in rows if row["importance"] > row["chance"]), key=lambda row: -row["importance"])
        found += [
            Finding(
                "mattered",
                str(row["parameter"]),
                f"{row['parameter']} mattered for {objective}: {row['importance']:.2f} [{row['lower']:.2f}, "
                f"{row['upper']:.2f}] of the importance of all, chance level {row['chance']:.2f}, over "
                f"{row['trials']} complete trials",
            )
            for row in above
        ]
        if not above:
            top = max(rows, key=lambda row: row["importance"])
            text = (
                f"nothing is known to matter for {objective}: the largest share, {top['importance']:.2f} of "
                f"{top['parameter']}, is below its chance level {top['chance']:.2f} over {top['complete']} trials"
            )
            found.append(Finding("mattered", "", text))
    return found


def _edge(parameter: str, of: Range, ranked: Ranked, name: str) -> list[Finding]:
    """That the best trials lie at an end of a range, and what to try beyond it; empty where they do not."""
    # Fewer than elsewhere: the best quarter of a range reaches beyond its edge even where more is always better.
    first = ranked.trials[: max(FEWEST, len(ranked.trials) // 8)]
    values = [record.parameters.get(parameter) for record in first]
    places = [of.place(value) for value in values if isinstance(value, int | float)]
    if not isinstance(values[0], int | float):
        return []
    for upward, limit in ((False, of.low), (True, of.high)):
        there = [at >= 1 - EDGE if upward else at <= EDGE for at in places]
        if not there[0] or binom.sf(sum(there) - 1, len(there), of.edge) > CHANCE:
            continue
        end, best = "upper" if upward else "lower", _said(parameter, values[0])
        exhausted = (
            f"{parameter} was exhausted: {sum(there)} of the best {len(there)} trials lie in the tenth of its range at "
            f"the {end} end, {_said(parameter, limit)}; the best has {best}"
        )
        wider = of.beyond(upward)
        to = f"beyond {_said(parameter, limit)}" if wider is None else f"to {_said(parameter, wider)}"
        how = f"assay sweep FILE --resume {name}" if of.grows else f"in a new sweep with search.start_from: [{name}]"
        further = f"widen {parameter} {to}, if it may be so: {how}"
        return [Finding("edge", parameter, exhausted), Finding("next", parameter, further)]
    return []


def _never_won(ranked: Ranked) -> list[Finding]:
    """Options that were tried and are never among the best, where chance would have put one there."""
    found = []
    drawn = {pair for one in ranked.trials for pair in one.distributions.items()}
    for parameter in sorted({name for name, text in drawn if "choices" in distribution(text)["attributes"]}):
        having = [record for record in ranked.trials if parameter in record.parameters]
        best = [record for record in ranked.trials[: ranked.best] if parameter in record.parameters]
        tried = Counter(record.parameters[parameter] for record in having)
        won = {record.parameters[parameter] for record in best}
        for option, count in sorted(tried.items(), key=str):
            if option in won or hypergeom.pmf(0, len(having), count, len(best)) > CHANCE:
                continue
            rank = next(at for at, one in enumerate(ranked.trials, 1) if one.parameters.get(parameter) == option)
            never = (
                f"{parameter}={option} never won: {count} of {len(having)} complete trials have it, none of the best "
                f"{len(best)}; its own best is number {rank}"
            )
            found.append(Finding("never won", parameter, never))
            found.append(Finding("next", parameter, f"leave out {parameter}={option} in the next sweep"))
    return found


def _settled(importances: Sequence[Mapping[str, Any]], found: Sequence[Finding], ranked: Ranked) -> list[Finding]:
    """Parameters that no objective shows to matter, beside some that do: they may be fixed."""
    above = {one.parameter for one in found if one.kind == "mattered" and one.parameter}
    others = {one.parameter for one in found if one.kind == "next"}
    best = ranked.trials[0].parameters
    return [
        Finding("next", name, f"fix {name} at {_said(name, best[name])}, as the best trial has it: no figure shows it")
        for name in sorted({str(row["parameter"]) for row in _measured(importances)} - above - others)
        if above and name in best
    ]


def _measured(importances: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that have a figure."""
    return [row for row in importances if row["importance"] is not None and math.isfinite(row["importance"])]


def _said(parameter: str, value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return in_255(value) if parameter.endswith("epsilon") else f"{value:.3g}"
