"""How often one of two people who act on a store at the same moment loses what he did, or is told something untrue.

    .venv/bin/python benchmarks/two_at_once.py                 about 4 minutes on 2 free cores
    .venv/bin/python benchmarks/two_at_once.py --pairs 5       one of each kind

Target: lost=0 tried=100. 50 pairs each on a local store and on S3 (moto, on loopback), by two threads that begin
together: two approve one audit, two promote different models to one name, one promotes while another one rejects, two
start or resume one sweep, two publish one sweep. A pair has lost nothing when each of the two has done his part or was
refused in words; the register, the log and the notes of what was published hold exactly what was done; the audit's
folder is of one decision and its signature valid; nobody promoted after a rejection, and who promoted second was told
whom he superseded. The lease's waits are a tenth of a user's, and reports are not drawn.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

TESTS = Path(__file__).resolve().parent.parent / "tests" / "support"
sys.path.insert(0, str(TESTS))

import s3_server  # noqa: E402 - they lie in tests
import toy_audit  # noqa: E402
import toy_log  # noqa: E402
from signed_store import add_sibling, write_keys  # noqa: E402

from assay.api import approve as approving  # noqa: E402
from assay.api import promote as promoting  # noqa: E402
from assay.approval import records, verification  # noqa: E402
from assay.approval.signature import public_key  # noqa: E402
from assay.approval.trust.memory import Memory  # noqa: E402
from assay.audits import audit, suite  # noqa: E402
from assay.errors import AssayError  # noqa: E402
from assay.reports import page  # noqa: E402
from assay.store import references, trial_log  # noqa: E402
from assay.store.audit_reader import Audit  # noqa: E402
from assay.store.locks import lease  # noqa: E402
from assay.store.store import Store  # noqa: E402
from assay.tracking.sent import Published  # noqa: E402

LIMIT = 120  # seconds for a pair
GATE = {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.6, "why": "because"}
HARD = {"name": "falls", "metric": "auroc", "epsilon": "8/255", "at_least": 0.9, "why": "because"}
PROJECT = SimpleNamespace(server="https://wandb.example.org", path="team/project")


class LostError(Exception):
    """What one of two has lost."""


class Place:
    """A store with two approved models, as each of two people opens it. keys: private and public."""

    def __init__(self, root: str, keys: tuple[Path, Path]) -> None:
        self.root, self.keys, self.count = root, keys, itertools.count()
        self.audits = Store(root).names("audits")
        self.models = [str(Audit(Store(root).below(f"audits/{name}")).info["model"]) for name in self.audits]

    @property
    def store(self) -> Store:
        """The store, opened anew."""
        return Store(self.root)

    def approve(self, reviewer: str, name: str, gate: dict[str, Any] = GATE) -> Any:
        """Decide on an audit and sign it."""
        samples = {"normals": 5, "anomalies": 5}
        policy = {"name": "mine", "version": 1, "why": "x", "minimum_samples": samples, "gates": [gate]}
        about = {"reviewer": reviewer, "author": "Max Roe", "because": "measured again"}
        return approving.approve(name, policy, key=self.keys[0], store=self.store, **about)  # type: ignore[arg-type]

    def promote(self, model: str, service: str) -> Any:
        """Put a model into service."""
        return promoting.promote(model, service=service, key=self.keys[1], store=self.store)

    def require_sound(self) -> None:
        """Raise LostError where an audit's folder is not of the last decision on it, or its signature not valid."""
        memory, key = Memory.of(self.store), public_key(self.keys[1])
        if gaps := records.gaps(self.store, key):
            raise LostError(f"the register has gaps: {gaps}")
        for name in self.audits:
            folder = references.folder(self.store, name)
            if objection := memory.objection(Audit(folder)):
                raise LostError(f"audit {name}: {objection}")
            if wrong := [one for one in verification.of_audit(folder, [key], name) if not one.good]:
                raise LostError(f"audit {name}: {verification.lines(wrong[0])}")


def together(*acts: Callable[[], Any]) -> list[Any]:
    """Begin them at the same moment; what each of them returned, None where it was refused in words."""
    start, found = threading.Barrier(len(acts)), dict[int, Any]()

    def one(number: int) -> None:
        start.wait()
        try:
            found[number] = acts[number]() or True
        except AssayError as error:
            found[number] = None
            print(f"  refused: {str(error)[:150]}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the other thread is to end, and it is told below
            found[number] = error

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    for number in range(len(acts)):
        if number not in found or isinstance(found[number], Exception):
            raise LostError(f"no words: {found.get(number, 'it has not ended')!r}")
    if not any(found.values()):
        raise LostError("each was refused because of the other")
    return [found[number] for number in range(len(acts))]


def two_approve(place: Place) -> None:
    """Two people decide on one audit."""
    before = len(records.decisions(place.store))
    done = together(*(lambda who=who: place.approve(who, place.audits[0]) for who in ("Ann Lee", "Bob Ray")))
    _require(len(records.decisions(place.store)) - before, sum(map(bool, done)), "decisions")
    place.require_sound()


def two_promote(place: Place) -> None:
    """Two models are promoted to one name that nothing serves under yet."""
    service, before = f"line-{next(place.count)}", len(records.promotions(place.store))
    done = together(*(lambda model=model: place.promote(model, service) for model in place.models))
    _require(len(records.promotions(place.store)) - before, sum(map(bool, done)), "promotions")
    if all(done) and not any(one.former for one in done):
        raise LostError("each was told that it superseded nothing")


def promoted_and_rejected(place: Place) -> None:
    """One promotes a model while another one decides FAIL on it."""
    service = f"line-{next(place.count)}"
    promoted, rejected = together(
        lambda: place.promote(place.models[0], service), lambda: place.approve("Bob Ray", place.audits[0], HARD)
    )
    last = [one for one in records.promotions(place.store) if one.name == service]
    _require(len(last), int(bool(promoted)), "promotions")
    decision = records.decisions(place.store)[-1]
    _require(int(decision.verdict == "FAIL"), int(bool(rejected)), "decisions")
    names = [name for name in place.store.names(records.FOLDER) if name >= decision.entry]
    if promoted and rejected and any(records_of in name for name in names for records_of in ("-promoted-",)):
        raise LostError("it was promoted after it was rejected")
    place.require_sound()
    place.approve("Ann Lee", place.audits[0])


def two_start(place: Place) -> None:
    """Two drivers start one sweep, each of them a trial that the log does not have yet."""
    name = f"sweep-{next(place.count)}"

    def start() -> bool:
        store = place.store
        with store.locked(f"sweeps/.{name}.lock", f"sweep '{name}'"):
            asked = len(trial_log.records(trial_log.read(store, name)))
            time.sleep(0.2)
            toy_log.write(store, toy_log.asked(asked), toy_log.reported(asked, 1), name=name)
        return True

    done = together(start, start)
    try:
        found = trial_log.records(trial_log.read(place.store, name))
    except AssayError as error:
        raise LostError(str(error)) from error
    _require(len(found), sum(map(bool, done)), "trials")


def two_publish(place: Place) -> None:
    """Two processes note what they have sent of one sweep."""
    key = f"sweeps/published-{next(place.count)}"

    def publish(run: str) -> bool:
        published = Published(place.store, key, PROJECT)  # type: ignore[arg-type]
        with published.locked():
            published.note({run: "x"})
        return True

    done = together(lambda: publish("a"), lambda: publish("b"))
    _require(len(Published(place.store, key, PROJECT).sent), sum(map(bool, done)), "runs")  # type: ignore[arg-type]


PAIRS = (two_approve, two_promote, promoted_and_rejected, two_start, two_publish)


def _require(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise LostError(f"{expected} {what} were made, and {found} are there")


@contextlib.contextmanager
def places(scratch: Path) -> Iterator[Iterator[Place]]:
    """The local store, then one on S3 with the same content."""
    os.environ |= {"ASSAY_CACHE": str(scratch / "cache"), "ASSAY_KEYS": ""}
    local, keys = Store(scratch / "store"), write_keys(scratch, "signer")
    model = toy_audit.write_model(local, toy_audit.pictures(scratch / "images"))
    audit.run(local, model, suite.read(toy_audit.write_suite(scratch / "tiny.yaml")))
    add_sibling(local)
    place = Place(local.root, keys)
    for name in place.audits:
        place.approve("Ann Lee", name)

    with s3_server.running() as server, mock.patch.dict(os.environ, server.environment()):
        remote = Store(f"s3://{server.bucket()}/prefix")
        for key in local.walk():
            remote.write(key, local.read(key))
        yield iter((place, Place(remote.root, keys)))


def main() -> None:
    """Act, look, count, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=50)
    count = parser.parse_args().pairs
    for name in ("RENEW", "LAPSE", "LOOK"):
        setattr(lease, name, getattr(lease, name) / 10)
    lost, tried = 0, 0
    drawn = mock.patch.object(page, "write", lambda folder, output=None: folder.place("report.html"))
    with tempfile.TemporaryDirectory() as scratch, drawn, places(Path(scratch)) as both:
        for place in both:
            outcomes, began = Counter[str](), time.monotonic()
            for number in range(count):
                pair = PAIRS[number % len(PAIRS)]
                tried += 1
                try:
                    pair(place)
                except LostError as error:
                    lost += 1
                    outcomes[pair.__name__] += 1
                    print(f"{pair.__name__}: {error}", flush=True)
            print(f"{place.root}: lost {dict(outcomes)}, {time.monotonic() - began:.0f} s", flush=True)
    print(f"RESULT lost={lost} tried={tried}")


if __name__ == "__main__":
    main()
