"""`assay cluster`: cluster files for `ray up`, and the account that each is for."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group()
def command() -> None:
    """Fill in a cluster file for `ray up`, and see before it what would fail.

    \b
      assay cluster fill cluster.yaml --stack assay-jane --output mine.yaml
      assay cluster check mine.yaml
    """


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--stack", "stacks", required=True, multiple=True, help="That of docs/aws-account.yaml; more may be given."
)
@click.option("--region", help="Of the stack; default: that of your AWS settings.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The file to write; it must be new.")
def fill(file: Path, stacks: tuple[str, ...], region: str | None, output: Path) -> None:
    """Write a cluster file with the names and ids of what the stack made.

    \b
      assay cluster fill cluster.yaml --stack assay-jane --region us-west-2 --output mine.yaml
    """
    from assay.api.cluster import fill as filled
    from assay.errors import InputError

    text = filled(file, *stacks, region=region)
    try:
        with output.open("x", encoding="utf-8") as written:
            written.write(text)
    except FileExistsError as error:
        raise InputError(f"{output} is there already; give another --output, or remove it") from error
    click.echo(f"{output}: filled in from {', '.join(stacks)}; next: assay cluster check {output}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--store", help="The store of your sweeps, s3://BUCKET/PREFIX, to look at its bucket, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(file: Path, store: str | None, as_json: bool) -> None:
    """Say what `ray up FILE` would run into in this AWS account; nothing is changed. Exit 1 if there is a fault.

    Of a file for KubeRay it looks at the version of Ray, the token and what is to be filled in, without the cluster.

    \b
      assay cluster check mine.yaml --store s3://my-assay-store/assay
    """
    from dataclasses import asdict

    from assay.cloud import cluster_file, kuberay_file
    from assay.cloud.account_check import look

    text = cluster_file.text_of(file)
    found = kuberay_file.look(text) if kuberay_file.is_one(text) else look(file, store)
    faults = sum(one.state == "fault" for one in found)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            click.echo(f"{one.state:8}{one.about:10}{one.said}")
            if one.mend and one.state != "ok":
                click.echo(f"{'':18}-> {one.mend}")
        click.echo(f"{faults} fault{'s' * (faults != 1)}" if faults else "no fault was found")
    if faults:
        click.get_current_context().exit(1)
