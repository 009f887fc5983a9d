"""A section of the report, and how all sections write numbers, names and tables."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from jinja2 import ChainableUndefined, Environment, Template, Undefined
from markupsafe import Markup, escape

from assay.units import NORM_WORDS, in_255

NOT_RECORDED = "not recorded"
COLUMNS = {"few": 3, "some": 6, "many": 8, "crowded": 1000}
"""Kinds of tables by the most columns they have; the style sheet says below which width each becomes cards."""
REGIMES = {"evasion": "evasion", "false_alarm": "false alarm", "both": "both"}


@dataclass(frozen=True)
class Section:
    """A heading of the report and its content."""

    title: str
    html: Markup


class NotRecorded(ChainableUndefined):
    """Shows what an artefact does not hold as text, not as a blank."""

    def __str__(self) -> str:
        return NOT_RECORDED


def number(value: Any) -> str:
    """`0.873`; text as it is; `not recorded` for what is missing."""
    if value is None or isinstance(value, Undefined):
        return NOT_RECORDED
    if isinstance(value, float):
        return f"{value:.3f}" if math.isfinite(value) else "undefined"
    return f"{value:,}" if isinstance(value, int) else str(value)


def estimate(figure: Any) -> Markup:
    """`0.873 [0.812, 0.921]` of anything with value, lower and upper; `not measured` without a value."""
    if not figure or _get(figure, "value") is None:
        return Markup('<span class="none">not measured</span>')
    value, lower, upper = (_get(figure, name) for name in ("value", "lower", "upper"))
    if lower is None or upper is None:
        return Markup('<span class="figure">{}</span>').format(number(value))
    interval = f"[{number(lower)}, {number(upper)}]"
    return Markup('<span class="figure">{} <span class="interval">{}</span></span>').format(number(value), interval)


def _get(figure: Any, name: str) -> Any:
    return figure.get(name) if isinstance(figure, Mapping) else getattr(figure, name, None)


def budget(value: Any) -> str:
    """`L∞ 2/255` of anything with a norm and an epsilon."""
    return f"{norm(value.norm)} {in_255(value.epsilon, value.norm)}"


def norm(name: str) -> str:
    """`L∞` for `linf`."""
    return NORM_WORDS.get(name, name)


def signs(text: str) -> str:
    """A sentence from another part of Assay with norms written as on this page; names of attacks stay."""
    return re.sub(r"(?<![-\w])(linf|l2|l1)(?![-\w])", lambda match: norm(match[0]), text)


def short(value: Any) -> str:
    """A parameter's value: four significant digits, `–` where it does not apply."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def setting(name: str, value: Any) -> str:
    """A parameter's value; an epsilon is written `2/255`."""
    if name.endswith("epsilon") and isinstance(value, float) and math.isfinite(value):
        return in_255(value)
    return short(value)


def parameters(values: Mapping[str, Any]) -> str:
    """`steps 20, restarts 2`, or `none`."""
    return ", ".join(f"{key} {setting(key, value)}" for key, value in values.items()) or "none"


def words(name: str) -> str:
    """`clean AUROC` for `clean_auroc`."""
    return name.replace("_", " ").replace("auroc", "AUROC")


def sides(size: Any) -> str:
    """`640 × 480`, width by height, for the side of square images or [height, width]; anything else as it is."""
    if isinstance(size, list) and len(size) == 2:
        return f"{size[1]} × {size[0]}"
    return f"{size} × {size}" if isinstance(size, int) else str(size)


def moment(value: Any) -> str:
    """`2026-02-03 09:12 UTC` for an ISO time; anything else as it is."""
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return f"{time.astimezone(UTC) if time.tzinfo else time:%Y-%m-%d %H:%M} UTC"


def slug(text: str) -> str:
    """`text` as a part of an HTML id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def table(label: str, caller: Callable[[], str]) -> Markup:
    """The table of a template's `{% call table(label) %}` in a box; `label` names it to a screen reader."""
    return Markup('<div class="table" role="group" aria-label="{}">{}</div>').format(label, _labelled(caller()))


UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
"""What no reader sees: controls, and characters that turn the direction of the text around them or hide in it."""


def seen(text: str) -> str:
    """A text of an artefact, with a replacement character for each that would steer the page and not be seen on it."""
    shown = UNSEEN.sub("\ufffd", text)
    return Markup(shown) if isinstance(text, Markup) else shown


def _shown(value: Any) -> Any:
    if isinstance(value, Undefined):
        return value
    if hasattr(value, "__html__"):
        return seen(Markup(value))
    return NOT_RECORDED if value is None else seen(str(value))


ENVIRONMENT = Environment(autoescape=True, undefined=NotRecorded, finalize=_shown, lstrip_blocks=True)
ENVIRONMENT.globals["table"] = table
ENVIRONMENT.filters.update(
    {f.__name__: f for f in (number, estimate, budget, norm, signs, in_255, short, parameters, words, sides, moment)}
)


def section(title: str, template: str, **values: Any) -> Section:
    """The section that a Jinja template makes of `values`; every value is escaped."""
    return Section(title, Markup(compiled(template).render(values)))


@functools.cache
def compiled(template: str) -> Template:
    """A Jinja template, compiled once: a page that is served is made again and again."""
    return ENVIRONMENT.from_string(template)


@functools.cache
def style() -> Markup:
    """The style sheet of every page."""
    sheet = (resources.files("assay.reports") / "templates" / "report.css").read_text(encoding="utf-8")
    return Markup(ENVIRONMENT.from_string(sheet).render())


def _labelled(content: str) -> Markup:
    """A table whose cells each say the heading of their column: on a narrow screen every row becomes a card of them."""
    head, end, body = content.partition("</thead>")
    names = [Markup(cell).striptags() for cell in re.findall(r"<th\b[^>]*>(.*?)</th>", head, re.S)]
    kind = next(kind for kind, most in COLUMNS.items() if len(names) <= most)

    def row(match: re.Match[str]) -> str:
        labels = (escape(name) for name in names)
        return re.sub(r"<t[dh]\b", lambda cell: f'{cell[0]} data-label="{next(labels, "")}"', match[0])

    body = re.sub(r"<tr\b.*?</tr>", row, body, flags=re.S)
    return Markup(f'<table class="{kind}">{head}{end}{body}</table>')
