"""The page of `assay ui`: what it shows of a store, to whom, and what it does where files are missing or damaged."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import pytest
import toy_log
from starlette.testclient import TestClient
from toy_log import asked, ended, reported
from wandb_server import KEY

from assay.reports.live import server
from assay.store.store import Store

TOKEN = "the-token"
STORES = Path(__file__).parents[1] / "stores"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def client(store: Store, address: str = "http://127.0.0.1") -> TestClient:
    return TestClient(server.application(store, TOKEN, after=0.0), address)


def text(answer) -> str:
    """The page without its tags, entities as they are."""
    assert answer.status_code == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def sweep(store: Store, ended_trials: int = 3, name: str = "toy", **changes) -> None:
    """So many complete trials and one that trains, of a sweep of fifty."""
    events = []
    for number in range(ended_trials):
        last = {**reported(number, number % 5 + 1), "epochs": 5, "intervals": {"clean_auroc": [0.4, 0.9]}}
        events += [asked(number), {"event": "begin", "trial": number}, last, ended(number)]
    running = {**reported(ended_trials, 2), "epochs": 5, "node": "gpu-7"}
    events += [asked(ended_trials), {"event": "begin", "trial": ended_trials}, running]
    toy_log.write(store, *events, name=name, **{"search": {"trials": 50}, **changes})


# Who is shown anything


def test_without_its_token_nothing_is_shown(store):
    sweep(store)
    page = client(store)
    for address in ("/", "/sweeps/toy", "/the-toke/", "/the-token2/", "/THE-TOKEN/", "/wr%FFong/", "//", "/style.css"):
        answer = page.get(address)
        assert answer.status_code == 403, address
        assert "lacks the token" in answer.text
        assert "toy" not in answer.text


def test_another_host_is_refused(store):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", ""):
        answer = client(store).get(f"/{TOKEN}/", headers={"Host": host})
        assert answer.status_code == 400, host
    for host in ("127.0.0.1:8420", "localhost:8420"):  # as through an ssh tunnel
        assert client(store).get(f"/{TOKEN}/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "nothing", "sweeps/gone", "sweeps/", "sweeps/%2e%2e", "sweeps/..%2ftoy", "sweeps/toy/log",
        "sweeps/toy?page=0", "sweeps/toy?page=-1", "sweeps/toy?page=x", "sweeps/toy?page=9999999999", "audits/gone",
        "audits/gone/report.html", "audits/..%2fsweeps/report.html", "studies/gone/study.html", "sweeps/.toy.lock",
        "sweeps/%00", "models/abc",
    ],
)  # fmt: skip
def test_a_made_up_path_is_not_found(store, path):
    sweep(store)
    assert client(store).get(f"/{TOKEN}/{path}").status_code == 404


def test_nothing_can_be_sent_and_every_answer_has_strict_headers(store):
    sweep(store)
    page = client(store)
    for method in ("post", "put", "delete", "patch"):
        assert getattr(page, method)(f"/{TOKEN}/sweeps/toy").status_code == 405
    for address in (f"/{TOKEN}/", f"/{TOKEN}/sweeps/toy", "/", f"/{TOKEN}/gone", f"/{TOKEN}/live.js"):
        headers = page.get(address).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
        assert "unsafe-eval" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


# What is shown


def test_the_first_page_lists_sweeps_audits_and_the_register(tmp_path):
    old = sorted(STORES.iterdir())[0]
    store = Store(shutil.copytree(old / "store", tmp_path / "store"))
    sweep(store)
    shown = text(client(store).get(f"/{TOKEN}/"))
    assert re.search(r"toy running 3 of 50 \d s ago clean_auroc 0.800, robust_auroc 0.200", shown)
    assert shown.index("toy running") < shown.index("small ended 3 of 3")
    [name] = store.names("audits")
    assert f"{name} PASS small:1" in shown
    assert re.search(r"small:1 \w{12} approved line-1 \S+ Jane Doe PASS", shown)


def test_an_empty_store_says_how_to_begin(store):
    shown = text(client(store).get(f"/{TOKEN}/"))
    assert "There is no sweep yet: assay sweep FILE makes one" in shown
    assert "no audit yet" in shown


def test_the_page_of_a_running_sweep(store):
    sweep(store, 24, resources={"cpu": 2}, budget={"cpu_hours": 7})
    answer = client(store).get(f"/{TOKEN}/sweeps/toy")
    shown = text(answer)
    assert "running: 24 complete, 1 running, of 50 trials. Last event" in shown
    assert "CPU-hours 0.00 0.014 7 yes" in shown
    assert re.search(r"Training now .* 24 since \d\d-\d\d \d\d:\d\d on gpu-7 2 of 5 0.700 0.200", shown)
    assert re.search(
        r"Pareto front .* complete 5/5 1.000 \[0.400, 0.900\] 0.200 gone:Forever, a.b=4.5, kind=perlin", shown
    )
    assert answer.text.count("<svg") == 2
    assert "What mattered Being computed" in shown or "PED-ANOVA" in shown


def test_importance_comes_when_it_is_there(store):
    sweep(store, 24)
    page, until = client(store), time.monotonic() + 60
    while "Being computed" in (answer := page.get(f"/{TOKEN}/sweeps/toy")).text and time.monotonic() < until:
        time.sleep(0.2)
    assert "best quarter of 24 complete trials differ from all (PED-ANOVA)" in text(answer)
    assert answer.text.count("<svg") == 4
    advised = text(answer).partition("What to try next")[2].partition("All trials")[0]
    assert (
        "mattered for clean_auroc: 1.00 [1.00, 1.00] of the importance of all" in advised
        or "nothing is known" in advised
    )


def test_few_trials_say_nothing_about_importance(store):
    sweep(store, 3)
    shown = text(client(store).get(f"/{TOKEN}/sweeps/toy"))
    assert "20 complete trials are needed to tell; there are 3" in shown


def test_many_trials_are_shown_in_pages_and_drawn_in_part(store):
    sweep(store, 400, search={"trials": 400})
    page = client(store)
    first, last = text(page.get(f"/{TOKEN}/sweeps/toy")), text(page.get(f"/{TOKEN}/sweeps/toy?page=5"))
    assert "page 1 of 5, the newest first, older" in first
    assert "newer , page 5 of 5" in last
    assert re.search(r"Drawn: \d+ of 400 complete trials", first)
    trials = first.partition("All trials")[2]
    assert "gone:Forever, a.b=400, kind" in trials
    assert "gone:Forever, a.b=0.5, kind" in last.partition("All trials")[2]


def test_a_sweep_whose_driver_is_gone_says_how_to_go_on(store):
    sweep(store)
    path = store.path("sweeps/toy/log/0000.jsonl")
    path.write_text(re.sub(r'"at": [\d.]+', '"at": 1000', path.read_text()))
    shown = text(client(store).get(f"/{TOKEN}/sweeps/toy"))
    assert "stopped: 3 complete" in shown
    assert "assay sweep --resume toy" in shown
    assert "No trial is training now" in shown


def test_seeds_of_training_are_shown(store):
    told = {"trained": 2, "trials": [0, 1], "failed": [], "split": "validation"}
    told |= {"mean": {"clean_auroc": 0.85}, "worst": {"clean_auroc": 0.8}, "sd": {"clean_auroc": 0.07}}
    again = {**asked(1), "repeats": 0}
    seeds = {"event": "seeds", "trial": 0, "model": "n" * 24, "seeds": told}
    events = [asked(0), reported(0, 1), ended(0), again, reported(1, 1), ended(1), seeds]
    toy_log.write(store, *events, search={"trials": 1}, seeds=2)
    shown = text(client(store).get(f"/{TOKEN}/sweeps/toy"))
    assert "ended: 2 complete, of 2 trials" in shown
    assert "trial 0 was trained with 2 seeds (trials 0, 1): clean_auroc 0.850 ± 0.070, worst 0.800." in shown
    assert "trial 0 with another seed" in shown


def test_rungs_of_a_ladder_are_shown_with_whom_they_misled(store):
    ladder = {"fidelity": {"ladder": [{"until": 1, "attack": "fgsm"}]}}
    low = {**reported(0, 1), "kept": {"epoch": 1}, "rung": "fgsm", "checked": {"robust_auroc": 0.05}}
    events = [asked(0), low, ended(0, "pruned"), asked(1), {**low, "trial": 1, "checked": {}}]
    toy_log.write(store, *events, search={"trials": 9}, **ladder)
    shown = text(client(store).get(f"/{TOKEN}/sweeps/toy"))
    assert "rung fgsm: 2 trials, 1 stopped, 1 checked by the full attack" in shown
    assert "trial 0 falls from 0.200 to 0.050: the cheap attack misled" in shown
    toy_log.write(store, asked(0), name="young", search={"trials": 9}, **ladder)
    assert "No trial has passed a rung yet" in text(client(store).get(f"/{TOKEN}/sweeps/young"))
    toy_log.write(store, asked(0), name="plain", search={"trials": 9})
    assert "Rungs of the ladder" not in text(client(store).get(f"/{TOKEN}/sweeps/plain"))


def test_names_from_a_store_are_text(store, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    evil = "<script>alert(1)</script>\u202e"
    event = asked(0)
    event["parameters"] = {evil: evil}
    toy_log.write(store, event, {**reported(0, 1), "node": evil}, ended(0, "failed", evil), search={"trials": 1})
    answer = client(store).get(f"/{TOKEN}/sweeps/toy")
    assert "<script>alert" not in answer.text
    assert "\u202e" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text
    assert KEY not in answer.text  # an error message of a worker may hold what its environment held


def test_an_audit_that_runs_shows_its_progress(store):
    progress = {"done": 12, "total": 40, "work": "pgd linf", "at": time.time()}
    store.write("audits/abc-quick-1/.progress.json", json.dumps(progress).encode())
    page = client(store)
    assert "abc-quick-1 running: 12 of 40 done, last pgd linf, 0 s ago" in text(page.get(f"/{TOKEN}/"))
    store.write("audits/abc-quick-1/.progress.json", json.dumps({**progress, "at": 0}).encode())
    assert "stopped: 12 of 40 done" in text(page.get(f"/{TOKEN}/audits/abc-quick-1"))
    store.write("audits/abc-quick-1/.progress.json", b'{"done": 1')
    assert "abc-quick-1 unfinished" in text(page.get(f"/{TOKEN}/"))


def test_a_report_of_the_store_is_served_and_may_do_nothing(tmp_path):
    old = sorted(STORES.iterdir())[0]
    store = Store(shutil.copytree(old / "store", tmp_path / "store"))
    [name] = store.names("audits")
    page = client(store)
    assert f'href="/{TOKEN}/audits/{name}/report.html"' in page.get(f"/{TOKEN}/audits/{name}").text
    report = page.get(f"/{TOKEN}/audits/{name}/report.html")
    assert report.content == store.read(f"audits/{name}/report.html")
    assert report.headers["content-security-policy"].endswith("sandbox")
    store.remove(f"audits/{name}/report.html")
    assert page.get(f"/{TOKEN}/audits/{name}/report.html").status_code == 404
    assert f"assay report {name}" in text(page.get(f"/{TOKEN}/audits/{name}"))


def test_a_study_leads_to_its_page(store):
    store.write("studies/few/study.html", b"<p>all cells</p>")
    store.write("studies/none/study.parquet", b"")
    page = client(store)
    assert "none: no page yet" in text(page.get(f"/{TOKEN}/"))
    assert page.get(f"/{TOKEN}/studies/few/study.html").text == "<p>all cells</p>"


# A store that changes, and damaged files


def test_the_page_follows_the_store(store):
    page = client(store)
    assert "no sweep yet" in text(page.get(f"/{TOKEN}/"))
    sweep(store, 1)
    assert "toy running 1 of 50" in text(page.get(f"/{TOKEN}/"))
    toy_log.write(store, {**reported(1, 5), "epochs": 5}, ended(1))
    assert "2 complete" in text(page.get(f"/{TOKEN}/sweeps/toy"))
    spec = store.path("sweeps/toy/spec.yaml")
    spec.write_text(spec.read_text().replace("trials: 50", "trials: 2"))
    assert "ended: 2 complete" in text(page.get(f"/{TOKEN}/sweeps/toy"))
    shutil.rmtree(store.path("sweeps/toy"))
    assert page.get(f"/{TOKEN}/sweeps/toy").status_code == 404
    assert "no sweep yet" in text(page.get(f"/{TOKEN}/"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("name: toy\nobjec", "not readable as YAML"),
        ("[]", "spec.yaml"),
        ("name: toy", "it has no objectives"),
        ("objectives: {clean_auroc: max}\nsearch: {trials: many}", "damaged"),
        ("objectives: {clean_auroc: max}\nbudget: {cost: x}", "damaged"),
    ],
)
def test_a_damaged_sweep_is_told_beside_the_others(store, spec, words):
    sweep(store, name="sound")
    sweep(store)
    store.path("sweeps/toy/spec.yaml").write_text(spec)
    page = client(store)
    for address in (f"/{TOKEN}/", f"/{TOKEN}/sweeps/toy"):
        assert words in text(page.get(address))
    assert "sound running 3 of 50" in text(page.get(f"/{TOKEN}/"))
    assert "3 complete" in text(page.get(f"/{TOKEN}/sweeps/sound"))


def test_a_damaged_line_of_a_log_is_told_on_the_page(store):
    sweep(store)
    path = store.path("sweeps/toy/log/0000.jsonl")
    path.write_bytes(path.read_bytes() + b"broken\n")
    shown = text(client(store).get(f"/{TOKEN}/sweeps/toy"))
    assert "3 complete" in shown
    assert "0000.jsonl line 17 is damaged and left out" in shown


def test_figures_of_a_kind_that_no_sweep_writes_are_told(store):
    sweep(store)
    path = store.path("sweeps/toy/log/0000.jsonl")
    path.write_text(path.read_text().replace('"clean_auroc": 0.6', '"clean_auroc": "high"'))
    page = client(store)
    assert "damaged in a way that no sweep writes" in text(page.get(f"/{TOKEN}/sweeps/toy"))
    assert page.get(f"/{TOKEN}/").status_code == 200


HOSTILE = [None, True, -1, 1e400, float("nan"), "text", "\x00", [], {}, [[1]], {"name": {}}, 10**400, "9" * 5000]


@pytest.mark.parametrize("event", [2, 3, 4, 5, -1])
def test_whatever_a_log_holds_every_page_is_there(store, event):
    """Every value of an event in turn is of a kind that no sweep writes."""
    sweep(store, 4)
    page = client(store)
    path = store.path("sweeps/toy/log/0000.jsonl")
    lines = path.read_text().splitlines()
    chosen = json.loads(lines[event])
    for number, name in enumerate(chosen):
        for place, value in enumerate(HOSTILE):
            if (number + place) % 3:  # a third of the pairs; every value and every name has its turn
                continue
            path.write_text("\n".join([*lines[:event], json.dumps({**chosen, name: value}), *lines[event:], ""]))
            for address in (f"/{TOKEN}/", f"/{TOKEN}/sweeps/toy"):
                assert page.get(address).status_code == 200, (name, value)


def test_a_damaged_audit_is_told_beside_the_others(tmp_path):
    old = sorted(STORES.iterdir())[0]
    store = Store(shutil.copytree(old / "store", tmp_path / "store"))
    for name, content in {"broken": b"audit: [", "empty": b"", "other": b"audit: 3"}.items():
        store.write(f"audits/{name}/audit.yaml", content)
    page = client(store)
    shown = text(page.get(f"/{TOKEN}/"))
    assert "PASS small:1" in shown
    for name in ("broken", "empty", "other"):
        assert name in shown
        assert "audit.yaml" in text(page.get(f"/{TOKEN}/audits/{name}"))


def test_a_store_in_object_storage_is_shown(s3):
    store = Store(f"s3://{s3.bucket()}/prefix")
    sweep(store)
    assert "toy running 3 of 50" in text(client(store).get(f"/{TOKEN}/"))
    assert "3 complete" in text(client(store).get(f"/{TOKEN}/sweeps/toy"))
