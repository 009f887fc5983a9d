"""A trainable that trains nothing: parameters of every kind, for tests of search spaces. Named `toy_trainable:Toy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict

from assay.shelves import Item, Shelf
from assay.units import Count, Epsilon, NonNegative, Positive

if TYPE_CHECKING:
    from fractions import Fraction


class Adversary(BaseModel):
    """The training adversary."""

    model_config = ConfigDict(extra="forbid")

    epsilon: Epsilon = 2 / 255
    steps: Count = 3


class Loss(BaseModel):
    """Weights of the loss terms."""

    model_config = ConfigDict(extra="forbid")

    classification: Positive = 1.0
    opposite: NonNegative = 0.0


class Toy:
    """One run of nothing."""

    def __init__(
        self,
        data: Any,
        *,
        seed: int,
        device: str = "cpu",
        epochs: Count = 20,
        batch_size: Annotated[int, Ge(4)] = 48,
        optimizer: Literal["adam", "sgd"] = "adam",
        widths: list[Count] | None = None,
        backbone: Annotated[Item, Shelf("backbones")] = Item("backbones", "small_resnet", {}),
        pseudo_anomaly: Annotated[Item, Shelf("pseudo_anomalies")] = Item("pseudo_anomalies", "cutpaste", {}),
        adversary: Adversary = Adversary(),
        loss: Loss = Loss(),
    ) -> None:
        """Do nothing."""
        self.epochs = epochs

    @classmethod
    def build(cls, **parameters: Any) -> Any:
        """Nothing."""

    def train_epoch(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def detector(self) -> Any:
        """Nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""


class Needy(Toy):
    """A trainable with a parameter that has no default."""

    def __init__(self, data: Any, *, seed: int, device: str = "cpu", rank: Count) -> None:
        """Do nothing."""


class Hidden(Toy):
    """A trainable whose annotations cannot be read at run time."""

    def __init__(self, data: Any, *, seed: int, share: Fraction) -> None:
        """Do nothing."""


def not_a_trainable(*, epochs: Count = 1) -> None:
    """A function, which cannot train."""
