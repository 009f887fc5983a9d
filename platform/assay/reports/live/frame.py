"""The frame of every page that is served: where one is, what the page holds, and how it is kept current."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from assay.reports.sections import _html
from assay.reports.sections._html import ENVIRONMENT, Section, compiled, slug

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<link rel="stylesheet" href="{{ base }}/style.css">
<script src="{{ base }}/live.js" defer></script>
</head>
<body>
<header>
{% if crumb %}
<nav class="crumbs" aria-label="Where you are"><a href="{{ base }}/">Store</a> / {{ crumb }}</nav>
{% endif %}
<h1>{{ title }}</h1>
<p class="identity"><code>{{ place }}</code>, read only. <span id="gone" hidden>The page no longer gets an answer: has
<code>assay ui</code> ended?</span></p>
</header>
<main>
{% for section in sections %}
<section id="{{ section.title | slug }}"><h2>{{ section.title }}</h2>
{{ section.html }}
</section>
{% endfor %}
</main>
</body>
</html>
"""
ENVIRONMENT.filters["slug"] = slug


def page(base: str, place: str, title: str, crumb: str, sections: Sequence[Section]) -> str:
    """A page. base: the beginning of every address, with the token. crumb: its name below the first page, or ""."""
    return compiled(TEMPLATE).render(base=base, place=place, title=title, crumb=crumb, sections=sections)


def style() -> str:
    """The style of the reports, and what only these pages have."""
    return str(_html.style()) + MORE


DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError, RecursionError)
"""What comes of values that no version of Assay writes: a file of a store may hold any."""


def problem(what: Exception | str) -> Markup:
    """A file that cannot be read, told on the page in place of what it would hold."""
    return Markup('<p class="problem">{}</p>').format(str(what))


MORE = """
.crumbs { font-size: var(--small); margin-bottom: .75rem; }
.problem { border-left: .3rem solid #a33a00; padding-left: .75rem; }
#gone { color: #a33a00; font-weight: 600; }
.pages { font-size: var(--small); }
main section { margin-bottom: 2.25rem; }
"""

SCRIPT = """// Every few seconds: asks for this page again and puts in what changed. A page out of sight rests.
const EVERY = 5000;
async function look() {
  if (document.hidden) return;
  const gone = document.getElementById("gone");
  try {
    const answer = await fetch(location.href, {cache: "no-store"});
    if (!answer.ok && answer.status !== 404) throw new Error(answer.status);
    const now = new DOMParser().parseFromString(await answer.text(), "text/html");
    const old = document.querySelectorAll("main > section"), fresh = now.querySelectorAll("main > section");
    const same = old.length === fresh.length && [...old].every((section, i) => section.id === fresh[i].id);
    if (!same) document.querySelector("main").replaceWith(now.querySelector("main") || document.createElement("main"));
    else old.forEach((section, i) => {
      if (section.innerHTML !== fresh[i].innerHTML) section.replaceWith(fresh[i]);
    });
    gone.hidden = true;
  } catch {
    gone.hidden = false;
  }
}
setInterval(look, EVERY);
"""
"""Served as it stands; a page without it shows the store as it was when it was opened."""
