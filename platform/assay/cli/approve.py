"""`assay approve`: hold an audit against a policy."""

from __future__ import annotations

import click

from assay.cli import _options


@click.command()
@click.argument("audit", metavar="AUDIT|latest|SWEEP:best")
@click.option("--policy", "policy_name", required=True, help="default, demo or a YAML file.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@_options.store
def command(audit: str, policy_name: str, as_json: bool, root: str) -> None:
    """Decide whether a model may be deployed: write verdict.json, renew report.html, and exit with the verdict.

    Exit codes: 0 PASS, 3 FAIL, 4 INVALID (the audit cannot be trusted), 5 INCONCLUSIVE; 2 usage, 1 error.

    \b
      assay approve latest --policy default
    """
    import json

    from rich.console import Console

    from assay import audits, policy, report
    from assay.store import Store

    store = Store(root)
    rules = policy.read(policy_name)
    name = audits.find(store, audit)
    verdict = audits.decide(store, name, rules)
    page = report.write(audits.folder(store, name))
    if as_json:
        click.echo(json.dumps(verdict, indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for gate in verdict["gates"]:
            console.print(f"  {gate['decision']:12s} {gate['text']}: {gate['why']}", markup=False)
        for reason in verdict["reasons"]:
            console.print(f"  {reason}", markup=False)
        console.print(f"verdict: {verdict['verdict']} under policy {rules.name} version {rules.version}", markup=False)
        console.print(f"report: {page}", markup=False)
    click.get_current_context().exit(policy.EXIT_CODES[verdict["verdict"]])
