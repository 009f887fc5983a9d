"""Progress of a sweep: a live table on a terminal, otherwise one line per event."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from assay.config.search_space import Spec
from assay.store.trial_log import Record
from assay.sweeps.budget import Meter
from assay.sweeps.study import Listener

SHOWN = 12  # rows of the table: running and newest trials


@contextmanager
def shown(
    spec: Spec, console: Console, known: dict[int, Record] | None = None, meter: Meter | None = None
) -> Iterator[Listener]:
    """A listener for a Study that shows progress while the block runs, along with what the meter says was spent."""
    records: dict[int, Record] = dict(known or {})
    started = time.monotonic()
    if not console.is_terminal:
        yield lambda record, event: console.print(line(record, event, time.monotonic() - started), soft_wrap=True)
        return

    def listen(record: Record, event: str) -> None:
        records[record.number] = record

    def drawn() -> Table:  # four times per second, in its own thread
        return table(spec, dict(records), time.monotonic() - started, meter)

    with Live(console=console, refresh_per_second=4, transient=True, get_renderable=drawn):
        yield listen


def line(record: Record, event: str, seconds: float) -> str:
    """One event as one line of text."""
    what = {"ask": "waits for a worker", "begin": "trains"}.get(event, record.state)
    if event == "report":
        report = record.reports[-1]
        bounds = report.get("intervals", {}) if report["kept"]["epoch"] == report["epoch"] else {}
        rung = f" ({report['rung']})" if report.get("rung") else ""
        what = f"epoch {report['epoch']}/{report['epochs']}{rung}  {figures(report['values'], bounds)}"
    elif event == "retry":
        what = f"continues from its last saved state ({record.retried[-1]})"
    elif record.kept:
        bounds = record.reports[-1].get("intervals", {})
        what += f"  kept epoch {record.kept['epoch']}  {figures(record.kept, bounds)}"
    failure = f"  {record.failure}: {record.message.splitlines()[0]}" if record.failure else ""
    return f"{seconds:7.1f} s  trial {record.number:3d}  {what}{failure}"


def figures(values: Mapping[str, float], intervals: Mapping[str, Sequence[float]]) -> str:
    """Objectives as text: `clean_auroc 0.812 [0.760, 0.855]  robust_auroc 0.401 [0.330, 0.476]`."""
    return "  ".join(f"{name} {words(value, intervals.get(name))}" for name, value in values.items() if name != "epoch")


def words(value: float, interval: Sequence[float] | None) -> str:
    """A figure as text, with its interval where it has one."""
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"  # a cost may be a million parameters
    return text + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def since(record: Record) -> str:
    """What a trial that has not ended is doing: `training since 10:42`."""
    if record.begun is None:  # or of a log from before the beginning was noted
        return "running" if record.reports else "waiting"
    return f"training since {time.strftime('%H:%M', time.localtime(record.begun))}"


def table(spec: Spec, records: dict[int, Record], seconds: float, meter: Meter | None = None) -> Table:
    """The newest trials, running ones first."""
    ended = sum(record.state != "running" for record in records.values())
    title = f"{spec.name}: {ended} of {max(spec.trials, len(records))} trials ended, {seconds:.0f} s"
    caption = f"spent: {meter.text()}" if meter else None
    display = Table(title=title, title_justify="left", header_style="bold", caption=caption, caption_justify="left")
    for name, side in (("trial", "right"), ("detector", "left"), ("state", "left"), ("epoch", "right")):
        display.add_column(name, justify=side)  # type: ignore[arg-type]
    for name in spec.objectives:
        display.add_column(str(name), justify="right")
    display.add_column("varied", overflow="ellipsis", no_wrap=True)
    order = sorted(records.values(), key=lambda r: (r.state == "running", r.number))[-SHOWN:]
    for record in order:
        report = record.reports[-1] if record.reports else None
        bounds = report.get("intervals", {}) if report else {}
        kept = record.kept
        values = [words(kept[str(n)], bounds.get(str(n))) if str(n) in kept else "" for n in spec.objectives]
        epoch = f"{report['epoch']}/{report['epochs']}" if report else "0"
        state = record.failure or (since(record) if record.state == "running" else record.state)
        display.add_row(str(record.number), spec.trainable_of(record.assignment), state, epoch, *values, varied(record))
    return display


def varied(record: Record) -> str:
    """What a trial varies, on one line, with names shortened to their last part."""
    parts = []
    for name, value in record.parameters.items():
        short = name.rsplit(".", 1)[-1]
        parts.append(f"{short}={value:.3g}" if isinstance(value, float) else f"{short}={value}")
    return " ".join(parts)
