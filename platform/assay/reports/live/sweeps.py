"""Sweeps on the page: what trains, how it stands against the budget, the front, what mattered, every trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from markupsafe import Markup

from assay.errors import DataError
from assay.metrics import importance, rungs
from assay.metrics.advice import NEEDED, Finding, advice
from assay.redaction import redacted
from assay.reports.live import outlook, pictures
from assay.reports.live.followed_log import FollowedLog
from assay.reports.live.frame import problem
from assay.reports.live.outlook import Outlook
from assay.reports.sections import importance as importance_section
from assay.reports.sections._html import Section, section
from assay.store import seeds, trials_table
from assay.store.audit_reader import Columns
from assay.store.store import Store
from assay.store.trials_table import Trial

REDRAWN = 10.0
"""Seconds between two drawings of the pictures of a running sweep."""
SHOWN = 100
"""Trials on a page of them."""

STATE = """
<p>{{ outlook.state }}: {{ counts }}, of {{ outlook.total }} trials.
{{ "Last event %s ago." | format(since) if since }}
{% if outlook.state == "stopped" %}No sign of life for two minutes: go on with
<code>assay sweep --resume {{ name }}</code>.{% endif %}</p>
{% for what in seeds %}<p>{{ what }}.</p>{% endfor %}
{% for what in damaged %}<p class="problem">{{ what }}</p>{% endfor %}
{% if outlook.seconds is not none %}
{% call table("Budget") %}
<caption>By the mean of the trials that have ended, {{ mean }}</caption>
<thead><tr><th>Budget</th><th>Used</th><th>Still ahead</th><th>Limit</th><th>Enough</th></tr></thead>
<tbody>{% for line in outlook.lines %}<tr><th class="name">{{ line.what }}</th><td>{{ line.used }}</td>
<td>{{ line.ahead }}</td><td>{{ line.limit }}</td><td>{{ line.enough }}</td></tr>{% endfor %}</tbody>
{% endcall %}
{% endif %}
"""

TRIALS = """
{% if trials %}
{% call table(label) %}
<thead><tr><th>Trial</th><th>State</th><th>Epoch</th>{% for goal in goals %}<th>{{ goal | words }}</th>{% endfor %}
<th>What varied</th></tr></thead>
<tbody>{% for row in trials %}
<tr><th>{{ row.number }}</th><td>{{ row.state }}</td><td>{{ row.epochs }}</td>
{% for figure in row.figures %}<td>{{ figure | estimate if figure else "–" }}</td>{% endfor %}
<td class="wide">{{ row.about }}</td></tr>
{% endfor %}</tbody>
{% endcall %}
{% else %}<p>{{ empty }}</p>{% endif %}
{{ pages }}
"""

PICTURES = """
<div class="panels">{% for picture in drawn %}{{ picture }}{% endfor %}</div>
{% if shown < complete %}<p class="note">Drawn: {{ shown }} of {{ complete }} complete trials, the front among them.
</p>{% endif %}
"""

ADVICE = """
{% if found %}<ul>{% for one in found %}<li>{{ one }}</li>{% endfor %}</ul>
{% else %}<p>{{ needed }} complete trials are needed to say anything.</p>{% endif %}
"""

RUNGS = """
{% if rungs %}<ul>{% for one in rungs %}<li>{{ one }}</li>{% endfor %}</ul>
{% else %}<p>No trial has passed a rung yet.</p>{% endif %}
"""

IMPORTANCE = """
{% if drawn %}<p>Share of each parameter in what makes the best quarter of {{ of -}}
{{ " of %d" | format(complete) if of < complete }} complete trials differ from all (PED-ANOVA); below the chance level
it says nothing.</p>
<div class="panels">{% for picture in drawn %}{{ picture }}{% endfor %}</div>
{% else %}<p>{{ why }}</p>{% endif %}
"""


class Row(NamedTuple):
    """A trial in a table. figures: value, lower and upper bound of each objective, None where it has none yet."""

    number: int
    state: str
    epochs: str
    figures: list[dict[str, float | None] | None]
    about: str

    @classmethod
    def of(cls, trial: Trial, goals: Sequence[str], planned: int | None) -> Row:
        """The row of a trial; planned: how many epochs it is to train, where it has said so."""
        state = trial.failure or trial.state
        if trial.state == "running":
            state = f"since {outlook.clock(trial.since)}" if trial.since else "waits for a worker"
            state += f" on {trial.node}" if trial.node and trial.since else ""
        state += f", rung {trial.rung}" if trial.rung else ""
        again = f"begun {trial.attempts} times (lost: {trial.retried})" if trial.retried else ""
        varied = ", ".join(filter(None, [trial.detector, trial.varied]))
        about = [
            varied if trial.repeats is None else f"trial {trial.repeats} with another seed",
            again,
            redacted(trial.message).partition("\n")[0],
        ]
        figures = [_figure(trial, goal) for goal in goals]
        epochs = f"{trial.epoch or '–'}/{trial.epochs}"  # the one that is kept, and how many were trained
        if trial.state == "running":
            epochs = f"{trial.epochs} of {planned}" if planned else "–"
        return cls(trial.number, state, epochs, figures, "; ".join(filter(None, about)))


def _figure(trial: Trial, goal: str) -> dict[str, float | None] | None:
    value = trial.objectives.get(goal)
    if value is None:
        return None
    lower, upper = trial.intervals.get(goal, (None, None))
    return {"value": value, "lower": lower, "upper": upper}


Aside = Callable[..., "Future[Any]"]
"""Does a piece of work in the background: called with a function and its arguments."""


@dataclass
class LiveSweep:
    """A sweep of the store; whatever takes long is kept until its log or its spec has changed."""

    store: Store
    name: str
    aside: Aside
    log: FollowedLog = field(init=False)
    spec: dict[str, Any] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    _spec_at: object = None
    _seen: int = -1
    _drawn: tuple[int, float, list[Markup]] = (-1, 0.0, [])
    _importance: Future[tuple[Columns, int]] | None = None
    _shares: tuple[object, list[Markup]] = (None, [])  # of which importance, and its pictures
    _advised: tuple[int, object, list[Finding]] = (-1, None, [])  # of which log and importance, and what was found
    _counted: int = 0  # complete trials that the importance is or will be of

    def __post_init__(self) -> None:
        self.log = FollowedLog(self.store, self.name)

    @property
    def goals(self) -> dict[str, str]:
        """Objective -> `max` or `min`."""
        return dict(self.spec["objectives"])

    def look(self) -> None:
        """Take in what changed in the store; raises AssayError where the spec or the log cannot be read at all."""
        at = self.store.stamps(f"sweeps/{self.name}").get("spec.yaml")
        changed = at != self._spec_at or not self.spec
        if changed:
            self.spec = trials_table.plain_spec(self.store, self.name)
            if not isinstance(self.spec, dict) or not isinstance(self.spec.get("objectives"), dict):
                self.spec = {}
                raise DataError(f"{self.store.place(f'sweeps/{self.name}/spec.yaml')} is damaged: it has no objectives")
            self._spec_at = at
        self.log.look()
        if changed or self._seen != self.log.version:
            named = self.spec.get("trainable", "")
            self.trials = trials_table.listing(self.goals, self.log.records, named, self.spec.get("constraints") or {})
            self.outlook(0.0)  # raises ValueError where the spec is not one
            self._seen = self.log.version

    def outlook(self, now: float) -> Outlook:
        """How it stands against its budget."""
        return outlook.outlook(self.spec, self.log.records, self.log.spent, self.log.last, now)

    def sections(self, now: float, page: int) -> list[Section]:
        """All of its page; page: of the table of all trials, from 1 on."""
        stands = self.outlook(now)
        states = Counter(trial.state for trial in self.trials)
        running = [trial for trial in self.trials if trial.state == "running"]
        front = [trial for trial in self.trials if trial.pareto]
        found = [
            section(
                "State",
                STATE,
                name=self.name,
                outlook=stands,
                mean=outlook.ago(stands.seconds or 0),
                counts=", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no trial yet",
                since=outlook.ago(now - self.log.last) if self.log.last else "",
                damaged=self.log.said(),
                seeds=[seeds.sentence(dict(trial.seeds), trial.number) for trial in self.trials if trial.seeds],
            )
        ]
        if stands.left:
            empty = "No trial is training now."
            found.append(self._table("Training now", running if stands.alive else [], empty))
        found.append(self._table("Pareto front", front, "No trial is complete yet."))
        found.append(self._pictures(now, stands.alive))
        found.append(self._importances(states["complete"]))
        found.append(self._advice())
        if self.spec.get("fidelity"):
            found.append(section("Rungs of the ladder", RUNGS, rungs=rungs.quality(self.log.records)))
        pages = max(1, -(-len(self.trials) // SHOWN))
        page = min(page, pages)
        newest = self.trials[::-1][(page - 1) * SHOWN : page * SHOWN]
        found.append(self._table("All trials", newest, "No trial has been drawn yet.", _pages(page, pages)))
        return found

    def _table(self, title: str, trials: Sequence[Trial], empty: str, pages: Markup = Markup()) -> Section:
        rows = [Row.of(trial, list(self.goals), self._planned(trial.number)) for trial in trials]
        return section(title, TRIALS, label=title, trials=rows, goals=list(self.goals), empty=empty, pages=pages)

    def _planned(self, number: int) -> int | None:
        reports = self.log.records[number].reports
        return reports[-1].get("epochs") if reports else None

    def _pictures(self, now: float, alive: bool) -> Section:
        version, at, drawn = self._drawn
        if version != self.log.version and (not alive or now - at >= REDRAWN):
            drawn = pictures.drawn(self.goals, self.trials)
            self._drawn = (self.log.version, now, drawn)
        complete = sum(trial.state == "complete" for trial in self.trials)
        if not drawn:
            return Section("Pictures", Markup("<p>There is nothing to draw before two trials are complete.</p>"))
        return section(
            "Pictures",
            PICTURES,
            drawn=drawn,
            complete=complete,
            shown=len(importance.sample(self.trials, pictures.MOST)),
        )

    def _importances(self, complete: int) -> Section:
        """Computed aside, as it takes seconds, and again once a tenth more trials are complete."""
        title = "What mattered"
        if complete < importance.NEEDED:
            why = f"{importance.NEEDED} complete trials are needed to tell; there are {complete}."
            return section(title, IMPORTANCE, drawn=[], why=why)
        grown = complete < self._counted or complete >= 1.1 * self._counted
        if self._importance is None or (self._importance.done() and grown):
            self._importance, self._counted = self.aside(_importance, self.goals, self.trials), complete
        if not self._importance.done():
            return section(title, IMPORTANCE, drawn=[], why="Being computed.")
        try:
            table, of = self._importance.result()
        except Exception as error:  # noqa: BLE001 - of a thread: it has its own place on the page
            return Section(title, problem(f"It could not be computed: {error}"))
        if self._shares[0] is not self._importance:  # drawn here, as matplotlib's settings are those of the process
            measured = table["importance"] == table["importance"]
            seen = [goal for goal in self.goals if measured[table["objective"] == goal].any()]
            self._shares = (self._importance, [importance_section.picture(table, goal) for goal in seen])
        why = "Nothing varied."
        return section(title, IMPORTANCE, drawn=self._shares[1], of=of, complete=self._counted, why=why)

    def _advice(self) -> Section:
        """What the sweep taught so far; once a new importance is there, with that."""
        done = self._importance if self._importance and self._importance.done() else None
        if self._advised[:2] != (self.log.version, done):
            rows: list[dict[str, Any]] = []
            if done and not done.exception():
                table = done.result()[0]
                rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
            rule = self.spec.get("best") or {"maximize": "mean"}
            self._advised = (self.log.version, done, advice(self.log.records, self.goals, rule, rows, self.name))
        return section("What to try next", ADVICE, found=self._advised[2], needed=NEEDED)


def _importance(goals: Mapping[str, str], trials: Sequence[Trial]) -> tuple[Columns, int]:
    """A table of IMPORTANCE, and of how many trials it is."""
    used = importance.sample(trials)
    found = importance.table(trials_table.table(used), goals)
    return {name: found[name].to_numpy() for name in found.column_names}, len(used)


def _pages(page: int, pages: int) -> Markup:
    if pages == 1:
        return Markup()
    newer = Markup('<a href="?page={}">newer</a>, ').format(page - 1) if page > 1 else Markup()
    older = Markup(', <a href="?page={}">older</a>').format(page + 1) if page < pages else Markup()
    return Markup('<p class="pages">{}page {} of {}, the newest first{}</p>').format(newer, page, pages, older)
