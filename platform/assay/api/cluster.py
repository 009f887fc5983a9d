"""`assay cluster`: fill in a cluster file from what an account's stack made, and look at what would fail."""

from __future__ import annotations

from pathlib import Path

from assay.cloud import account_stack, cluster_file
from assay.errors import InputError


def fill(file: str | Path, *stacks: str, region: str | None = None) -> str:
    """The text of a cluster file with what the stacks made in place of `fill-in-NAME`.

    region: of the stacks, default that of the environment. Raises InputError for a file that can't be read, for no such
    stack, and for a name that no stack has an output for.
    """
    text = cluster_file.text_of(file)
    wanted = cluster_file.blanks(text)
    if not wanted:
        raise InputError(f"{file} has nothing to fill in; start from cluster.yaml")
    made = {name: value for stack in stacks for name, value in account_stack.outputs(stack, region).items()}
    if missing := [name for name in wanted if name not in made]:
        raise InputError(
            f"{file} wants {', '.join(missing)}, and {', '.join(stacks)} has {', '.join(sorted(made)) or 'nothing'}; "
            "deploy docs/aws-account.yaml of this version again, and for a company's network docs/aws-company.yaml"
        )
    return cluster_file.filled(text, made)
