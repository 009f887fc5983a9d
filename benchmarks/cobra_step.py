"""One training step of COBRA as published against a plain transcription of it: same loss, how much of the time.

The rival is written here as the procedure reads: images augmented one by one, three separate PGD-10 attacks that encode
their target again at every step and call `backward()` into all weights, then the step itself. Both are given the same
pseudo-anomalies, views and random starts. Times are of the processor; steps are taken in turn, and as a machine is at
times slower for a while, `ratio_*` is the median over the rounds of ours over the rival's of the same round: the whole
step in float32, with `channels_last`, and in bfloat16 beside it.
`loss_difference` is between the losses of one step in float64: in float32 the sign of a gradient near 0 is a matter of
rounding, so that the two go apart by 1e-5 to 1e-3 of the loss, which is printed too.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.shelves import Item
from trainables._adversary import Adversary
from trainables._cobra_loss import CobraLoss
from trainables._cobra_steps import Step, terms
from trainables._head_and_neighbours import HeadAndNeighbours, ScoreWeights
from trainables._views import Views

NORMALS, SIDE, STEPS, EPSILON, TEMPERATURE, SEED = 8, 64, 10, 4 / 255, 0.5, 0
LOSS = CobraLoss(classification=1, contrastive=1, pairs="nt_xent", temperature=TEMPERATURE)
ADVERSARY = Adversary(epsilon=EPSILON, steps=STEPS, budget="fixed")
VIEWS = Views(flips=True, jitter=0.4)


def network(precision: str) -> HeadAndNeighbours:
    """A small ResNet-18 (two blocks a stage, width 16) with COBRA's head and projection."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        built = HeadAndNeighbours(Item("backbones", "small_resnet", {"blocks": 2}), 3, ScoreWeights(), embedding=128)
    built.precision = precision
    return built.train()


def difference(images: Tensor, dtype: torch.dtype) -> float:
    """Of the losses of one step, ours and the rival's."""
    nets = [network("float32").to(images.device, dtype) for _ in range(2)]
    one, other = (
        way(net, images.to(dtype), torch.Generator(images.device).manual_seed(SEED))
        for way, net in zip((ours, rival), nets, strict=True)
    )
    return abs(float(one - other))


def ours(net: HeadAndNeighbours, images: Tensor, generator: torch.Generator) -> Tensor:
    """The loss of one step of the trainable, its gradients left in the weights."""
    step = Step(net, images, ADVERSARY, LOSS, VIEWS, generator)
    total = LOSS.total(terms(step, "as_released"))
    torch.autograd.backward(total)
    return total.detach()


def view_of_each(images: Tensor, generator: torch.Generator) -> Tensor:
    """A view of every image, one at a time: flips, contrast, brightness."""
    flip, turn, contrast, brightness = (
        torch.rand(len(images), generator=generator, device=generator.device) for _ in range(4)
    )
    views = []
    for n, image in enumerate(images):
        image = image.flip(2) if flip[n] < 0.5 else image
        image = image.flip(1) if turn[n] < 0.5 else image
        mean = image.mean()
        image = (image - mean) * (1 + VIEWS.jitter * (2 * contrast[n] - 1)) + mean
        views.append((image * (1 + VIEWS.jitter * (2 * brightness[n] - 1))).clamp(0, 1))
    return torch.stack(views)


def rival_nt_xent(rows: Tensor, views: int) -> Tensor:
    """NT-Xent of rows (views * B, D), the sum over the positives of a row, pair by pair of blocks."""
    count = len(rows) // views
    similarity = (rows @ rows.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    log_p = similarity - similarity.exp().sum(1, keepdim=True).log()
    blocks = [
        log_p[a * count : (a + 1) * count, b * count : (b + 1) * count] for a in range(views) for b in range(views)
    ]
    pairs = [block.diagonal().sum() for n, block in enumerate(blocks) if n // views != n % views]
    return -torch.stack(pairs).sum() / len(rows)


def rival_pgd(net: HeadAndNeighbours, loss: Callable[[Tensor], Tensor], images: Tensor, start: Tensor) -> Tensor:
    """PGD-10 in linf, in eval mode, by way of `backward()`."""
    net.eval()
    moved = (images - EPSILON).clamp(0, 1)
    moved = moved + ((images + EPSILON).clamp(0, 1) - moved) * start
    for _ in range(STEPS):
        moved = moved.detach().requires_grad_(True)
        net.zero_grad()
        loss(moved).backward()
        moved = moved + 2.5 * EPSILON / STEPS * moved.grad.sign()
        moved = torch.min(torch.max(moved, images - EPSILON), images + EPSILON).clamp(0, 1)
    net.train()
    return moved.detach()


def rival(net: HeadAndNeighbours, images: Tensor, generator: torch.Generator) -> Tensor:
    """The loss of one step of the published procedure."""
    first, second = view_of_each(images, generator), view_of_each(images, generator)
    normals = len(images) // 2
    order = torch.randperm(normals, generator=generator, device=generator.device)
    others = torch.cat([second[normals:][order], second[:normals][order]])
    starts = torch.rand((3 * len(images), *images.shape[1:]), generator=generator, device=generator.device).chunk(3)
    labels = (torch.arange(len(images), device=images.device) >= normals).float()

    def towards(target: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda moved: rival_nt_xent(torch.cat([net.embeddings(target), net.embeddings(moved)]), 2)

    def classified(moved: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(net.logits(moved), labels)

    positive = rival_pgd(net, towards(second), first, starts[0])
    negative = rival_pgd(net, lambda moved: -towards(others)(moved), first, starts[1])
    attacked = rival_pgd(net, classified, first, starts[2])
    net.zero_grad()
    features = net.features(torch.cat([first, second, positive, negative, attacked])).chunk(5)
    contrastive = rival_nt_xent(torch.cat([net.embeddings_of(part) for part in features[:4]]), 4)
    logits = torch.cat([net.logits_of(features[n]) for n in (0, 1, 4)])
    total = contrastive + F.binary_cross_entropy_with_logits(logits, labels.repeat(3))
    total.backward()
    return total.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = torch.rand(2 * NORMALS, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(SEED))
    images = F.avg_pool2d(images, 5, 1, 2)
    ways = {
        "rival": (rival, "float32", False),
        "plain": (ours, "float32", False),
        "fp32": (ours, "float32", True),
        "bf16": (ours, "bfloat16", True),
    }
    losses: dict[str, float] = {}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.repeat):
        for name, (way, precision, last) in ways.items():
            layout = torch.channels_last if last else torch.contiguous_format
            net, given = network(precision).to(memory_format=layout), images.contiguous(memory_format=layout)
            started = time.process_time()
            losses[name] = float(way(net, given, torch.Generator().manual_seed(SEED)))
            seconds[name].append(time.process_time() - started)
    shares = {}
    for name, found in seconds.items():
        ratios = [own / rivals for own, rivals in zip(found, seconds["rival"], strict=True)]
        shares[name] = statistics.median(ratios)
        print(
            f"{name:6} {statistics.median(found):.2f} s a step, {shares[name]:.3f} of the rival's "
            f"({min(ratios):.3f} to {max(ratios):.3f}), loss {losses[name]:.6f}"
        )
    print(f"loss difference in float32: {difference(images, torch.float32):.1e}")
    result = " ".join(f"ratio_{name}={shares[name]:.3f}" for name in ("plain", "fp32", "bf16"))
    print(f"RESULT {result} loss_difference={difference(images, torch.float64):.1e}")


if __name__ == "__main__":
    main()
