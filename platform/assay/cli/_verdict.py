"""What `approve` and `audit --policy` print about a verdict, and the files they write for a CI server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli._plain import plain

if TYPE_CHECKING:
    from assay.approval.verdict import Verdict


def files(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--junit FILE` and `--summary FILE`."""
    path = click.Path(dir_okay=False, writable=True, path_type=Path)
    for option, words in (
        ("--summary", "Append the verdict as Markdown, such as to $GITHUB_STEP_SUMMARY."),
        ("--junit", "Write the verdict as JUnit XML: a test case for every gate and check."),
    ):
        function = click.option(option, type=path, metavar="FILE", help=words)(function)
    return function


def tell(verdict: Verdict, page: str) -> None:
    """Every gate with its figure, the reasons, the verdict and where the report is."""
    from assay.approval.gate import percent

    for gate in verdict.gates:
        figure = "no figure" if gate.value is None else f"{gate.value:.3f} [{gate.lower:.3f}, {gate.upper:.3f}]"
        at = f" at {percent(gate.confidence)}" if gate.confidence else ""
        click.echo(plain(f"  {gate.decision:12s} {gate.words}; {figure}{at}"))
    for reason in verdict.reasons:
        click.echo(plain(f"  {reason}"))
    policy = verdict.policy
    click.echo(plain(f"verdict: {verdict.verdict} under policy {policy.name} version {policy.version}"))
    click.echo(f"report: {page}")


def write(verdicts: Sequence[tuple[Verdict, str]], junit: Path | None, summary: Path | None) -> None:
    """The files of --junit and --summary, for each verdict and its report."""
    from assay.reports import job_summary
    from assay.reports import junit as xml
    from assay.store.store import write_whole

    for path in filter(None, (junit, summary)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if junit:
        write_whole(junit, xml.document([verdict for verdict, _ in verdicts]))
    if summary:
        with summary.open("a", encoding="utf-8") as file:
            file.write("".join(job_summary.text(verdict, page) for verdict, page in verdicts))


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """Of the verdict, and of several the worst: INVALID, FAIL, INCONCLUSIVE, PASS."""
    from assay.approval.policy import EXIT_CODES

    words = {verdict.verdict for verdict in verdicts}
    return next(
        EXIT_CODES[word] for word in ("INVALID", "FAIL", "INCONCLUSIVE", "PASS WITH WAIVERS", "PASS") if word in words
    )
