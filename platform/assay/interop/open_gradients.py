"""Opens the places where a forward pass turns gradients off, and says why a score has none.

Libraries extract features under `torch.no_grad()`, because they never train their backbone. The score is the same with
and without gradients, so an attacker who has the weights has the gradient as well: closed places hide it from nobody
but the audit.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

DETACHING = (torch.Tensor.detach, torch.Tensor.detach_, torch.detach, torch.Tensor.data.__get__)  # type: ignore[attr-defined]
NO_GRAD, DETACH, INFERENCE, INTEGERS = "no_grad", "detach", "inference mode", "integers"
WORDS = {
    NO_GRAD: "a `torch.no_grad` in its forward",
    DETACH: "a `detach()` in its forward",
    INFERENCE: "an inference mode in its forward",
    INTEGERS: "an operation that gives whole numbers or decisions",
}
REMEDIES = {
    NO_GRAD: "take it out, or export the detector inside `torch.no_grad()`, which leaves these regions out of the file",
    DETACH: "take it out of the path from the image to the score",
    INFERENCE: "use `torch.no_grad` around the call instead, outside the forward",
    INTEGERS: "return the score from before it, or a smooth one in its place",
}
OWN = (str(Path(torch.__file__).parent), __file__)
SHOWN = 3  # places that are named


class Place(NamedTuple):
    """Where a gradient ends: the kind (a key of WORDS), and `file.py:line` of the code that is not torch's own."""

    kind: str
    where: str


class Opened(TorchFunctionMode):
    """While entered, `torch.no_grad` and `torch.set_grad_enabled(False)` do nothing; `places` says where they are.

    detach: leave `detach()` and `.data` out, too. closed: open nothing, and only note the places.
    """

    def __init__(self, *, detach: bool = False, closed: bool = False) -> None:
        super().__init__()
        self.detach, self.closed = detach, closed
        self.places: dict[Place, None] = {}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, or leave it out."""
        if function is torch._C._set_grad_enabled and not args[0]:
            self._note(NO_GRAD)
            if not self.closed:
                return None
        if function in DETACHING and args[0].requires_grad:
            self._note(DETACH)
            if self.detach:
                return args[0]
        result = function(*args, **(kwargs or {}))
        if self.closed and _made_of_integers(result) and any(isinstance(a, Tensor) and a.requires_grad for a in args):
            self._note(INTEGERS, getattr(function, "__name__", ""))
        return result

    def _note(self, kind: str, what: str = "") -> None:
        frames = [f for f in traceback.extract_stack() if not f.filename.startswith(OWN) and f.filename[0] != "<"]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        self.places.setdefault(Place(kind, f"{what} at {where}" if what else where))


def _made_of_integers(result: Any) -> bool:
    return isinstance(result, Tensor) and not result.is_floating_point() and not result.is_complex()


@contextmanager
def opened(mode: Opened) -> Iterator[None]:
    """Let gradients through regions without them, and through `torch.inference_mode`, in this thread's calls."""
    region = torch.inference_mode
    enter, leave = region.__enter__, region.__exit__

    def stay_outside(self: Any) -> None:
        if self.mode:
            mode._note(INFERENCE)
        self._inference_mode_context = nullcontext() if self.mode else torch._C._InferenceMode(False)
        self._inference_mode_context.__enter__()

    region.__enter__ = stay_outside  # type: ignore[method-assign]
    try:
        with mode:
            yield
    finally:
        region.__enter__, region.__exit__ = enter, leave  # type: ignore[method-assign]


def why_none(detector: Callable[[Tensor], Any], images: Tensor) -> str:
    """Why the score of a detector has no gradient with respect to images (B, C, H, W), and what to do, as one text."""
    own: str | None = getattr(detector, "black_box", None)
    if own is not None:
        return own
    watch = Opened(closed=True)
    try:
        with torch.enable_grad(), watch:
            asked = images.clone().requires_grad_(True)
            scores = detector(asked)
        if scores.requires_grad:
            torch.autograd.grad(scores.sum(), asked, allow_unused=True)
        if scores.is_inference():
            return f"{WORDS[INFERENCE]}; {REMEDIES[INFERENCE]}"
        for kind in (NO_GRAD, DETACH):
            if opens(detector, images, detach=kind == DETACH):
                return _text(watch, kind)
    except RuntimeError as error:  # raised by torch if some operation has no derivative
        return f"torch says: {' '.join(str(error).split())[:300]}"
    if any(place.kind == INTEGERS for place in watch.places):
        return _text(watch, INTEGERS)
    return (
        "no operation of torch leads from the image to the score: does it pass through numpy, a file or another "
        "runtime? Compute it with torch operations"
    )


def opens(detector: Callable[[Tensor], Any], images: Tensor, *, detach: bool = False) -> bool:
    """Whether the score depends on the images by a gradient once the closed places are opened."""
    asked = images.clone().requires_grad_(True)
    with torch.enable_grad(), opened(Opened(detach=detach)):
        scores = detector(asked)
    return bool(scores.requires_grad) and torch.autograd.grad(scores.sum(), asked, allow_unused=True)[0] is not None


def _text(watch: Opened, kind: str) -> str:
    where = [place.where for place in watch.places if place.kind == kind and place.where][:SHOWN]
    return f"{WORDS[kind]} ({', '.join(where) or 'of an exported program'}); {REMEDIES[kind]}"
