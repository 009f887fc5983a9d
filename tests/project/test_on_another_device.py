"""Everything keeps to the device it is given: where CPU tensors pose as a GPU, nothing is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import toy_audit
from other_device import on_device, other_device
from torch import Tensor, nn

from assay import shelves
from assay.audits import suite
from assay.audits.attack_job import AttackJob
from assay.audits.bank_size_job import BankSizeJob
from assay.audits.certification_job import CertificationJob
from assay.audits.checks._context import Context
from assay.audits.corruption_job import CorruptionJob
from assay.audits.minimal_epsilon_job import MinimalEpsilonJob
from assay.audits.self_checks import names, outcome
from assay.audits.tables import columns
from assay.contracts import Images, ThreatModel, TrainingData
from assay.metrics import detection
from assay.models import certificates, preflight
from assay.models.scoring import clean_scores
from assay.norm_balls import streams
from assay.runtime.threads import one_thread
from assay.shelves import Item
from assay.store import score_matrix
from assay.sweeps.evaluation import evaluate
from trainables.pseudo_anomalies._items import ready

SIZE, DEVICE = 16, "cuda"
SMALL = {"backbone": {"name": "small_resnet", "width": 4}}
ADVERSARY = {"norm": "l2", "epsilon": 0.5, "guard": "fall_back"}
ELSEWHERE = ("anomalib", "ensemble", "smoothed", "tiled")
TRAINABLES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in shelves.names("trainables") if name not in ELSEWHERE},
    "cobra-fixed": ("cobra", {"loss": {"contrastive": 1, "opposite": 1}, "adversary": ADVERSARY}),
    "cobra-paper": ("cobra", {"variant": "paper", "loss": {"contrastive": 1}, "views": {"colour": 0.4, "crop": 0.5}}),
    "cobra-released": (
        "cobra",
        {
            "variant": "as_released",
            "loss": {"contrastive": 1, "trades": 1},
            "score": {"form": "as_released", "views": 2, "k": 1, "pixels": 1},
            "adversary": {"budget": "sampled", "views": "negative"},
        },
    ),
    "neighbours-pixels": ("neighbours", {"backbone": "pixels", "distance": "cosine"}),
    "smoothed": ("smoothed", {"of": {"name": "neighbours", "backbone": "pixels"}, "draws": 5, "certify_draws": 20}),
    "tiled": ("tiled", {"of": {"name": "patchcore", **SMALL}, "tile": 8}),
    "ensemble": ("ensemble", {"of": {"one": {"item": "local_pixels"}, "other": {"item": "monotone"}}}),
}
"""What is trained here: every trainable, and COBRA in its variants."""
QUICK = {"steps": 2, "restarts": 2, "draws": 2, "queries": 30, "pairs": 2, "probes": 3}
EPSILONS = {"linf": 4 / 255, "l2": 0.5, "l1": 3.0, "patch": 0.1, "spatial": 0.5}
INNER = {"patch": {"patch": {"steps": 2, "restarts": 1}}, "spatial": {"spatial": {"queries": 8}}}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def images(count: int, channels: int = 1, seed: int = 0) -> Images:
    """Normals and anomalies in turn: an anomaly has a bright square."""
    pixels = np.random.default_rng(seed).integers(60, 160, (count, channels, SIZE, SIZE), dtype=np.uint8)
    pixels[1::2, :, 4:9, 5:11] += 60
    ids = tuple(f"{seed}-{number}" for number in range(count))
    kinds = tuple("square" if number % 2 else "normal" for number in range(count))
    return Images(pixels, np.arange(count) % 2, ids, kinds, ids)


def normals(count: int) -> Images:
    some = images(2 * count)
    return Images(
        some.pixels[::2].copy(), np.zeros(count, np.int64), some.ids[::2], ("normal",) * count, some.hashes[::2]
    )


def batch(count: int = 4, channels: int = 1) -> Tensor:
    return torch.from_numpy(images(count, channels).pixels).to(DEVICE).float().div_(255)


def training() -> TrainingData:
    labelled = replace(images(4, seed=2), labels=np.ones(4, np.int64))
    return TrainingData(
        train=normals(8),
        validation=images(6, seed=1),
        labelled=labelled,
        description={"channels": 1, "image_size": SIZE},
    )


def begun(key: str) -> Any:
    name, given = TRAINABLES[key]
    item = shelves.load("trainables", name)
    small = {**SMALL, "steps_per_epoch": 2, "batch_size": 4, "width": 4}
    small = {key: value for key, value in small.items() if key in shelves.fields(item)}
    return item(training(), seed=0, device=DEVICE, **shelves.bind(item, {**small, **given}))


def all_there(values: Any) -> bool:
    return all(on_device(value) for value in values if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("key", TRAINABLES)
def test_a_trainable_trains_resumes_scores_and_proves_there(key):
    with other_device():
        run = begun(key)
        run.train_epoch()
        again = begun(key)
        again.load_state_dict(run.state_dict())
        again.train_epoch()
        detector = run.detector()
        assert all_there([*detector.parameters(), *detector.buffers()])
        assert on_device(detector(batch()))
        attack = {"attack": "pgd", "norm": "linf", "epsilon": 0.01, "steps": 2}
        figures = evaluate(detector, images(6, seed=1), attack, 0, DEVICE, ["certified_auroc"]).figures
        assert all(0 <= value <= 1 for value in figures.values())
        radii = torch.tensor([0.01, 0.02], dtype=torch.float64, device=DEVICE)
        for norm in certificates.norms(detector):
            random = streams(torch.Generator(DEVICE).manual_seed(0), batch())
            assert all_there(certificates.bounds(detector, batch(), norm, radii, random, 0.9))


class Near(nn.Module):
    """The toy detector, with neighbours as well."""

    def __init__(self) -> None:
        super().__init__()
        self.of = toy_audit.Detector("none").requires_grad_(False).to(DEVICE)

    def forward(self, images: Tensor) -> Tensor:
        return self.of(images)

    def score_with(self, images: Tensor, pool: Any) -> Tensor:
        return pool(self.of(images).unsqueeze(1) + torch.arange(4, device=images.device) / 10)


def stated(kind: str, name: str, constant: str, default: Any = None) -> Any:
    return shelves.stated(shelves.load(kind, name), constant, default)


ATTACKS = [(name, norm) for name in shelves.names("attacks") for norm in stated("attacks", name, "NORMS")]


@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")
@pytest.mark.parametrize(("name", "norm"), ATTACKS)
def test_an_attack_is_made_there(name, norm):
    item = shelves.load("attacks", name)
    given: dict[str, Any] = {key: value for key, value in QUICK.items() if key in shelves.fields(item)}
    if "attack" in shelves.fields(item):
        given["attack"] = INNER.get(norm, {"pgd": {"steps": 2}})
    if "precision" in shelves.fields(item):
        given["precision"] = "bfloat16"
    bound = shelves.bind(item, given)
    with other_device():
        clean, direction = batch(), torch.tensor([1, -1, 1, -1], device=DEVICE)
        if stated("attacks", name, "NEEDS") == "surrogate":
            bound["surrogate"] = Near()
        threat, start = ThreatModel(norm, EPSILONS[norm], 0.3), None
        for _ in range(2):
            random = streams(torch.Generator(DEVICE).manual_seed(0), clean)
            found = item(Near(), clean, direction, threat, random, start=start, **bound)
            assert all_there(found)
            start = found.images


@pytest.mark.parametrize("name", shelves.names("corruptions"))
def test_a_corruption_is_made_there(name):
    with other_device():
        for channels in (1, 3):
            clean = batch(2, channels)
            for severity in (1, 5):
                random = streams(torch.Generator(DEVICE).manual_seed(0), clean)
                assert on_device(shelves.load("corruptions", name)(clean, severity, random))


@pytest.mark.parametrize("name", shelves.names("pseudo_anomalies"))
def test_a_pseudo_anomaly_is_made_there(name):
    given = {"acceptance": {"backbone": Item("backbones", "pixels", {"side": 8}), "tries": 2}}.get(name, {})
    with other_device():
        random = torch.Generator(DEVICE).manual_seed(0)
        if stated("pseudo_anomalies", name, "SPACE", "pixels") != "pixels":
            assert on_device(ready(Item("pseudo_anomalies", name, {}), batch())(batch().flatten(1), random))
            return
        for channels in (1, 3):
            make = ready(Item("pseudo_anomalies", name, given), batch(12, channels))
            assert all_there(make(batch(4, channels), random))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return suite.read(toy_audit.write_suite(tmp_path_factory.mktemp("suite") / "tiny.yaml"))


def about(some: Images) -> dict[str, Any]:
    return {"audit": "a", "model": "m", "dataset": "d", "images": some, "seed": 0, "device": DEVICE}


def scored(tiny: suite.Suite, detector: nn.Module, some: Images) -> Any:
    jobs = [
        AttackJob(**about(some), entry=one.plain(), parameters=one.hash, headline=("linf", 2 / 255), threshold=0.3)
        for one in tiny.attacks
    ]
    return pa.concat_tables([job.compute(some, detector)[0] for job in jobs])


def test_the_jobs_of_an_audit_are_done_there():
    with other_device():
        some, run = images(6, seed=1), begun("neighbours-pixels")
        run.train_epoch()
        near, proven = run.detector(), begun("monotone").detector()
        CorruptionJob(**about(some), corruption="fog", severities=(1, 3)).compute(some, near)
        search = MinimalEpsilonJob(**about(some), norm="l2", epsilons=(0.1, 0.3), threshold=0.3, steps=2, halvings=2)
        search.compute(some, near)
        BankSizeJob(**about(some), share=0.5, norm="linf", epsilon=0.01, steps=2).compute(some, near)
        for norm in certificates.norms(proven):
            CertificationJob(**about(some), norm=norm, radii=(0.01,), confidence=0.99, among=6).compute(some, proven)


def test_a_detector_is_inspected_and_checked_there(tiny):
    with other_device():
        some, detector = images(12, seed=1), toy_audit.Detector("none").requires_grad_(False).to(DEVICE).eval()
        facts = preflight.inspect(detector, some, 0.3, DEVICE)
        assert facts.differentiable
        assert not facts.stochastic
        scores = scored(tiny, detector, some)
        figures = detection.table(score_matrix.read(scores), threshold=0.3, replicates=10)
        context = Context(detector, some, tiny, columns(scores), columns(figures), DEVICE, {}, 0.3, facts)
        for name in names():
            assert "could not be made" not in outcome(name, context).evidence, name


def test_what_a_gpu_would_refuse_is_refused_here():
    with pytest.raises(RuntimeError, match="a tensor of the device meets one of the CPU"), other_device():
        batch() + torch.ones(4, 1, SIZE, SIZE)
    with pytest.raises(RuntimeError, match="a generator of cpu"), other_device():
        torch.rand(3, generator=torch.Generator(), device=DEVICE)
    with pytest.raises(RuntimeError, match="numpy"), other_device():
        np.asarray(batch())
    with other_device() as seen:
        assert float(clean_scores(toy_audit.Detector("none").to(DEVICE), images(4), DEVICE).sum())
    assert seen.moves
    assert seen.waits
