"""`assay sweep` run by the command line in a process of its own, for tests that kill it; and what it should find."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_runs
import yaml

from assay.config import reader, search_space
from assay.data import splits
from assay.store import trial_log
from assay.store.store import Store
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial

ASSAY = str(Path(sys.executable).with_name("assay"))
PATIENCE = 120  # seconds; what takes 10 on an idle machine may take long on a busy one
MARKS = itertools.count()


class Sweep:
    """A folder to run `assay sweep` in, and what came of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Store(folder / "store")
        self.mark = f"ASSAY_TEST={os.getpid()}-{next(MARKS)}"
        self.marks = folder / "marks"
        self.marks.mkdir()

    def write(self, **changes) -> search_space.Spec:
        """toy.yaml with changes; one trial at a time, marks on, a little slow."""
        fixed = {"epochs": 4, "pause": 0.1, "marks": str(self.marks), **changes.pop("fixed", {})}
        raw = toy_runs.search_space(self.folder, fixed=fixed, **{"resources": {"concurrent": 1}, **changes})
        (self.folder / "toy.yaml").write_text(yaml.safe_dump(raw))
        return reader.read(self.folder / "toy.yaml")

    def start(self, *arguments: str, code: str = "", path: bool = True) -> subprocess.Popen:
        """`assay sweep ...`, or that code with the same arguments, as the leader of a process group."""
        name, value = self.mark.split("=")
        environment = {**os.environ, name: value, "WANDB_MODE": "disabled"}
        environment.pop("RAY_ADDRESS", None)
        if path:
            environment["PYTHONPATH"] = str(Path(toy_runs.__file__).parent)
        command = [sys.executable, "-c", code] if code else [ASSAY]
        return subprocess.Popen(
            [*command, "sweep", *arguments, "--store", str(self.store.root)],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **options) -> tuple[int, str]:
        """Exit code and output, once it has ended and left nothing running."""
        return self.end(self.start(*arguments, **options))

    def end(self, process: subprocess.Popen) -> tuple[int, str]:
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        wait_for(lambda: not self.running(), "the processes of the sweep to be gone")
        assert "Traceback" not in output
        return process.returncode, output

    def running(self) -> list[str]:
        """Command lines of processes that descend from what was started here."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # ended, or a zombie
        return found

    def events(self) -> list[dict]:
        return trial_log.read(self.store, "toy")

    def reports(self) -> int:
        return sum(event["event"] == "report" for event in self.events())

    def outcome(self) -> list:
        return outcome(trial_log.records(self.events()))


def wait_for(condition, what: str) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"waited {PATIENCE} s for {what}")
        time.sleep(0.05)


def figures(report: dict) -> list:
    """What of a report may not depend on when and where it was made."""
    return [report[key] for key in ("epoch", "values", "kept", "losses", "seed")]


def outcome(records) -> list:
    """What a sweep learnt: configurations and figures."""
    return [
        (r.number, r.parameters, r.state, r.failure, [figures(report) for report in r.reports])
        for r in sorted(records.values(), key=lambda r: r.number)
    ]


def without_ray(found: search_space.Spec, store: Store) -> Study:
    """The sweep, or what is left of it in the store, in this process."""
    training, study = splits.training_data(found.dataset.function(**found.dataset.arguments())), Study(found, store)
    while order := study.next_order():
        running = Trial(order, training, store)
        while not study.report(order.number, running.step()):
            pass
    study.log.close()
    return study
