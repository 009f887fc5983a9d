"""A leaderboard: signed audits alone, checked again each time, in one table where they can be compared."""

from __future__ import annotations

import math
import re
import shutil

import pyarrow.parquet as pq
import pytest
import yaml
from signed_store import add_sibling, write_keys

import assay
from assay.errors import DataError, InputError

GATE = {"name": "ranks", "metric": "auroc", "attack": "clean", "at_least": 0.1, "why": "to show a gate"}
POLICY = {"name": "lenient", "version": 1, "why": "to show a verdict", "gates": [GATE]}
POLICY |= {"minimum_samples": {"normals": 5, "anomalies": 5}, "required_checks": ["deterministic"], "approves": False}


@pytest.fixture
def audits(store, keys):
    """Two audits of the store, approved and signed."""
    add_sibling(store)
    names = store.names("audits")
    for name in names:
        assay.approve(name, POLICY, key=keys[0], reviewer="Jane Doe", author="Max Roe", store=store)
    return names


def test_audits_stand_in_one_table_the_most_robust_first(run, audits, keys, tmp_path):
    board = tmp_path / "board"
    assert "1 audit: " in run("leaderboard", board, audits[0], "--key", keys[1])
    assert "2 audits: " in run("leaderboard", board, audits[1], "--key", keys[1])
    table = pq.read_table(board / "leaderboard.parquet").to_pylist()
    assert sorted(row["audit"] for row in table) == audits
    first = table[0]
    assert 0 <= first["worst_lower"] <= first["worst"] <= first["clean"] <= first["clean_upper"] <= 1
    assert math.isnan(first["certified"])
    assert (first["verdict"], first["policy"], first["reviewer"]) == ("PASS", "lenient 1", "Jane Doe")
    page = (board / "index.html").read_text()
    assert page.count("<tbody>") == 1
    links = re.findall(r'href="(audits/[^"]+/report.html)"', page)
    assert len(links) == 2
    assert all((board / link).is_file() for link in links)
    assert f"{first['worst']:.3f}" in page
    assert "2 audits: " in run("leaderboard", board), "the page is made anew from what is there"


def test_somebody_elses_audit_is_taken_with_their_key(audits, store, keys, tmp_path):
    theirs = shutil.copytree(store.path(f"audits/{audits[0]}"), tmp_path / "received" / audits[0])
    [entry] = assay.leaderboard(tmp_path / "board", [str(theirs)], key=keys[1], store=tmp_path / "no-store")
    assert (entry.audit, entry.reviewer) == (audits[0], "Jane Doe")


def test_what_is_not_signed_by_that_key_is_refused_and_nothing_is_written(audits, store, keys, tmp_path):
    board = tmp_path / "board"
    _, other = write_keys(tmp_path, "other")
    with pytest.raises(InputError, match="takes signed audits only"):
        assay.leaderboard(board, audits, store=store)
    with pytest.raises(DataError, match="cannot stand on a leaderboard"):
        assay.leaderboard(board, audits, key=other, store=store)
    metrics = store.path(f"audits/{audits[0]}/metrics.parquet")
    metrics.write_bytes(metrics.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"changed: metrics\.parquet"):
        assay.leaderboard(board, audits, key=keys[1], store=store)
    assert not board.exists()


def test_an_audit_that_was_changed_on_the_board_is_found(audits, store, keys, tmp_path):
    board = tmp_path / "board"
    assay.leaderboard(board, audits, key=keys[1], store=store)
    page = (board / "index.html").read_text()
    (board / "audits" / audits[0] / "verdict.json").write_text("{}")
    with pytest.raises(DataError, match=r"changed: verdict\.json"):
        assay.leaderboard(board)
    assert (board / "index.html").read_text() == page
    shutil.rmtree(board / "audits" / audits[0])
    assert [entry.audit for entry in assay.leaderboard(board)] == [audits[1]]


def test_a_screen_and_an_audit_of_other_images_do_not_stand_beside_whole_ones(audits, store, keys, tmp_path):
    def resigned(name: str, **changes: object) -> None:
        place = store.path(f"audits/{name}/audit.yaml")
        place.write_text(yaml.safe_dump(yaml.safe_load(place.read_text()) | changes))
        assay.approve(name, POLICY, key=keys[0], reviewer="Jane Doe", author="Max Roe", store=store)

    info = yaml.safe_load(store.read(f"audits/{audits[1]}/audit.yaml"))
    resigned(audits[1], dataset={**info["dataset"], "hash": "0" * 64})
    assay.leaderboard(tmp_path / "board", audits, key=keys[1], store=store)
    assert (tmp_path / "board" / "index.html").read_text().count("<tbody>") == 2
    resigned(audits[0], limit=3)
    with pytest.raises(DataError, match="is a screen of 3 images"):
        assay.leaderboard(tmp_path / "other", audits, key=keys[1], store=store)
