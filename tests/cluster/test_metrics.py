"""What Prometheus is told of a sweep and an audit, and that the dashboard asks for exactly that."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.request
from pathlib import Path

import pytest
import ray
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

from assay.cluster import session_folder
from assay.cluster.metrics import EVERY, FIGURES, Board

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana.json"


def test_the_dashboard_asks_for_every_figure_by_its_name_and_labels():
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    names = {name for one in asked for name in re.findall(r"\bray_\w+", one)}
    own = {name.removeprefix("ray_") for name in names if name.startswith("ray_assay_")}
    assert own == set(FIGURES)
    assert {name.removeprefix("ray_") for name in names} - own <= set(METRICS_GAUGES), "the others are Ray's own"
    for one in asked:
        [name] = re.findall(r"\bray_\w+", one)
        if name.removeprefix("ray_") in FIGURES:
            labels = {*re.findall(r"(\w+)=", one), *", ".join(re.findall(r"by \(([^)]*)\)", one)).split(", ")}
            assert labels <= set(FIGURES[name.removeprefix("ray_")][1]), one


def test_it_is_told_every_few_seconds_and_not_at_every_step(monkeypatch):
    clock, said = [0.0], []

    class Said:
        def __init__(self, name, *_):
            self.name = name

        def set(self, value, labels):
            said.append((self.name, value, *labels.values()))

    monkeypatch.setattr("assay.cluster.metrics.Gauge", Said)
    board = Board(lambda: clock[0])
    assert board.due()
    board.audit("an-audit", {"waiting": 3, "done": 1}, 0.5)
    assert said == [
        ("assay_audit_pieces", 3, "an-audit", "waiting"),
        ("assay_audit_pieces", 1, "an-audit", "done"),
        ("assay_gpus_held", 0.5, "an-audit"),
    ]
    assert not board.due()
    clock[0] = EVERY
    assert board.due()


@pytest.fixture
def exported() -> str:
    """The address at which a Ray of this machine shows its figures."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray.init(
        "local", num_cpus=1, include_dashboard=False, _metrics_export_port=port, _temp_dir=session_folder.own_folder()
    )
    yield f"http://127.0.0.1:{port}/metrics"
    ray.shutdown()


def test_ray_shows_them(exported):
    board = Board()
    board.sweep("toy", {"training": 2, "waiting": 5}, 7, 1.0, {"GPU-hours": 0.25, "EUR": 0.5})
    wanted = {
        'ray_assay_trials{sweep="toy",state="training"} 2',
        'ray_assay_trials{sweep="toy",state="waiting"} 5',
        'ray_assay_reports{sweep="toy"} 7',
        'ray_assay_gpus_held{work="toy"} 1',
        'ray_assay_spent{sweep="toy",unit="GPU-hours"} 0.25',
        'ray_assay_spent{sweep="toy",unit="EUR"} 0.5',
    }
    deadline, found = time.monotonic() + 90, set[str]()
    while not wanted <= found:
        assert time.monotonic() < deadline, sorted(found)
        time.sleep(1)
        try:
            with urllib.request.urlopen(exported, timeout=10) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            continue  # its agent still starts
        found = {told(line) for line in lines if line.startswith("ray_assay_")}


def told(line: str) -> str:
    """A line of the exporter without the labels that Ray adds."""
    name, labels, value = re.match(r"(\w+)\{(.*)\} (\S+)", line).groups()
    own = FIGURES[name.removeprefix("ray_")][1]
    pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    kept = ",".join(f'{label}="{pairs[label]}"' for label in own)
    return f"{name}{{{kept}}} {float(value):g}"
