"""`assay compare`: is a model worse than the one it would replace?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from assay.cli import _options

if TYPE_CHECKING:
    from rich.table import Table

    from assay.metrics.paired_comparison import Comparison, Difference

AUDIT = "AUDIT|MODEL|SWEEP:best"


@click.command()
@click.argument("approved", metavar=f"A:{AUDIT}")
@click.argument("candidate", metavar=f"B:{AUDIT}")
@click.option(
    "--margin",
    type=click.FloatRange(min=0, max=1),
    default=0.0,
    show_default=True,
    help="How much worse, in AUROC or rate, is still no regression.",
)
@click.option(
    "--non-inferior",
    "non_inferior",
    type=click.FloatRange(min=0, min_open=True, max=1),
    metavar="MARGIN",
    help="Ask for evidence that B is worse by less than this; exit 5 if it is not there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
@_options.store
def command(approved: str, candidate: str, margin: float, non_inferior: float | None, as_json: bool, root: str) -> None:
    """Compare audit B, the candidate, with audit A, the approved or older one, sample by sample.

    Both must be of the same test images. A regression is a figure, clean or in the worst case, whose paired interval
    lies wholly on the worse side; the error is divided among these figures (Bonferroni). What was found is kept as
    comparison.json in the folder of B, where its report shows it.

    Exit codes: 0 no regression, and with --non-inferior shown not to be worse; 3 regression; 5 not shown; 2 usage,
    1 error.

    \b
      assay compare 3f9c1b7a5e2d demo:best
    """
    import json

    from rich.console import Console

    from assay.api.compare import compare
    from assay.metrics import paired_comparison

    comparison = compare(approved, candidate, margin=margin, non_inferior=non_inferior, store=root)
    if as_json:
        click.echo(json.dumps(comparison.to_json(), indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
        console.print(_table(comparison))
        for line in _lines(comparison):
            console.print(line)
    click.get_current_context().exit(paired_comparison.EXIT_CODES[comparison.answer])


def _table(comparison: Comparison) -> Table:
    """The headline figures, and the AUROC of every attack and kind of defect."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, title=f"{comparison.b.audit} less {comparison.a.audit}", title_justify="left")
    table.add_column("figure", no_wrap=True)
    for name in ("A", "B", "B - A", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for tested in (True, False):
        for figure in comparison.figures:
            if figure.headline is tested and (tested or figure.metric == "auroc"):
                table.add_row(
                    _name(figure),
                    f"{figure.a:.3f}",
                    f"{figure.b:.3f}",
                    f"{figure.difference:+.3f}",
                    f"{figure.lower:+.3f} to {figure.upper:+.3f}",
                    "REGRESSION" if figure.regressed else "" if tested else "not tested",
                )
        table.add_section()
    return table


def _name(figure: Difference) -> str:
    """`worst linf 2/255 AUROC, crack`."""
    from assay.approval.gate import METRIC_WORDS
    from assay.units import in_255

    where = f" {figure.norm} {in_255(figure.epsilon, figure.norm)}" if figure.norm else ""
    kind = "" if figure.defect == "all" else f", {figure.defect}"
    return f"{figure.attack}{where} {METRIC_WORDS[figure.metric]}{kind}"


def _lines(comparison: Comparison) -> list[str]:
    """What has to be said beside the table, and the answer last."""
    lines = [f"  left out: {reason}" for reason in comparison.left_out]
    for side in (comparison.a, comparison.b):
        if side.failed_checks:
            failed = ", ".join(side.failed_checks)
            lines.append(f"  audit {side.audit} is INVALID (checks {failed}): do not rely on its figures")
    level = f"{comparison.confidence:.0%}"
    groups = ""
    if comparison.groups:
        groups = f" of {comparison.groups[0]} and {comparison.groups[1]} groups, which are resampled"
    lines.append(
        f"{comparison.normals} normals and {comparison.anomalies} anomalies{groups}, paired; intervals of all tested "
        f"figures together at {level} ({comparison.multiplicity}), of the others at {level} each"
    )
    regressed = [_name(figure) for figure in comparison.figures if figure.regressed]
    beyond = f" by more than {comparison.margin:g}" if comparison.margin else ""
    answer = f"regression{beyond}: {', '.join(regressed)}" if regressed else f"no regression{beyond} found"
    if comparison.non_inferior is not None and not regressed:
        within = f"by {comparison.non_inferior:g} or more at {level} confidence"
        unsure = [f"{_name(figure)} (up to {figure.worst:.3f})" for figure in comparison.not_shown]
        answer = f"not shown: B may be worse {within}: {', '.join(unsure)}" if unsure else f"B is not worse {within}"
    return [*lines, answer]
