"""What may change of a search space while its sweep stands: more trials, added options, wider ranges."""

from __future__ import annotations

from collections.abc import Iterator

from assay.config.domains import Choice, Constant, Domain, Integer, LogUniform, Record, Uniform
from assay.config.search_space import Spec
from assay.config.validation import shown
from assay.errors import SweepError
from assay.hashing import canonical

FIXED_SPACE = ("qmc",)
"""Samplers whose sequence of points belongs to one space."""


def growth(old: Spec, new: Spec) -> list[str]:
    """What is new in a sweep's search space, a sentence each; raises SweepError for any other change."""
    before, now = old.plain(), new.plain()
    parts = {key for key in now if key not in ("budget", "space", "trainable", "search", "seeds", "seeds_of")}
    refused = [f"{key} differs" for key in sorted(parts) if canonical(before[key]) != canonical(now[key])]
    search = {key: value for key, value in now["search"].items() if before["search"].get(key) != value}
    refused += [f"search.{key} differs" for key in search if key != "trials"]
    said: list[str] = []
    if new.search.trials < old.search.trials:
        refused.append(f"search.trials is {new.search.trials}, fewer than the {old.search.trials} of before")
    elif new.search.trials > old.search.trials:
        said.append(f"search.trials: {old.search.trials} -> {new.search.trials}")
    if new.seeds < old.seeds:
        refused.append(f"seeds is {new.seeds}, fewer than the {old.seeds} of before")
    elif new.seeds > old.seeds:
        said.append(f"seeds: {old.seeds} -> {new.seeds}")
    if old.seeds_of == "front" and new.seeds_of == "best":
        refused.append("seeds_of is best, fewer trials than the front of before")
    elif old.seeds_of != new.seeds_of:
        said.append(f"seeds_of: {old.seeds_of} -> {new.seeds_of}")
    for key in sorted({*old.domains, *new.domains}):
        if key not in old.domains or key not in new.domains:
            refused.append(f"{key} is {'added to' if key in new.domains else 'gone from'} the space")
            continue
        for good, sentence in _compared(key, old.domains[key], new.domains[key]):
            (said if good else refused).append(sentence)
    if new.search.sampler in FIXED_SPACE and canonical(before["space"]) != canonical(now["space"]):
        refused.append(f"the points of {new.search.sampler} are of one space")
    if refused:
        raise SweepError(
            f"sweep '{old.name}' cannot be resumed with these changes: {'; '.join(refused)}. It may get more trials, "
            "seeds, options and wider ranges; for anything else start one under another name, with search.start_from"
        )
    return said


def _compared(name: str, old: Domain, new: Domain) -> Iterator[tuple[bool, str]]:
    """(whether it may be, what) of every difference between two domains."""
    if isinstance(old, Choice) and isinstance(new, Choice):
        options = dict(new.options)
        yield from ((True, f"{name}: option {label} added") for label in options if label not in dict(old.options))
        for label, option in old.options:
            if label not in options:
                yield False, f"{name}: option {label} is gone"
            else:
                yield from _compared(f"{name}.{label}", option, options[label])
    elif isinstance(old, Record) and isinstance(new, Record) and old.entries.keys() == new.entries.keys():
        for key, entry in old.entries.items():
            yield from _compared(f"{name}.{key}", entry, new.entries[key])
    elif old != new:
        wider = type(old) is type(new) and not isinstance(old, (Constant, Choice, Record)) and _wider(old, new)
        yield wider, f"{name}: {shown(old.plain())} -> {shown(new.plain())}"


def _wider(old: Domain, new: Domain) -> bool:
    """Whether every value of a range is one of the other."""
    if isinstance(old, Uniform) and isinstance(new, Uniform) and (old.step or new.step):
        return False  # the grids of two stepped ranges hardly ever agree
    if isinstance(old, Integer) and isinstance(new, Integer) and old.log != new.log:
        return False
    assert isinstance(old, (Uniform, LogUniform, Integer))
    assert isinstance(new, (Uniform, LogUniform, Integer))
    return bool(new.low <= old.low and old.high <= new.high)
