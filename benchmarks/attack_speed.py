"""What an attack costs beyond its passes, what bfloat16 saves, and what eight epsilons cost beside one.

PGD-20 (linf 8/255, path 2.5 epsilon, from the clean image) on a ResNet-18 with a CIFAR stem, random weights, batch norm
calibrated on random images, a linear head as score; 64 images of 3 x 32 x 32, one thread. Figures are CPU seconds of
the process, all rivals in turn in every round, medians of the rounds' ratios. About 10 minutes.

loop_fp32: ours in float32 over a bare loop (raw score, autograd.grad, clamp to a precomputed box) that also scores the
clean and the final images once each, which any use of it has to; the ratio to a loop without is printed too.
foolbox_bf16: ours with `precision: bfloat16` over foolbox's LinfPGD, called as a user would, on the 2-logit wrapper
with frozen weights. The mean shift of both, confirmed in float32, is printed: ours must be the same or larger.
eight_epsilons: 1/255 to 8/255, each begun from the last with `warm_steps`, over 8/255 alone. Foolbox runs eight times.
The mean shift at 8/255 is printed beside that of a cold start with all steps.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import foolbox
import torch
from torch import Tensor, nn

from assay.attacks.pgd import pgd
from assay.contracts import ThreatModel
from assay.norm_balls import streams
from trainables.backbones._resnet import ResNet

EPSILON, STEPS, PATH, BATCH, WARM_STEPS = 8 / 255, 20, 2.5, 64, 4


class Detector(nn.Module):
    """Images (B, 3, H, W) in [0, 1] -> scores (B,); frozen, in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ResNet(3, width=64, blocks=2, stem="cifar")
        self.head = nn.Linear(self.net.features, 1)
        generator = torch.Generator().manual_seed(0)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                spread = (2 / module.weight[0].numel()) ** 0.5
                module.weight.data = spread * torch.randn(module.weight.shape, generator=generator)
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # a plain mean over the batches below
        with torch.no_grad():
            for _ in range(2):
                self(torch.rand(BATCH, 3, 32, 32, generator=generator))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """The score of every image."""
        return self.head(self.net(images)).squeeze(1)


class TwoLogits(nn.Module):
    """The detector as the classifier that foolbox asks for."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 2) of normal and anomalous."""
        score = self.detector(images)
        return torch.stack([-score / 2, score / 2], 1)


def loop(detector: nn.Module, images: Tensor, direction: Tensor) -> Tensor:
    """The least that a PGD can do: the last image."""
    low, high = (images - EPSILON).clamp(min=0), (images + EPSILON).clamp(max=1)
    at = images
    for _ in range(STEPS):
        at = at.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((direction * detector(at)).sum(), at)
        at = (at.detach() + PATH * EPSILON / STEPS * gradient.sign()).clamp(low, high)
    return at


def main() -> None:
    """Time all of them, round by round, and print the ratios."""
    parser = argparse.ArgumentParser(description="What attacks cost.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of which the median is taken")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    detector, generator = Detector(), torch.Generator().manual_seed(1)
    images = torch.rand(BATCH, 3, 32, 32, generator=generator)
    direction = torch.tensor([1.0, -1.0]).repeat(BATCH // 2)
    with torch.no_grad():
        clean = detector(images)

    def shift(found: Tensor) -> float:
        with torch.no_grad():
            return float((direction * (detector(found) - clean)).mean())

    def ours(epsilon: float = EPSILON, start: Tensor | None = None, precision: str = "float32") -> Tensor:
        return pgd(
            detector,
            images,
            direction,
            ThreatModel("linf", epsilon),
            streams(torch.Generator().manual_seed(0), images),
            start=start,
            steps=STEPS,
            step_size=PATH,
            random_start=False,
            warm_steps=WARM_STEPS,
            precision=precision,
        ).images

    def scored_loop() -> Tensor:
        shift(images)
        found = loop(detector, images, direction)
        shift(found)
        return found

    def rival() -> Tensor:
        model = foolbox.PyTorchModel(TwoLogits(detector).eval(), bounds=(0, 1), device="cpu")
        attack = foolbox.attacks.LinfPGD(rel_stepsize=PATH / STEPS, steps=STEPS, random_start=False)
        labels = (direction < 0).long()  # away from 0: raise; away from 1: lower
        _, found, _ = attack(model, images, foolbox.criteria.Misclassification(labels), epsilons=EPSILON)
        return found

    def eight() -> Tensor:
        found = None
        for level in range(1, 9):
            found = ours(level * EPSILON / 8, start=found)
        assert found is not None
        return found

    contenders: dict[str, Callable[[], Tensor]] = {
        "bare loop": lambda: loop(detector, images, direction),
        "bare loop, clean and final scored": scored_loop,
        "ours": ours,
        "ours, bfloat16": lambda: ours(precision="bfloat16"),
        "foolbox": rival,
        "ours, 8 epsilons": eight,
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    found = {name: run() for name, run in contenders.items()}  # warms up, untimed
    for _ in range(rounds):
        for name, run in contenders.items():
            began = time.process_time()
            run()
            seconds[name].append(time.process_time() - began)

    def ratio(one: str, other: str) -> float:
        # Of neighbours in time: a machine that slows down for a while slows both.
        return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))

    for name in contenders:
        times = " ".join(f"{second:.2f}" for second in seconds[name])
        print(f"{name:34s} median {statistics.median(seconds[name]):6.2f} s  shift {shift(found[name]):.6f}  ({times})")
    by_bf16, by_foolbox = shift(found["ours, bfloat16"]), shift(found["foolbox"])
    print(f"ours over a loop that scores neither the clean nor the final images: {ratio('ours', 'bare loop'):.3f}")
    print(f"mean shift in float32, ours by bfloat16 over foolbox: {by_bf16 / by_foolbox:.5f}")
    print(f"mean shift at 8/255, warm over cold: {shift(found['ours, 8 epsilons']) / shift(found['ours']):.5f}")
    figures = {
        "loop_fp32": ratio("ours", "bare loop, clean and final scored"),
        "foolbox_bf16": ratio("ours, bfloat16", "foolbox"),
        "eight_epsilons": ratio("ours, 8 epsilons", "ours"),
    }
    print("RESULT " + " ".join(f"{name}={value:.3f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
