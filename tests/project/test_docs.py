"""What README.md promises is there, and what there is, it names."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from assay import __version__, shelves
from assay.approval import policy
from assay.attacks.pgd import pgd
from assay.audits import suite
from assay.cli import main
from assay.config import reader
from assay.contracts import Images, ThreatModel, TrainingData
from assay.datasets import elpv
from assay.models import card, certificates
from assay.norm_balls import streams

REPO = Path(__file__).parents[2]
README = (REPO / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
DETECTORS = (REPO / "docs" / "any-detector.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERBS = main.list_commands(None)


def code(text: str) -> list[str]:
    """The fenced blocks and the code spans of a page."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return fenced + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def options_of(verb: str) -> list:
    """The options of a verb, and of the verbs below it."""
    found = main.get_command(None, verb)
    return [*found.params, *(option for one in getattr(found, "commands", {}).values() for option in one.params)]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_help_with_an_example_and_a_row_in_the_readme(verb):
    told = CliRunner().invoke(main, [verb, "--help"]).output
    assert re.search(rf"^ +assay {verb}\b(?!.*\[OPTIONS\])", told, re.MULTILINE), told
    assert re.search(rf"^\| `{verb}` \| `assay {verb}\b", README, re.MULTILINE)


def test_the_readme_names_no_other_verb():
    assert set(re.findall(r"\bassay ([a-z]+)\b", "\n".join(code(README)))) <= set(VERBS)


def test_every_option_in_the_readme_exists():
    for line in "\n".join(code(README)).splitlines():
        for verb, rest in re.findall(r"\bassay ([a-z]+)\b(.*)", line):
            options = options_of(verb)
            known = {name for option in options for name in [*option.opts, *option.secondary_opts]}
            assert set(re.findall(r"(?<!\S)--[a-z-]+", rest.split("#")[0])) <= known | {"--help"}, line


def test_every_extra_in_the_readme_exists():
    named = {extra for extras in re.findall(r"\[([a-z,]+)\]'", README) for extra in extras.split(",")}
    assert "demo" in named
    assert named <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("page", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_make_target_in_a_page_exists(page):
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {target for text in code(page) for target in re.findall(r"(?:^|\s)make ([a-z]+)", text)}
    assert named
    assert named <= targets


def test_every_file_in_the_pages_exists():
    texts = "\n".join(code(README) + code(CONTRIBUTING))
    paths = set(re.findall(r"(?<!\S)[\w-]+(?:/[\w-]+)+\.(?:py|yaml)\b", texts))
    ours = {path for path in paths if path.split("/")[0] in ("platform", "trainables", "tests", "search_spaces")}
    examples = {path for path in ours if "NAME" in path}
    assert len(ours - examples) > 5
    assert {path for path in ours - examples if not (REPO / path).is_file()} == set()
    assert {path for path in examples if not (REPO / path).parent.is_dir()} == set()


def test_the_search_space_in_the_readme_is_valid():
    [example] = re.findall(r"^```yaml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert reader.check(yaml.safe_load(example), "README.md").name == "my-sweep"


def test_the_card_in_the_docs_is_valid(tmp_path):
    [example] = re.findall(r"^```yaml\n(.*?)^```", DETECTORS, re.DOTALL | re.MULTILINE)
    (tmp_path / "detector.pt2").touch()
    (tmp_path / "detector.yaml").write_text(example)
    summary = card.Card.read(tmp_path / "detector.yaml").summary
    assert summary.startswith("card of detector.pt2 (exported), images of dataset mvtec")


def test_every_exit_code_of_a_verdict_is_told():
    for verdict, number in policy.EXIT_CODES.items():
        assert re.search(rf"^\| {number} \| {verdict}:", README, re.MULTILINE)


def test_every_shipped_suite_and_policy_is_named():
    for name in [*suite.shipped(), *policy.names()]:
        assert f"`{name}`" in README


def test_every_shelf_has_a_recipe():
    for package in {name.replace(".", "/") for name in shelves.PACKAGES.values()} - {"trainables"}:
        assert f"{package}/NAME.py" in CONTRIBUTING
    assert "`trainables/NAME.py`" in CONTRIBUTING


def test_the_changelog_speaks_of_this_version():
    assert __version__ in (REPO / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_page_is_short_and_tells_the_licence_of_the_data():
    assert len(README.splitlines()) <= 200
    assert "CC BY-NC-SA 4.0" in README
    assert elpv.LICENCE.startswith("CC BY-NC-SA 4.0")


def test_the_generated_pages_are_current():
    made = runpy.run_path(str(REPO / "docs" / "generate.py"))
    for name, page in made["PAGES"].items():
        found = (REPO / "docs" / name).read_text(encoding="utf-8")
        assert found == made["text"](page), f"docs/{name} is stale: run python docs/generate.py"


@pytest.mark.parametrize("page", sorted((REPO / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_of_the_docs_names_verbs_and_options_that_exist(page):
    for line in "\n".join(code(page.read_text(encoding="utf-8"))).splitlines():
        for verb, rest in re.findall(r"(?<![\w/.-])assay ([a-z]+)\b(?!:)(.*)", line.split("#")[0]):
            assert verb in VERBS, line
            options = options_of(verb)
            known = {name for option in options for name in [*option.opts, *option.secondary_opts]}
            assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known | {"--help"}, line


@pytest.mark.parametrize("page", sorted((REPO / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_trainable_in_the_docs_trains_and_resumes(tmp_path, monkeypatch):
    page = (REPO / "docs" / "add-your-own-detector.md").read_text(encoding="utf-8")
    module, _ = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [space] = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "my_detector.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    checked = reader.check(yaml.safe_load(space), "my_space.yaml")
    item = shelves.load("trainables", checked.trainable)
    pixels = np.random.default_rng(0).integers(0, 255, (8, 1, 32, 32), dtype=np.uint8)
    train = Images(pixels, np.zeros(8, np.int64), *[("",) * 8] * 3)
    data, images = TrainingData(train, train, {}), torch.from_numpy(pixels[:3]).float().div(255)

    def run(epochs, state=None):
        made = item(data, seed=0, device="cpu", **shelves.bind(item, {"width": 8}))
        if state:
            made.load_state_dict(state)
        losses = [made.train_epoch()["reconstruction"] for _ in range(epochs)]
        return made, losses

    whole, losses = run(4)
    assert losses[-1] < losses[0]
    half, _ = run(2)
    resumed, _ = run(2, half.state_dict())
    assert torch.equal(whole.detector()(images), resumed.detector()(images))
    empty = item.build(channels=1, image_size=32, **shelves.bind(item, {"width": 8}))
    empty.load_state_dict(whole.detector().state_dict())
    assert torch.equal(whole.detector()(images), empty(images))


def test_the_detector_with_a_proof_in_the_docs_keeps_its_bounds(tmp_path, monkeypatch):
    page = (REPO / "docs" / "add-your-own-detector.md").read_text(encoding="utf-8")
    _, module = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "nearest_image.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (12, 1, 16, 16), dtype=np.uint8)
    train = Images(pixels[:8], np.zeros(8, np.int64), *[("",) * 8] * 3)
    item = shelves.load("trainables", "nearest_image:NearestImage")
    detector = item(TrainingData(train, train, {}), seed=0).detector()
    images, radii = torch.from_numpy(pixels[8:]).float().div(255), torch.tensor([0.5, 1.0], dtype=torch.float64)
    lower, upper = certificates.bounds(detector, images, "l2", radii, [], 1)
    direction, random = torch.tensor([-1, -1, 1, 1]), streams(torch.Generator().manual_seed(0), images)
    for at, radius in enumerate(radii.tolist()):
        attacked = pgd(detector, images, direction, ThreatModel("l2", radius), random, steps=20).scores
        assert ((lower[:, at] <= attacked + 1e-5) & (attacked <= upper[:, at] + 1e-5)).all()
        assert ((attacked - detector(images)).abs() > 0.8 * radius).all(), "the bounds are not loose"
    soft = detector.score_with(images, lambda distances: distances.topk(3, largest=False).values.mean(1))
    assert (soft > detector(images)).all()
    empty = item.build(channels=1, image_size=16)
    assert {name: value.shape[1:] for name, value in empty.state_dict().items()} == {"bank": (16 * 16,)}


def test_what_is_cited_is_this_version_under_its_licence():
    cited = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert (cited["version"], cited["license"]) == (__version__, PROJECT["license"])
    assert {"cff-version", "message", "title", "authors"} <= set(cited)


def test_every_page_is_in_the_navigation_of_the_site():
    site = tomllib.loads((REPO / "zensical.toml").read_text(encoding="utf-8"))["project"]
    [home, *sections] = site["nav"]
    named = [*home.values(), *(page for section in sections for pages in section.values() for page in pages)]
    assert sorted(named) == sorted(path.name for path in (REPO / "docs").glob("*.md"))
