"""The W&B report on an audit: verdict, figures, gates, security curves, the sweep it came from, ways back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from assay.approval.verdict import verdict_of
from assay.reports.markdown import code
from assay.reports.markdown import escaped as md
from assay.store.audit_reader import Audit
from assay.tracking import audit_run
from assay.tracking.client import Connection, tracking_errors
from assay.units import NORM_WORDS, in_255


def save(connection: Connection, audit: Audit, run_id: str) -> str:
    """Write the report, in place of an existing one with that title; returns its address."""
    import wandb_workspaces.reports.v2 as wr

    with tracking_errors(connection.server):
        title = f"Audit {audit.info['audit']}"[:128]
        report = wr.Report(project=connection.project, entity=connection.entity, title=title)
        report.description = f"Robustness of model {audit.info['model']} on {audit.info['dataset']['name']}"
        report.blocks = blocks(connection, audit, run_id)
        for known in connection.api.reports(connection.path):
            if known.display_name == title:
                report.id = known.id
        return str(report.save().url)


def blocks(connection: Connection, audit: Audit, run_id: str) -> list[Any]:
    """The content of the report."""
    import wandb_workspaces.reports.v2 as wr

    texts = {"Verdict": verdict(audit), "Figures": figures(audit), "Gates": gates(audit), "Checks": checks(audit)}
    content: list[Any] = [wr.TableOfContents()]
    for heading, text in texts.items():
        content += [wr.H1(heading), wr.MarkdownBlock(text)]
    content += [wr.H1("Security curves"), _curves(connection, audit)]
    if audit.trials is not None:
        of_sweep = wr.MarkdownBlock(SWEEP.format(md(audit.info["sweep"])))
        content += [wr.H1("The sweep"), of_sweep, _sweep(connection, audit)]
    return [*content, wr.H1("Ways back"), wr.MarkdownBlock(links(connection, audit, run_id))]


SWEEP = (
    "Trials of sweep {}. Figures are on validation, under the sweep's own attack; they chose the model and are not the "
    "audit's. Trials are here once the sweep was sent."
)


def verdict(audit: Audit) -> str:
    """The decision and its reasons."""
    decided = verdict_of(audit)
    if decided is None:
        return "Nobody has decided on this audit yet; `assay approve` does, and `assay publish` brings it here."
    reasons = "\n".join(f"- {md(text)}" for text in decided.reasons)
    return f"**{decided.verdict}** by policy {md(decided.policy.name)} {md(decided.policy.version)}\n\n{reasons}"


def figures(audit: Audit) -> str:
    """AUROC and the rates at the threshold, clean and in the worst case at every budget."""
    rows = [["clean", *(_estimate(audit.clean(metric)) for metric in ("auroc", "miss_rate", "false_alarm_rate"))]]
    for budget in audit.budgets:
        rates = (audit.rate(metric, budget) for metric in ("miss_rate", "false_alarm_rate"))
        worst = [audit.attacked("auroc", budget), *rates]
        name = f"{NORM_WORDS[budget.norm]} {in_255(budget.epsilon, budget.norm)}"
        rows.append([name, *(_estimate(figure) for figure in worst)])
    caption = f"Worst case of each sample over all attacks of the suite, {audit.confidence:.0%} intervals.\n\n"
    return caption + _table(["budget", "AUROC", "miss rate", "false-alarm rate"], rows)


def gates(audit: Audit) -> str:
    """What the policy requires, and the decision on each gate."""
    decided = verdict_of(audit)
    rows = [[gate.decision, md(gate.text), md(gate.why)] for gate in decided.gates] if decided else []
    return _table(["decision", "gate", "because"], rows) if rows else "None: there is no verdict yet."


def checks(audit: Audit) -> str:
    """The checks that did not pass, with their evidence."""
    columns = (audit.checks[name].tolist() for name in ("check", "passed", "required", "evidence"))
    every = list(zip(*columns, strict=True))
    failed = [["FAILED" if need else "advice", md(name), md(text)] for name, passed, need, text in every if not passed]
    count = f"{len(every) - len(failed)} of {len(every)} checks of the audit itself passed."
    return f"{count}\n\n{_table(['kind', 'check', 'evidence'], failed)}" if failed else count


def links(connection: Connection, audit: Audit, run_id: str) -> str:
    """Where the figures come from, and how to reproduce them."""
    info, url = audit.info, connection.url
    ways = [
        f"[the audit as a run]({url}/runs/{run_id}), with its tables of figures, checks, costs and gates",
        f"[the audit as files]({url}/artifacts/audit/audit-{quote(str(info['audit']), safe='')})",
        f"[the model]({url}/artifacts/model/model-{quote(str(info['model']), safe='')})",
        *(
            [f"[the trials of the sweep]({url}/groups/{quote(str(info['sweep']), safe='')})"]
            if info.get("sweep")
            else []
        ),
        f"repeat it: {code(audit.command)}",
        "the whole report, with the worst samples: `report.html` in the audit's folder of the store; it is not sent",
    ]
    return "\n".join(f"- {text}" for text in ways)


def _curves(connection: Connection, audit: Audit) -> Any:
    """The curves of this audit from its run, and the report's own drawings of them."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.reports.v2 as wr

    this = expr.And(expr.Metric("JobType") == "audit", expr.Config("audit") == audit.info["audit"])
    runs = wr.Runset(entity=connection.entity, project=connection.project, name="this audit", filters=this)
    panels: list[Any] = []
    for norm in audit_run.curved(audit):
        points = audit_run.curve(audit, norm)
        axis = f"security/{norm}/epsilon"
        names = [name for name in dict.fromkeys(name for point in points for name in point) if name != axis]
        unit = " in 1/255" if norm == "linf" else ""
        panels.append(wr.LinePlot(
            title=f"AUROC over {NORM_WORDS[norm]} budget", x=axis, y=names, title_x=f"epsilon{unit}", title_y="AUROC",
            range_y=(0.0, 1.0), layout=wr.Layout(w=24, h=10),
        ))  # fmt: skip
    drawn = [f"figures/{name}" for name in audit_run.FIGURES]
    panels.append(wr.MediaBrowser(title="As in the report", media_keys=drawn, layout=wr.Layout(w=24, h=12)))
    return wr.PanelGrid(runsets=[runs], panels=panels)


def _sweep(connection: Connection, audit: Audit) -> Any:
    """Objectives against each other, and what was varied against them, over all trials of the sweep."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.reports.v2 as wr

    of_sweep = expr.And(expr.Metric("JobType") == "trial", expr.Metric("Group") == audit.info["sweep"])
    runs = wr.Runset(entity=connection.entity, project=connection.project, name="trials", filters=of_sweep)
    names = list(audit.trials or {})
    objectives = [f"kept/{name.partition('.')[2]}" for name in names if name.startswith("objective.")]
    varied = [name.partition(".")[2].replace(".", "/") for name in names if name.startswith("parameter.")]
    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(name)) for name in varied]
    columns += [wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(name)) for name in objectives]
    wide = wr.Layout(w=24, h=10)
    panels: list[Any] = [wr.ParallelCoordinatesPlot(title="What bought it", columns=columns, layout=wide)]
    if len(objectives) > 1:
        across, up = (wr.SummaryMetric(name) for name in objectives[:2])
        title = f"Pareto: {objectives[1]} over {objectives[0]}"
        panels.insert(0, wr.ScatterPlot(title=title, x=across, y=up, layout=wide))
    return wr.PanelGrid(runsets=[runs], panels=panels)


def _estimate(figure: Any) -> str:
    return f"{figure.value:.3f} [{figure.lower:.3f}, {figure.upper:.3f}]" if figure else "not measured"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
