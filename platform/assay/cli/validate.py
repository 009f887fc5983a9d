"""`assay validate`: check files before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

import click


def _search_space(path: str) -> str:
    from assay.config import reader
    from assay.config.search import slow_stem

    read = reader.read(path)
    return "; note: ".join([read.summary(), *slow_stem.notes(read)])


def _policy(path: str) -> str:
    from assay.approval import out_of_reach, policy, undecidable

    read = policy.read(Path(path))
    summary = f"policy {read.name}: {len(read.gates)} gate{'s' * (len(read.gates) != 1)}"
    least = out_of_reach.Samples(*(count for _, count in read.minimum_samples))
    return "; note: ".join([summary, *undecidable.without_suite(read), *out_of_reach.out_of_reach(read, least)])


def _suite(path: str) -> str:
    from assay.audits import suite

    read = suite.read(str(Path(path).absolute()))
    return f"suite {read.name}: {len(read.attacks)} attack{'s' * (len(read.attacks) != 1)}"


def _card(path: str) -> str:
    from assay.models.card import Card

    return Card.read(path).summary


def _study(path: str) -> str:
    from assay.studies import study_file

    read = study_file.read(path)
    several = f"{len(read.detectors)} detectors x {len(read.datasets)} datasets x {len(read.seeds)} seeds"
    return f"study {read.name}: {several}, {len(read.cells)} cells"


SUMMARIES: Mapping[str, Callable[[str], str]] = {
    "policy": _policy,
    "suite": _suite,
    "study": _study,
    "search space": _search_space,
    "card": _card,
}
"""A kind of file -> what reads such a file and says in a line what it holds."""


class Result(TypedDict):
    """What `--json` prints of a file. kind: None if it is unknown; message: all faults as text, of a file with any."""

    file: str
    ok: bool
    kind: str | None
    summary: NotRequired[str]
    message: NotRequired[str]
    faults: list[dict[str, str]]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(files: tuple[str, ...], as_json: bool) -> None:
    """Check search spaces, studies, policies, suites and cards, every fault of every file at once.

    \b
      assay validate search_spaces/*.yaml
    """
    from assay.config import shipped_search_spaces

    results = [_result(str(shipped_search_spaces.located(file))) for file in files]
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        for result in results:
            click.echo(f"{result['file']}: ok ({result['summary']})" if result["ok"] else result["message"])
    if not all(result["ok"] for result in results):
        click.get_current_context().exit(2)


def _result(file: str) -> Result:
    from dataclasses import asdict

    from assay.cluster import user_code
    from assay.config import kinds, yaml_file
    from assay.errors import InputError, SpecError, suggest

    kind = None
    try:
        raw = yaml_file.load(file)
        kind = kinds.kind_of(raw)
        if kind is None:
            near = next((hint for word in raw if (hint := suggest(word, kinds.KINDS))), "")
            raise InputError(
                f"{file}: no kind of file that is known{near}; a search space has `space`, a study `detectors`, "
                "a policy `gates`, a suite `attacks`, a card `detector`"
            )
        user_code.beside(file)
        return {"file": file, "ok": True, "kind": kind, "summary": SUMMARIES[kind](file), "faults": []}
    except SpecError as error:
        faults = [asdict(fault) for fault in error.faults]
        return {"file": file, "ok": False, "kind": kind, "message": str(error), "faults": faults}
    except InputError as error:
        return {"file": file, "ok": False, "kind": kind, "message": str(error), "faults": []}
