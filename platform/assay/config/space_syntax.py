"""Parses the `space:` section of a YAML file into domains and reports every fault at once.

{uniform: [0, 6/255]}   {uniform: [0, 1], step: 0.1}   {loguniform: [0.1, 10]}   {integer: [1, 5]}
{logint: [16, 256]}     {choice: [rotation, cutpaste: {area: {uniform: [0.02, 0.15]}}]}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from assay.config.domains import Choice, Constant, Domain, Integer, Label, LogUniform, Record, Uniform, label_of
from assay.config.space import Space
from assay.config.validation import shown
from assay.errors import Fault, suggest
from assay.shelves import normal_form
from assay.units import number

FORMS = ("uniform", "loguniform", "integer", "logint", "choice")
WRITE = f"write one of {', '.join(FORMS)}, as in `{{uniform: [0, 1]}}`"


def read(raw: Any) -> tuple[Space, list[Fault]]:
    """The space described by plain YAML values, sorted by key and without invalid keys; and the faults."""
    faults: list[Fault] = []
    if not isinstance(raw, Mapping):
        return {}, [Fault("space", shown(raw), "must be a mapping of `dotted.path: {domain}` lines")]
    space: dict[str, Domain] = {}
    for key, value in sorted(raw.items()):
        above = next((other for other in space if key.startswith(f"{other}.")), None)
        if not all(key.split(".")):
            faults.append(Fault(f"space.{key}", shown(key), "must be names joined by single dots"))
        elif above:
            faults.append(Fault(f"space.{key}", shown(key), f"lies inside '{above}', also searched; vary one"))
        elif isinstance(value, Mapping) and not _forms(value):
            faults.append(_not_a_domain(value, f"space.{key}"))
        elif (domain := _domain(value, f"space.{key}", faults)) is not None:
            space[key] = domain
    return space, faults


def _forms(value: Any) -> list[str]:
    return [key for key in value if key in FORMS] if isinstance(value, Mapping) else []


def _not_a_domain(value: Mapping[str, Any], at: str) -> Fault:
    inner = next((key for key, below in value.items() if _forms(below)), None)
    if inner:
        return Fault(at, shown(value), f"paths are joined by dots: write `{at.partition('.')[2]}.{inner}: ...`")
    return Fault(at, shown(value), f"{WRITE}{suggest(next(iter(value), ''), FORMS)}; fixed values go in `fixed`")


def _domain(value: Any, at: str, faults: list[Fault]) -> Domain | None:
    """The domain a value describes; other scalars and lists are constants, other mappings are records."""
    forms = _forms(value)
    if not isinstance(value, Mapping):
        return Constant(_simple(value))
    if not forms:
        [*keys] = value
        if len(keys) == 1 and isinstance(value[keys[0]], list) and suggest(keys[0], FORMS):
            faults.append(_not_a_domain(value, at))
            return None
        return _record(value, at, faults)
    form, *more = forms
    extra = [key for key in value if key != form and not (form == "uniform" and key == "step")]
    if extra:
        may = "beside it only `step`" if form == "uniform" and not more else "nothing else beside it"
        faults.append(Fault(at, shown(value), f"write one domain, {may}{suggest(extra[0], ['step'])}"))
        return None
    if form == "choice":
        return _choice(value["choice"], at, faults)
    domain, wrong = _range(form, value[form], number(value["step"]) if "step" in value else None)
    if wrong:
        faults.append(Fault(at, shown(value), wrong))
    return domain


def _range(form: str, bounds: Any, step: Any) -> tuple[Domain | None, str]:
    """The numeric domain between two bounds, or what is wrong with them."""
    ends = [number(end) for end in bounds] if isinstance(bounds, list) else []
    if len(ends) != 2 or not all(_finite(end) for end in ends):
        return None, f"must be two numbers, the lowest and the highest, as in `{form}: [1, 5]`"
    low, high = ends
    if low > high:
        return None, f"the lowest comes first: [{shown(high)}, {shown(low)}]"
    if form in ("integer", "logint"):
        if low != int(low) or high != int(high):
            return None, "must be two whole numbers; `uniform` takes any numbers"
        if form == "logint" and low < 1:
            return None, "the lowest must be at least 1 for a logarithmic range; `integer` has no such limit"
        return Integer(int(low), int(high), log=form == "logint"), ""
    if form == "loguniform":
        if low <= 0:
            return None, "the lowest must be more than 0 for a logarithmic range; `uniform` has no such limit"
        return LogUniform(float(low), float(high)), ""
    if step is None:
        return Uniform(float(low), float(high)), ""
    if not _finite(step) or step < 1e-6:
        return None, "step must be a number of at least 0.000001"
    steps = (high - low) / step
    if abs(steps - round(steps)) > 1e-6 * max(1.0, steps) or (steps < 0.5 and high > low):
        return None, f"step does not divide the range; the highest would be {low + math.floor(steps) * step:g}"
    return Uniform(float(low), float(high), float(step)), ""


def _choice(options: Any, at: str, faults: list[Fault]) -> Domain | None:
    if not isinstance(options, list) or not options:
        faults.append(Fault(at, shown(options), "choice must be a list of at least one option"))
        return None
    read: list[tuple[Label, Domain]] = []
    sound = True
    for option in options:
        labelled = _option(option, at, faults)
        if labelled is None:
            sound = False
        elif labelled[0] in [label for label, _ in read]:
            widen = "give it once, with wider domains" if isinstance(labelled[1], Record) else "give it once"
            faults.append(Fault(at, shown(labelled[0]), f"is an option twice; {widen}"))
        else:
            read.append(labelled)
    return Choice(tuple(read)) if sound else None


def _option(option: Any, at: str, faults: list[Fault]) -> tuple[Label, Domain] | None:
    if not isinstance(option, Mapping):
        constant = Constant(_simple(option))
        return label_of(constant.value), constant
    if _forms(option):
        faults.append(Fault(at, shown(option), "an option is a value or an item, not a domain"))
        return None
    try:
        name, entries = normal_form(option)
    except PydanticCustomError:
        faults.append(Fault(at, shown(option), "an option is a value, a name, or `name: {parameters}`"))
        return None
    if _forms(entries):
        allowed = f"'{name}' is read as an item: name the parameter that varies, `{name}: {{parameter: ...}}`"
        faults.append(Fault(f"{at}.{name}", shown(entries), allowed))
        return None
    record = _record(entries, f"{at}.{name}", faults)
    return None if record is None else (name, Record(record.entries, name))


def _record(entries: Mapping[str, Any], at: str, faults: list[Fault]) -> Record | None:
    domains = {key: _domain(value, f"{at}.{key}", faults) for key, value in sorted(entries.items())}
    sound = {key: domain for key, domain in domains.items() if domain is not None}
    return Record(sound) if len(sound) == len(domains) else None


def _simple(value: Any) -> Any:
    """A constant as the study stores it: `2/255` as a number, other text unchanged."""
    if isinstance(value, list):
        return [_simple(part) for part in value]
    parsed = number(value)
    return parsed if _finite(parsed) else value


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
