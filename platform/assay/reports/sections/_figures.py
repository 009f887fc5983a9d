"""Figures of the report: one style, static SVG that stands inside the page, the same bytes every time."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from assay.reports.sections._html import seen
from assay.units import NORM_WORDS, scale

BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE, GREY = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#767676",
)  # fmt: skip
"""The colours of Okabe and Ito, told apart by colour-blind readers; yellow is left out, it is lost on paper."""

Style = dict[str, Any]
"""Keyword arguments of matplotlib's drawing functions, which it leaves untyped."""
LINES: tuple[Style, ...] = tuple(
    {"color": colour, "linestyle": line, "marker": marker}
    for line, pairs in (
        ("-", ((BLUE, "o"), (VERMILION, "s"), (GREEN, "^"))),
        ("--", ((PURPLE, "D"), (ORANGE, "v"), (SKY, "<"))),
        ("-.", ((BLACK, "P"), (BLUE, ">"), (VERMILION, "X"))),
    )
    for colour, marker in pairs
)
"""Nine line styles that differ in colour, dash and marker, so that they also differ in grey."""

SIZE = 9  # points; one size for all text of all figures, 11 px on the narrowest screen
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "assay",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",  # measured with a wide font, shown in the page's own: text never outgrows its room
    "font.size": SIZE,
    "axes.titlesize": SIZE,
    "axes.labelsize": SIZE,
    "xtick.labelsize": SIZE,
    "ytick.labelsize": SIZE,
    "legend.fontsize": SIZE,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
LEGEND_ROW = 0.17  # inches
HALO = "halo"
"""The `gid` of a text begins so where lines run behind it: on the screen its letters have a white rim."""

WIDTH = 3.6  # inches; about the width of a phone, so that the text keeps its size there


def figure(key: str, title: str, description: str, draw: Callable[[Axes], None], height: float = 2.2) -> Markup:
    """One panel as a `<figure>`: `draw` fills the axes, the legend goes below, `description` says what one sees.

    height: in inches, without the legend.
    key: distinguishes this figure's ids from those of all others on the page.
    """
    with matplotlib.rc_context(STYLE):
        canvas = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = canvas.subplots()
        draw(axes)
        _legend(canvas, axes)
        for words in canvas.findobj(Text):
            if (shown := seen(words.get_text())) != words.get_text():  # SVG cannot hold a control character
                words.set_text(shown)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(
        title, _inline(text.getvalue(), key, seen(title), seen(description))
    )


def clipped(name: str, length: int = 26) -> str:
    """A name short enough for a legend."""
    return name if len(name) <= length else name[: length - 1] + "…"


def epsilon_axis(axes: Axes, norm: str, epsilons: Sequence[float]) -> None:
    """Marks the tested epsilons on the x axis as `units.scale` shows them, leaving out labels that would touch."""
    levels = [epsilon * scale(norm) for epsilon in epsilons]
    gap = 0.07 * max(levels)
    shown: list[float] = []
    for level in sorted(levels, reverse=True):
        if not shown or level == 0 or (shown[-1] - level > gap and level > gap):
            shown.append(level)
    axes.set_xticks(shown, [f"{level:.3g}" for level in shown])
    unit = {255: " (in 1/255)", 100: " (in %)"}.get(scale(norm), "")
    axes.set_xlabel(f"{NORM_WORDS[norm]} budget ε{unit}")


def _legend(canvas: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        columns = 2 if max(len(label) for label in labels) <= 20 else 1
        canvas.set_figheight(canvas.get_figheight() + LEGEND_ROW * math.ceil(len(handles) / columns))
        canvas.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=2.6)


def _inline(text: str, key: str, title: str, description: str) -> Markup:
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: _local(name, value, key) for name, value in element.items()}
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{key}-title {key}-description",
        "stroke-linejoin": "round",
    }
    for place, (tag, content) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, id=f"{key}-{'title' if tag == 'title' else 'description'}")
        element.text = content
        root.insert(place, element)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _local(name: str, value: str, key: str) -> str:
    """An attribute with its ids made this figure's own, and its text left to the page's font."""
    if name == "id":
        return f"{key}-{value}"
    if name.endswith("href"):
        return value.replace("#", f"#{key}-", 1)
    if name == "style":
        value = re.sub(r"font-family: [^;]*(; )?", "", value)
    return value.replace("url(#", f"url(#{key}-")
