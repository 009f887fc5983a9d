"""One trial: train, evaluate, keep the best epoch, save the state, write the model. Needs no Ray.

A trial advances in steps, one evaluation per step. After each step its state is on disk, so a trial started again with
the same order continues where it stopped and ends with the same figures. It first repeats the report it was saved with,
in case the sweep never received it.
"""

from __future__ import annotations

import io
import math
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np

from assay import shelves
from assay.config import objectives as choice
from assay.config.search import fidelity
from assay.contracts import TrainingData
from assay.data.reduced import reduced
from assay.errors import DivergedError, StoreError
from assay.hashing import canonical, digest
from assay.models import model_folder
from assay.models.scoring import clean_scores, normal_scores, threshold_of
from assay.runtime.float32 import exact_float32
from assay.runtime.provenance import environment
from assay.store import best_trial, parquet
from assay.store.store import Store
from assay.store.trial_log import TrialReport
from assay.sweeps.costs import Evaluated, costs
from assay.sweeps.evaluation import Measured, evaluate, intervals

if TYPE_CHECKING:
    from torch import Tensor

DIGEST_LENGTH = 64  # hex digits of the SHA-256 at the end of a saved state


def checkpoint(sweep: str, number: int) -> str:
    """The store key of a trial's saved state."""
    return f"sweeps/{sweep}/checkpoints/trial-{number:05d}.pt"


@dataclass(frozen=True)
class TrialConfig:
    """A trial's instructions as plain values: enough to run it again years later.

    dataset: the shelf item. config: the trainable's whole configuration. seed: for its training.
    evaluation_seed: for the evaluation's attack, the same for all trials of a sweep, so their figures can be paired.
    costs: those to be measured. ladder: the lower rungs of the fidelity ladder. checked: whether the full attack is
    made at those, too. The rest is as in the search space.
    """

    sweep: str
    number: int
    seed: int
    trainable: str
    dataset: Mapping[str, Any]
    config: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    objectives: Mapping[str, str]
    costs: tuple[str, ...] = ()
    ladder: tuple[Mapping[str, Any], ...] = ()
    checked: bool = False
    evaluation_seed: int = 0
    purpose: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1

    @property
    def checkpoint(self) -> str:
        """The store key of this trial's saved state."""
        return checkpoint(self.sweep, self.number)

    @property
    def identity(self) -> str:
        """A hash of everything that determines the training."""
        return digest(canonical([self.seed, self.trainable, dict(self.dataset), dict(self.config)]))


class Kept(TypedDict):
    """The best epoch so far: its objectives, all of its figures, the tensors of its detector.

    scores: (2, N) clean and attacked scores of the validation images; a state saved by an older version has none.
    """

    epoch: int
    values: dict[str, float]
    figures: dict[str, float]
    detector: dict[str, Tensor]
    scores: NotRequired[Tensor]


class Trial:
    """A running trial; call `step` until its report says `done`."""

    def __init__(self, order: TrialConfig, data: TrainingData, store: Store) -> None:
        import torch

        torch.set_num_threads(order.threads)
        self.order, self.data, self.store = order, data, store
        self.epoch = 0
        self._begin(fidelity.images(self.rung()))
        self.seconds, self.attempts = 0.0, 1
        self.trained = 0.0  # seconds without evaluations
        self.report: TrialReport | None = None
        self.kept: Kept | None = None
        self.repeat = False
        if store.exists(order.checkpoint):
            self._restore()

    def step(self) -> TrialReport:
        """Train up to the next evaluation and report it; raises DivergedError if a loss or a figure is not finite."""
        if self.repeat and self.report:
            self.repeat = False
            return self.report
        started = time.monotonic()
        rung = self.rung()
        until = min(rung["until"] if rung else self.epoch + self.order.evaluation["every"], self.run.epochs)
        if until == self.run.epochs:
            rung = None  # the last figures of a trial are its objectives
        if fidelity.images(rung) != self.part:
            self._begin(fidelity.images(rung))
            self.epoch = 0
        losses: dict[str, float] = {}
        while self.epoch < until:
            losses = self.train_epoch()
        self.trained += time.monotonic() - started
        with exact_float32():
            detector = self.run.detector()  # what it remembers of the normals is compared with scores
        if rung:
            measured = self.measure(detector, rung)
            checked = self.measure(detector).figures if self.order.checked else {}
        else:
            measured, checked = self.measure(detector), {}
            self._keep(measured, detector)
        self.seconds += time.monotonic() - started
        self._finish_report(measured.figures, losses)
        if rung and self.report:
            self.report["rung"] = fidelity.label(rung)
            self.report["checked"] = {name: checked[name] for name in self.order.objectives if name in checked}
        self._save()
        assert self.report is not None
        return self.report

    def _begin(self, part: tuple[float, int | None]) -> None:
        """Begin the training anew on a part of the images: the share of the train images, and the side of all."""
        item: Any = shelves.load("trainables", self.order.trainable)
        self.part = part
        self.seen = reduced(self.data, *part, seed=self.order.evaluation_seed)
        arguments = shelves.bind(item, self.order.config)
        self.run = item(self.seen, seed=self.order.seed, device=self.order.device, **arguments)

    def rung(self) -> Mapping[str, Any] | None:
        """The rung that the trial climbs to next; None where it is the top one."""
        return next((rung for rung in self.order.ladder if rung["until"] > self.epoch), None)

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch and return its losses; raises DivergedError if one is not finite."""
        losses = {name: float(value) for name, value in self.run.train_epoch().items()}
        self.epoch += 1
        if not all(map(math.isfinite, losses.values())):
            raise DivergedError(f"a loss is not finite at epoch {self.epoch}: {losses}; lower the learning rate")
        return losses

    def measure(self, detector: Any, rung: Mapping[str, Any] | None = None) -> Measured:
        """The figures and scores of a detector on the validation split; raises DivergedError if one is not finite.

        rung: the attack to use instead of the evaluation's.
        """
        order = self.order
        images, evaluation = self.seen.validation, fidelity.at(order.evaluation, rung) if rung else order.evaluation
        measured = evaluate(detector, images, evaluation, order.evaluation_seed, order.device, order.objectives)
        case = Evaluated(detector, images, measured, order.evaluation, order.device, self.trained)
        measured.figures.update(costs(order.costs, case))
        return measured

    def _keep(self, measured: Measured, detector: Any) -> None:
        import torch

        figures = measured.figures
        values = {name: figures[name] for name in self.order.objectives}

        def mean(v: Mapping[str, float]) -> float:
            return choice.mean(v, self.order.objectives)

        # The mean, not the rule of `best:`. Noise moves the figures back and forth across a bound such as clean AUROC
        # >= 0.88, and an early epoch just above it would beat a far more robust one just below.
        if self.kept is None or mean(values) > mean(self.kept["values"]):
            tensors = {name: tensor.detach().clone() for name, tensor in detector.state_dict().items()}
            self.kept = {
                "epoch": self.epoch,
                "values": values,
                "figures": dict(figures),
                "detector": tensors,
                "scores": torch.from_numpy(np.stack([measured.clean, measured.attacked])),
            }

    def _finish_report(self, figures: Mapping[str, float], losses: dict[str, float]) -> None:
        kept = self.kept or Kept(epoch=self.epoch, values={}, figures={}, detector={})  # not on a lower rung
        done = self.epoch >= self.run.epochs
        if done:
            self._write_scores()
        self.report = {
            "epoch": self.epoch,
            "epochs": self.run.epochs,
            "values": {name: figures[name] for name in self.order.objectives},
            "kept": {"epoch": kept["epoch"], **kept["values"]},
            "intervals": intervals(kept["values"], self.data.validation),
            "costs": {name: kept["figures"][name] for name in self.order.costs if name in kept["figures"]},
            "losses": losses,
            "seed": self.order.seed,
            "attempts": self.attempts,
            "seconds": self.seconds,
            "done": done,
            "model": self._write_model() if done else "",
        }

    def _write_scores(self) -> None:
        """Write the kept epoch's scores of the validation images, by which trials are compared image by image."""
        if self.kept is None or "scores" not in self.kept:
            return
        images = self.data.validation
        clean, attacked = self.kept["scores"].double().numpy()
        table = best_trial.table(images.ids, images.parts, images.labels, clean, attacked)
        self.store.write(best_trial.key(self.order.sweep, self.order.number), parquet.dump(table))

    def _write_model(self) -> str:
        """Write the model folder of the kept epoch and return its hash; that of a run that has trained no model."""
        assert self.kept is not None
        if found := getattr(self.run, "model_hash", ""):
            return str(found)
        order, description = self.order, dict(self.data.description)
        item: Any = shelves.load("trainables", order.trainable)
        detector = self.run.detector()
        model_folder.fit_buffers(detector, self.kept["detector"])
        detector.load_state_dict(self.kept["detector"])
        rate, labels = order.evaluation["false_alarm_rate"], self.data.validation.labels
        scores = clean_scores(detector, self.data.validation, order.device)
        manifest = {
            "trainable": order.trainable,
            "parameters": dict(order.config),
            "channels": description["channels"],
            "image_size": description["image_size"],
            "seed": order.seed,
            "dataset": {"item": dict(order.dataset), **description},
            "sweep": {"name": order.sweep, "trial": order.number, "epoch": self.kept["epoch"]},
            "threshold": threshold_of(labels, scores, rate),
            "normal_scores": normal_scores(labels, scores),
            "figures": {"split": "validation", **self.kept["figures"]},
            "evaluation": dict(order.evaluation),
            "environment": environment(),
            **_bank_hash(self.kept["detector"]),
            **order.purpose,
            "documentation": (item.__doc__ or "").strip().partition("\n")[0],
        }
        return model_folder.write(self.store, detector, manifest)

    def _save(self) -> None:
        import torch

        content = io.BytesIO()
        state = {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "trained": self.trained,
            "attempts": self.attempts,
            "report": self.report,
            "kept": self.kept,
            "part": list(self.part),
            "run": self.run.state_dict(),
            "order": self.order.identity,
        }
        torch.save(state, content)
        self.store.write(self.order.checkpoint, content.getvalue() + digest(content.getvalue()).encode())

    def _restore(self) -> None:
        import torch

        sealed = self.store.read(self.order.checkpoint)
        content, seal = sealed[:-DIGEST_LENGTH], sealed[-DIGEST_LENGTH:]
        if digest(content).encode() != seal:  # torch.load itself would accept changed bytes as weights
            raise StoreError(
                f"{self.store.place(self.order.checkpoint)} is damaged; delete it and resume the sweep: "
                "the trial then starts from the beginning"
            )
        # To the CPU: generator states must stay there; modules and optimisers copy theirs to their own device.
        try:
            state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            raise StoreError(
                f"{self.store.place(self.order.checkpoint)} holds more than tensors and plain values, which is never "
                "loaded; delete it and resume the sweep: the trial then starts from the beginning"
            ) from error
        if state.get("order") != self.order.identity:
            return  # the log lost this trial in a power cut, and another trial now has its number
        self.epoch, self.seconds = state["epoch"], state["seconds"]
        self.trained = state.get("trained", self.seconds)  # an older version counted evaluations as well
        self.report, self.kept, self.attempts = state["report"], state["kept"], state["attempts"] + 1
        if (part := tuple(state.get("part", self.part))) != self.part:
            self._begin(part)
        self.run.load_state_dict(state["run"])
        self.repeat = True


def _bank_hash(tensors: Mapping[str, Any]) -> dict[str, str]:
    """The hash of the normals a detector stores, besides that of its weights; empty if it stores none."""
    banks = [tensor for name, tensor in sorted(tensors.items()) if name.rpartition(".")[2] == "bank"]
    return {"bank_sha256": digest(b"".join(bank.cpu().numpy().tobytes() for bank in banks))} if banks else {}
