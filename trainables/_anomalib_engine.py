"""Trains a model of anomalib one epoch at a time with anomalib's own engine, on images that are arrays.

Each epoch is a run of the engine that continues from the checkpoint of the one before and knows how many there will be,
so that schedules are those of one long run. Each draws from generators seeded for it, so a resumed run equals another.
"""

from __future__ import annotations

import io
import logging
import math
import random
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assay.contracts import Images, TrainingData
from assay.errors import DivergedError


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Global generators of torch, numpy and Python, seeded for a block and left as they were."""
    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(number)
        random.seed(number)
        np.random.seed(number)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def one_epoch(
    module: Any, data: TrainingData, batch_size: int, epochs: int, seed: int, device: str, checkpoint: bytes
) -> tuple[dict[str, float], bytes]:
    """Train a model for its next epoch: what it logged, and the checkpoint after it. Raises DivergedError for NaN.

    checkpoint: of the epoch before; empty for the first.
    """
    from anomalib.callbacks.checkpoint import ModelCheckpoint
    from anomalib.engine import Engine

    before = _read(checkpoint) if checkpoint else {}
    epoch = before.get("epoch", 0)
    with tempfile.TemporaryDirectory() as folder, seeded(seed, epoch), _quiet():
        file = Path(folder) / "epoch.ckpt"
        file.write_bytes(checkpoint)
        engine = Engine(
            max_epochs=epochs,
            callbacks=[_stop_after_one(before.get("state_dict")), ModelCheckpoint(save_top_k=0)],
            accelerator="gpu" if device.startswith("cuda") else "cpu",
            devices=[torch.device(device).index or 0] if device.startswith("cuda") else 1,
            default_root_dir=folder,
            limit_val_batches=1.0 if _validates(module) else 0,
            inference_mode=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        engine.fit(module, datamodule=_arrays(data, batch_size, seed, epoch), ckpt_path=file if checkpoint else None)
        engine.trainer.save_checkpoint(file)
        after = file.read_bytes()
        logged = {name: float(value) for name, value in engine.trainer.callback_metrics.items()}
    if broken := [name for name, value in logged.items() if not math.isfinite(value)]:
        raise DivergedError(f"{type(module).__name__}: {', '.join(broken)} is not finite in epoch {epoch + 1}")
    return logged, after


def weights_of(checkpoint: bytes) -> dict[str, Tensor]:
    """The weights and buffers in a checkpoint."""
    weights: dict[str, Tensor] = _read(checkpoint)["state_dict"]
    return weights


def _read(checkpoint: bytes) -> dict[str, Any]:
    from anomalib.models import AnomalibModule
    from anomalib.utils.serialization import anomalib_safe_globals

    types = [one for model in AnomalibModule.__subclasses__() for one in model.checkpoint_safe_globals()]
    with anomalib_safe_globals(extra=types):
        read: dict[str, Any] = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
    return read


def _validates(module: Any) -> bool:
    """Whether a model learns something from validation normals, as EfficientAd does the range of its maps."""
    from anomalib.models.components import MemoryBankMixin
    from lightning.pytorch import LightningModule

    own = type(module).on_validation_start
    return own not in (MemoryBankMixin.on_validation_start, LightningModule.on_validation_start)


def _stop_after_one(weights: dict[str, Tensor] | None) -> Any:
    """A callback that ends the run after one epoch, and gives the model its weights once its start hook has run.

    Some models set part of their weights when a run starts, as CFA does its centres, and would do it every epoch.
    """
    from lightning.pytorch.callbacks import LambdaCallback

    def start(trainer: Any, module: Any) -> None:
        if weights is not None:
            module.load_state_dict(weights)

    def end(trainer: Any, module: Any) -> None:
        trainer.should_stop = True

    return LambdaCallback(on_train_epoch_start=start, on_train_epoch_end=end)


def _arrays(data: TrainingData, batch_size: int, seed: int, epoch: int) -> Any:
    """A data module of train normals in an order drawn for the epoch, and of the validation normals."""
    from anomalib.data import ImageBatch
    from lightning.pytorch import LightningDataModule
    from torch.utils.data import DataLoader

    random_order = torch.Generator().manual_seed(int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0]))

    class Arrays(LightningDataModule):  # type: ignore[misc]  # untyped where it is not installed
        name, category = "arrays", ""
        train_batch_size = eval_batch_size = batch_size

        def train_dataloader(self) -> Any:
            items = _items(data.train, range(len(data.train)))
            return DataLoader(items, batch_size, shuffle=True, generator=random_order, collate_fn=ImageBatch.collate)

        def val_dataloader(self) -> Any:
            normals = [int(place) for place in np.flatnonzero(data.validation.labels == 0)]
            return DataLoader(_items(data.validation, normals), batch_size, collate_fn=ImageBatch.collate)

    return Arrays()


def _items(images: Images, places: Sequence[int]) -> Any:
    """Images as anomalib's items: float (3, H, W) in [0, 1], label 0 and an empty mask, as all are normals."""
    from anomalib.data import ImageItem

    height, width = images.pixels.shape[2:]
    return [
        ImageItem(
            image=torch.from_numpy(np.array(images.pixels[place])).float().div_(255).expand(3, -1, -1),
            gt_label=torch.tensor(0),
            gt_mask=torch.zeros(height, width),
        )
        for place in places
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Lightning says about workers, loggers and the hardware at each start."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "anomalib")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
