"""Small models of anomalib with random backbones, trained on a folder of striped images, some with a bright square."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from assay.interop.backbone_weights import backbone_weights

SIDE = 128
BATCH = 8
SHAPE = (110, 150)  # height and width of the files
MODELS: dict[str, dict[str, Any]] = {
    "Padim": {"n_features": 20},
    "Patchcore": {"backbone": "resnet18", "coreset_sampling_ratio": 0.02},
    "Stfpm": {},
    "ReverseDistillation": {"backbone": "resnet18"},
    "Fastflow": {"flow_steps": 2},
    "Supersimplenet": {"backbone": "resnet18"},
    "Dfm": {"backbone": "resnet18"},
}


def write_images(root: Path) -> Path:
    """24 train normals, 16 other normals and 16 anomalies, as PNG in `train`, `good` and `square`."""
    rng = np.random.default_rng(0)
    for folder, count in (("train", 24), ("good", 16), ("square", 16)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            stripes = 128 + 30 * np.sin(np.arange(SHAPE[1]) / 6 + rng.uniform(0, 1))
            pixels = rng.normal(stripes[None, :, None], 8, (*SHAPE, 3))
            if folder == "square":
                top, left = rng.integers(10, SHAPE[0] - 40), rng.integers(10, SHAPE[1] - 40)
                pixels[top : top + 25, left : left + 25] += 70
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / folder / f"{number:02}.png")
    return root


def data_module(images: Path) -> Any:
    from anomalib.data import Folder

    return Folder(
        "toy", root=images, normal_dir="train", normal_test_dir="good", abnormal_dir="square", num_workers=0,
        train_batch_size=BATCH, eval_batch_size=BATCH, val_split_mode="same_as_test",
    )  # fmt: skip


def engine_in(folder: Path) -> Any:
    from anomalib.engine import Engine

    return Engine(
        max_epochs=1, accelerator="cpu", default_root_dir=folder, enable_progress_bar=False, enable_model_summary=False
    )


def predicted(field: str, engine: Any, model: Any, checkpoint: Path | None, files: list[Path]) -> Tensor:
    """A field (N,) of what `Engine.predict` returns for files of one folder of folders, in their order."""
    from anomalib.data import PredictDataset
    from torch.utils.data import DataLoader

    images = PredictDataset(files[0].parents[1])
    loader = DataLoader(images, BATCH, collate_fn=images.collate_fn)
    found = {}
    for batch in engine.predict(model, dataloaders=loader, ckpt_path=checkpoint):
        found |= dict(zip(map(Path, batch.image_path), getattr(batch, field).flatten(), strict=True))
    return torch.stack([found[file] for file in files])


def native(files: list[Path]) -> Tensor:
    """Files decoded at their own size: (N, 3, H, W) in [0, 1]."""
    pixels = [torch.from_numpy(np.asarray(Image.open(file).convert("RGB")).copy()) for file in files]
    return torch.stack(pixels).permute(0, 3, 1, 2).float() / 255


def as_anomalib_reads(files: list[Path]) -> Tensor:
    """Files decoded by anomalib: (N, 3, H, W) in [0, 1], up to a float32's last bit those of `native`."""
    from anomalib.data.utils import read_image

    return torch.stack([read_image(file, as_tensor=True) for file in files])


def trained(name: str, images: Path, folder: Path, **changed: Any) -> tuple[Any, Any, Path]:
    """A model after one epoch of anomalib's engine, that engine, and its checkpoint."""
    import anomalib.models

    model = getattr(anomalib.models, name)
    torch.manual_seed(0)
    with backbone_weights("random"):
        before = model.configure_pre_processor(image_size=(SIDE, SIDE))
        made = model(pre_processor=before, evaluator=False, visualizer=False, **{**MODELS.get(name, {}), **changed})
    engine = engine_in(folder)
    engine.fit(made, datamodule=data_module(images))
    file = folder / f"{name.lower()}.ckpt"
    engine.trainer.save_checkpoint(file)
    return made.eval(), engine, file


def write_card(detector: Path, images: Path, **values: Any) -> Path:
    """A card beside a detector, under its name."""
    dataset = {"name": "folder", "root": str(images), "normal": "good", "anomalous": "square", "image_size": SIDE}
    path = detector.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({"detector": detector.name, "dataset": dataset, **values}))
    return path
