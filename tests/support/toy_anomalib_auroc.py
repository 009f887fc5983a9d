"""The AUROC of a model of anomalib: trained by Assay's trainable, and by anomalib's own engine on the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from toy_anomalib import BATCH, SIDE

from assay import shelves
from assay.contracts import Images, TrainingData
from assay.data import splits
from assay.datasets.folder import folder
from assay.interop.backbone_weights import backbone_weights
from assay.metrics import detection
from assay.models.scoring import clean_scores
from trainables._anomalib_engine import seeded

LIGHT = 30
"""Grey levels of the defect's square: so few that AUROCs lie well below 1."""


def photographs(root: Path, normals: int = 60, anomalies: int = 40) -> Path:
    """Striped images of 128 x 128 pixels in `good`, and some with a faint square in `square`."""
    rng = np.random.default_rng(0)
    for kind, count in (("good", normals), ("square", anomalies)):
        (root / kind).mkdir(parents=True)
        for number in range(count):
            stripes = 128 + rng.uniform(15, 45) * np.sin(np.arange(SIDE) / rng.uniform(5, 7) + rng.uniform(0, 6))
            pixels = rng.normal(stripes[None, :, None], 12, (SIDE, SIDE, 3))
            if kind == "square":
                top, left = rng.integers(10, SIDE - 34, 2)
                pixels[top : top + 24, left : left + 24] += LIGHT
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / kind / f"{number:02}.png")
    return root


def data_of(root: Path) -> tuple[TrainingData, Images]:
    """What a trial trains on, and the test images."""
    dataset = folder(root=str(root), normal="good", anomalous="square", image_size=SIDE)
    return splits.training_data(dataset), splits.test_images(dataset)


def weights_in(file: Path, name: str = "resnet18") -> Path:
    """Random weights of a backbone in a file, so that both trainings have the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(timm.create_model(name, pretrained=False).state_dict(), file)
    return file


def ours(model: dict[str, Any], data: TrainingData, test: Images, weights: Path, seed: int, epochs: int) -> float:
    """By the trainable `anomalib`, at the raw score."""
    trainable = shelves.load("trainables", "anomalib")
    given = {"model": model, "weights": str(weights), "epochs": epochs, "batch_size": BATCH}
    run = trainable(data, seed=seed, device="cpu", **shelves.bind(trainable, given))
    for _ in range(run.epochs):
        run.train_epoch()
    return float(detection.auroc(test.labels, clean_scores(run.detector(), test)))


def theirs(
    model: dict[str, Any], data: TrainingData, test: Images, weights: Path, seed: int, epochs: int, place: Path
) -> float:
    """By its engine and metric on files with exactly those pixels; raw scores, as clipped ones are tied."""
    import anomalib.models
    from anomalib.data import Folder
    from anomalib.engine import Engine
    from anomalib.metrics import AUROC, Evaluator

    [(name, parameters)] = model.items()
    kind = getattr(anomalib.models, name)
    root = place / f"pixels-{seed}"
    for part, images in (("train", data.train), ("test", test)):
        for pixels, label, number in zip(images.pixels, images.labels, range(len(images)), strict=True):
            target = root / part / ("bad" if label else "good") / f"{number:03}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1))).save(target)
    module = Folder(
        "same", root=root, normal_dir="train/good", normal_test_dir="test/good", abnormal_dir="test/bad",
        num_workers=0, train_batch_size=BATCH, eval_batch_size=BATCH, val_split_mode="same_as_test", seed=seed,
    )  # fmt: skip
    with seeded(seed), backbone_weights(str(weights)):
        before = kind.configure_pre_processor(image_size=(SIDE, SIDE))
        evaluator = Evaluator(test_metrics=AUROC(fields=["pred_score", "gt_label"], prefix="image_"))
        made = kind(pre_processor=before, evaluator=evaluator, post_processor=False, visualizer=False, **parameters)
        engine = Engine(
            max_epochs=made.trainer_arguments.get("max_epochs", epochs), accelerator="cpu", default_root_dir=root,
            enable_progress_bar=False, enable_model_summary=False, logger=False,
        )  # fmt: skip
        engine.fit(made, datamodule=module)
        [found] = engine.test(made, datamodule=module, verbose=False)
    return float(found["image_AUROC"])
