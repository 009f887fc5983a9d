"""Which trial a free worker takes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from assay.sweeps.tune_adapters import NewestPendingFirst


def chosen(*statuses: str) -> int | None:
    trials = [SimpleNamespace(status=status, number=number) for number, status in enumerate(statuses)]
    found = NewestPendingFirst().choose_trial_to_run(SimpleNamespace(get_trials=lambda: trials))
    return None if found is None else found.number


@pytest.mark.parametrize(
    ("statuses", "number"),
    [
        (("TERMINATED", "PENDING", "RUNNING", "PENDING"), 3),  # 1 waits for a worker that is still starting
        (("TERMINATED", "PENDING", "RUNNING"), 1),  # a trial that is tried again after its worker died
        (("RUNNING", "ERROR", "TERMINATED"), None),
        ((), None),
    ],
)
def test_a_free_worker_takes_the_newest_trial_that_waits(statuses: tuple[str, ...], number: int | None) -> None:
    assert chosen(*statuses) == number
