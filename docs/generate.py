"""Writes the pages generated from the code: `python docs/generate.py`; a test fails if they are stale."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import assay
from assay import cli, shelves, units
from assay.config import parameters
from assay.config import search_space as spec
from assay.shelves import Item

FOLDER = Path(__file__).parent
MADE = "<!-- made by docs/generate.py; do not edit -->\n"
SECTIONS = {
    "evaluation": spec.Evaluation,
    "best": spec.Best,
    "search": spec.Search,
    "stop_early": spec.StopEarly,
    "fidelity": spec.Fidelity,
    "resources": spec.Resources,
    "budget": spec.Budget,
    "budget.price": spec.Price,
    "tracking": spec.Tracking,
    "purpose": spec.Purpose,
}
IN_WORDS = {
    "trainable": "name on shelf trainables, `module:attribute`, or `choice: [...]` of several",
    "fixed": "parameters of the trainable that do not vary",
    "space": "dotted path of a parameter: domain",
    "objectives": "`max` or `min` for each of " + ", ".join(spec.OBJECTIVES) + "; `min` for a cost, as in constraints",
    "maximize": "mean or " + " or ".join(spec.OBJECTIVES),
    "at_least": "a bound for each of " + ", ".join(spec.OBJECTIVES),
    "metric": "all, or one or a list of " + ", ".join(spec.OBJECTIVES),
    "constraints": "the most of each of " + ", ".join(spec.COSTS),
    "sampler": " or ".join(shelves.names("samplers")),
    "enqueue": "list of dotted paths with values",
    "start_from": "list of names of sweeps",
    "ladder": "list of rungs: `until` (epochs), `attack` and its parameters, `train` (share), `image_size`",
    "price": "what an hour costs, see below",
    **dict.fromkeys(SECTIONS, "see below"),
}
"""Descriptions for keys whose type says too little."""

DOMAINS = """## Domains

Any other value under `space:` is a constant.

| domain | draws |
| --- | --- |
| `{uniform: [0, 1]}` | a number, uniformly; `{uniform: [0, 1], step: 0.1}` one of 0, 0.1, ... 1 |
| `{loguniform: [0.1, 10]}` | a number, uniformly in its logarithm |
| `{integer: [1, 5]}`, `{logint: [16, 256]}` | a whole number, both ends included |
| `{choice: [rotation, cutpaste: {area: {uniform: [0.02, 0.15]}}]}` | an option, which may have its own parameters |

Numbers may be written as fractions (`2/255`). Nested parameters are written as dotted paths:
`adversary.epsilon: {uniform: [0, 6/255]}`. `--set search.trials=4` changes any key for one run.
"""

PACKING = """Ray reserves what trials ask for but does not enforce it: a trial that uses more memory than it asked for
takes it from the others. `gpu: 0.25` puts four trials on a GPU; make sure that four fit into its memory. They also
share its time, so each is slower. A trial uses as many CPU threads as `cpu` says, at least one.
"""

LADDERS = """A ladder pays only where its lower rungs rank as the last one does, and slow starters lose by it. On 159
recorded trainings of 27 epochs (ELPV mono, 32 px) the robust AUROC after 1 epoch, under FGSM, has a rank correlation
of 0.62 with the last one, after 3 epochs under PGD-5 of 0.77, after 9 epochs under PGD-20 of 0.94; and the detector
that was best in the end was among the last third of its kind at each of these rungs, so a search with that ladder
never kept it, while TPE without one found it (`benchmarks/search_quality.py`). Look at `assay trials NAME --rungs`
after a first sweep, and let the ladder begin where the correlation is high.
"""

FORECAST = """When a budget is used up, the sweep ends as after Ctrl-C, with exit code 0: every trial keeps its last
saved state, and `--resume` continues. Wall time then starts again from zero. Hours and cost add up over all runs, so a
sweep that has used them up needs a larger budget to continue:

```
assay sweep search_spaces/demo.yaml --budget wall_minutes=60 --budget cost=20 --budget price.cpu_hour=0.04
assay sweep --resume demo --budget cost=40
```

A budget given with a file is stored with the sweep; one given with `--resume` applies to that run. Hours count while a
trial has a worker, even if it fails or is retried. They are logged every half minute, so a killed driver loses half a
minute at most. Nodes that are starting, idle or only run the head also cost money; they belong to no trial and are not
in these figures.

## What it will cost

`assay sweep FILE --dry-run` trains the first trial of every trainable for less than a minute in total, on this machine
or, with `--address`, on the cluster, and does not start the sweep:

```
$ assay sweep search_spaces/demo.yaml --dry-run --budget cost=0.001 --budget price.cpu_hour=0.04
search space demo: 8 trials over 5 parameters
  ...
  2 trials at a time on 2 cores
  cobra: 24 epochs of 0.74 s, 18 s a trial (probe of 24 epochs)
  rungs at epochs 6, 12; about 1 in 2 continues at each
  forecast: 0.6 to 1.2 minutes, 96 to 192 epochs, 0.02 to 0.04 CPU-hours, 0.00079 to 0.0016 USD
  memory: 0.4 GB a trial at its peak; to reserve it, write `memory_gb: 0.5`
  budget: cost 0.001 ends the sweep after about 5 to 8 of 8 trials
```

The low figure assumes that as many trials as possible are stopped at each rung, the high one that none are. An epoch
includes its share of an evaluation, timed on at most 32 images. One trial represents all trials of its trainable, so
the figures are off if searched parameters (a backbone, a number of steps) change the time of an epoch. The probe runs
alone: trials that share a GPU, or the caches and bandwidth of a machine, are slower. With `--resume NAME` the forecast
is for the rest of the sweep, based on the epochs of its own trials; `--json` prints it as JSON.
"""

AFTER = {"fidelity": LADDERS, "resources": PACKING, "budget.price": FORECAST}
"""Text after a section."""


def search_space() -> str:
    """The reference of search-space files: every section, its keys, and what `fixed` and `space` may set."""
    parts = ["# Search-space files", MADE, "`assay validate FILE` reports every fault of a file at once.\n"]
    parts += [_document(spec.Spec), _table(spec.Spec), DOMAINS]
    for name, section in SECTIONS.items():
        parts += [f"## `{name}:`\n", _document(section), _table(section), AFTER.get(name, "")]
    for shelf, singular in (("trainables", "trainable"), ("datasets", "dataset")):
        parts += [f"## Parameters of each {singular}\n"]
        for name in shelves.names(shelf):
            parts += _item(shelf, name)
    return "\n".join(parts)


def attacks() -> str:
    """The catalogue of attacks: what each one sees and needs, its norms and parameters."""
    parts = ["# Attacks", MADE, "`assay show attacks NAME` prints the same for one of them.\n"]
    rows = []
    for name in shelves.names("attacks"):
        item = shelves.load("attacks", name)
        norms = ", ".join(shelves.stated(item, "NORMS", ("linf", "l2")))
        knowledge = str(shelves.stated(item, "KNOWLEDGE", "white-box"))
        needs = str(shelves.stated(item, "NEEDS", "")) or "–"
        rows.append([f"[{name}](#{name})", knowledge, norms, needs, _first(item)])
    parts += [_rows(["attack", "the attacker sees", "norms", "needs", "what it is"], rows)]
    for name in shelves.names("attacks"):
        parts += _item("attacks", name)
    return "\n".join(parts)


def pseudo_anomalies() -> str:
    """The catalogue of pseudo-anomalies, with the expected look of each."""
    parts = ["# Pseudo-anomalies", MADE]
    parts += ["`assay show pseudo_anomalies NAME --image F --output sheet.png` draws eight of them.\n"]
    for name in shelves.names("pseudo_anomalies"):
        parts += _item("pseudo_anomalies", name)
    return "\n".join(parts)


def functions() -> str:
    """The functions of `import assay`, for the site, which reads their docstrings."""
    parts = [
        "# Functions",
        MADE,
        "What `import assay` offers; the site shows each with its signature and an example.\n",
    ]
    public = sorted({*assay.__all__} - {"errors", "__version__"}, key=lambda name: (name.lower(), name))
    parts += [f"::: {(found := getattr(assay, name)).__module__}.{found.__name__}\n" for name in public]
    return "\n".join(parts)


def command_line() -> str:
    """What every verb prints with `--help`."""
    parts = ["# Command line", MADE, *_help(cli.main, None, "assay")]
    return "\n".join(parts)


PAGES = {
    "search-space.md": search_space,
    "attacks.md": attacks,
    "pseudo-anomalies.md": pseudo_anomalies,
    "functions.md": functions,
    "command-line.md": command_line,
}


def _help(command: click.Command, above: click.Context | None, name: str) -> Iterator[str]:
    """The help of a command and of those below it, each under a heading."""
    context = command.make_context(name, [], above, resilient_parsing=True, terminal_width=100, max_content_width=100)
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            if (found := command.get_command(context, below)) is not None:
                yield from _help(found, context, below)


def _item(shelf: str, name: str) -> list[str]:
    item = shelves.load(shelf, name)
    model = shelves.signature(item)
    inner = dict.fromkeys(part for part in _models(model))
    notes = [f"**`{key}`**: {_flat(part)}\n" for key, part in inner]
    return [f"### {name}\n", _document(item), *notes, _table(model)]


def _models(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The parameters that are mappings of their own."""
    for key, field in model.model_fields.items():
        if isinstance(inner := parameters.nested(field), type):
            yield key, inner


def _document(item: Any) -> str:
    """A docstring as Markdown; each line that starts with `name:` becomes a paragraph."""
    text = inspect.getdoc(item) or ""
    return re.sub(r"\n(?=[a-z_]+(?:, [a-z_]+)*: )", "\n\n", _plain(text)) + "\n"


def _flat(item: Any) -> str:
    return " ".join((inspect.getdoc(item) or "").split())


def _first(item: Any) -> str:
    return _cell((inspect.getdoc(item) or "").partition("\n\n")[0].replace("\n", " "))


def _plain(text: str) -> str:
    return text.replace("<", "&lt;")


def _table(model: type[BaseModel]) -> str:
    rows = [[f"`{path}`", _default(field), _cell(_words(path, field))] for path, field in _fields(model)]
    return _rows(["key", "default", "may be"], rows) if rows else "It has no parameters.\n"


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """A section's own keys; of an item also the keys inside its parameters."""
    return iter(model.model_fields.items()) if issubclass(model, spec.Section) else parameters.of(model)


def _words(path: str, field: FieldInfo) -> str:
    return IN_WORDS.get(path) or parameters.words(field)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return "see below"
    found = default.plain() if isinstance(default, Item) else parameters.plain_default(field)
    if parameters.is_epsilon(field) and found:
        return units.in_255(found)
    if isinstance(found, dict) and set(found) == {"name"}:
        return str(found["name"])
    return found if isinstance(found, str) else f"`{json.dumps(found)}`"


def _rows(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def text(page: Callable[[], str]) -> str:
    """A page as its file has it."""
    return re.sub(r"\n{3,}", "\n\n", page())


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(text(page), encoding="utf-8")
        print(f"docs/{name}", file=sys.stderr)


if __name__ == "__main__":
    main()
