"""What only a GPU can show, in phases of at most 8 minutes together; `docs/gpu.md` says what each one is for.

Needs Python, PyTorch, NumPy, SciPy, scikit-learn, PyArrow, PyYAML and pydantic; neither Ray nor Optuna, W&B or click. A
phase that lacks a library says which, and the others run. Images are made here, weights are random. Times are CUDA
events' or the wall's, medians of rounds in which rivals take turns. Each phase ends with a RESULT line, also one that
ran out of its time. `--cpu` runs it all small, to see that it still runs; its figures say nothing.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch
from gpu_parts import (
    DETECTORS,
    Network,
    Scale,
    attacked,
    attacks,
    fitted,
    floats,
    in_turn,
    kernels,
    pseudo_anomalies,
    textures,
    training,
)
from torch import Tensor, nn

from assay import shelves
from assay.contracts import ThreatModel
from assay.norm_balls import streams
from assay.runtime import gpu_memory, retry
from assay.runtime.float32 import exact_float32, rough_float32
from assay.runtime.out_of_memory import in_halves_if_out_of_memory
from assay.shelves import Item

Found = dict[str, Any]
CHECKS = (
    "clean_reproduced", "deterministic", "scored_alone", "epsilon_zero", "best_iterate_kept", "monotone_in_epsilon",
)  # fmt: skip
"""Those that a device's arithmetic could make fail; the first also compares a GPU's scores with a CPU's."""
DRAWS_NOTHING = {"fgsm", "fab", "fmn", "mim", "patch"}


def placement(found: Found, scale: Scale) -> None:
    """Everything once on the device, as the emulation of the tests does; errors are counted and printed."""
    errors, images = 0, textures(4, scale.side)
    detector = Network(scale.side, small=True).to(scale.device)

    def once(what: str, work: Callable[[], object]) -> None:
        nonlocal errors
        found["tried"] = found.get("tried", 0) + 1
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted and shown
            errors += 1
            print(f"placement {what}: {type(error).__name__}: {error}")
        found["errors"] = errors

    for name, norm in attacks():
        small = Scale("cpu")
        once(f"{name} {norm}", lambda: attacked(name, norm, detector, images, small, scale.device))  # noqa: B023
    clean = floats(images, scale.device)
    for name in shelves.names("corruptions"):
        random = streams(torch.Generator(scale.device).manual_seed(0), clean)
        once(name, lambda: shelves.load("corruptions", name)(clean, 3, random))  # noqa: B023 - done at once
    for name, make in pseudo_anomalies(floats(textures(12, scale.side), scale.device)):
        once(name, lambda: make(clean, torch.Generator(scale.device).manual_seed(0)))  # noqa: B023
    for name in DETECTORS:
        once(name, lambda: fitted(name, scale.side, 8, scale.device)(clean))  # noqa: B023


def scores(found: Found, scale: Scale) -> None:
    """Detectors fitted on the CPU, scored there and on the device: in float32, TF32, bfloat16 and small batches."""
    images = textures(scale.count, scale.side, seed=2)
    worst: dict[str, float] = {}
    for key in DETECTORS:
        here = fitted(key, scale.side, 16, "cpu")
        there, pixels = copy.deepcopy(here).to(scale.device), floats(images, scale.device)
        with torch.no_grad():
            clean = here(floats(images, "cpu")).double()
            with exact_float32():
                exact, again = there(pixels), there(pixels)
                parts = {size: torch.cat([there(part) for part in pixels.split(size)]) for size in (1, 3)}
            with rough_float32():
                rough = there(pixels)
            with torch.autocast(scale.device, torch.bfloat16):
                rougher = there(pixels)

        def off(one: Tensor, other: Tensor = clean) -> float:
            return float((one.double().cpu() - other.cpu()).abs().max() / clean.std())  # noqa: B023 - called at once

        moved = {"exact": off(exact), "tf32": off(rough), "bf16": off(rougher), "again": off(again, exact.double())}
        moved["batch"] = max(off(part, exact.double()) for part in parts.values())
        print(f"scores {key}: " + " ".join(f"{name}={value:.1e}" for name, value in moved.items()))
        worst = {name: max(value, worst.get(name, 0.0)) for name, value in moved.items()}
        found |= {name: f"{value:.1e}std" for name, value in worst.items()}
        found["met"] = int(worst["exact"] < 1e-4 and worst["again"] == 0)


def strength(found: Found, scale: Scale) -> None:
    """Each attack on the device against itself on the CPU: the mean shift in the attacker's direction."""
    images = textures(scale.count, scale.side, seed=3)
    here = Network(scale.side, small=True)
    there, clean = copy.deepcopy(here).to(scale.device), here(floats(images, "cpu")).double()
    direction, least, least_tf32, apart = torch.from_numpy(1 - 2 * images.labels), 9.0, 9.0, 0.0
    for name, norm in attacks():
        results = [
            attacked(name, norm, detector, images, scale, device)
            for detector, device in ((here, "cpu"), (there, scale.device))
        ]
        if results[0] is None:
            continue
        cpu, gpu = (one.scores.double().cpu() for one in results)
        shift, wanted = (float((direction * (one - clean)).mean()) for one in (gpu, cpu))
        ratio = shift / wanted if wanted > 1e-6 else 1.0  # an attack that moves nothing here need not there
        print(f"strength {name} {norm}: {ratio:.4f}")
        least = min(least, ratio)
        if name in DRAWS_NOTHING:
            apart = max(apart, float((gpu - cpu).abs().max() / clean.std()))
        if "precision" in shelves.fields(shelves.load("attacks", name)):
            made = attacked(name, norm, there, images, scale, scale.device, precision="tf32").scores
            moved = float((direction * (made.double().cpu() - clean)).mean())
            rough = moved / wanted if wanted > 1e-6 else 1.0
            print(f"strength {name} {norm} tf32: {rough:.4f}")
            least_tf32 = min(least_tf32, rough)
        found |= {"least": f"{least:.4f}", "least_tf32": f"{least_tf32:.4f}", "apart": f"{apart:.1e}std"}
        found["met"] = int(min(least, least_tf32) >= 0.98 and apart <= 1e-3)


def checks(found: Found, scale: Scale) -> None:
    """The checks of an audit on the device, and of the device's scores on the CPU; a trial resumed, bit by bit."""
    import pyarrow as pa

    from assay.audits import self_checks, suite
    from assay.audits.attack_job import AttackJob
    from assay.audits.checks._context import Context
    from assay.audits.tables import columns
    from assay.metrics import detection
    from assay.models import preflight
    from assay.store import score_matrix

    images, side = textures(16 if scale.tiny else 32, scale.side, seed=4), scale.side
    here = Network(side, small=True)
    there, quick = copy.deepcopy(here).to(scale.device), suite.read("quick")
    quick = quick.only([entry for entry in quick.attacks if not entry.needs][: 2 if scale.tiny else None])
    with exact_float32():
        threshold = float(here(floats(images, "cpu")).median())
        about = {"audit": "a", "model": "m", "dataset": "d", "images": images, "seed": 0, "device": scale.device}
        parts = []
        for entry in quick.attacks:
            headline = (quick.headline.norm, quick.headline.epsilon)
            plain = {"entry": entry.plain(), "parameters": entry.hash, "headline": headline, "threshold": threshold}
            parts.append(AttackJob(**about, **plain).compute(images, there)[0])  # type: ignore[arg-type]
        table = pa.concat_tables(parts)
        figures = columns(detection.table(score_matrix.read(table), threshold=threshold, replicates=10))
        preflight.inspect(there, images, threshold, scale.device)
        for where, detector in ((scale.device, there), ("cpu", here)):
            context = Context(detector, images, quick, columns(table), figures, where, {}, threshold)
            results = [self_checks.outcome(name, context) for name in (CHECKS if where != "cpu" else CHECKS[:1])]
            failed = [f"{one.check}: {one.evidence}" for one in results if not one.passed]
            print(f"checks on {where}, failed: {failed or 'none'}")
            found[f"failed_{where}"] = len(failed)
    whole, broken = resumed(scale)
    same = all(torch.equal(whole[key], broken[key]) for key in whole)
    found |= {"resumed_equal": int(same), "met": int(not any(found.values()))}


def resumed(scale: Scale) -> list[dict[str, Tensor]]:
    """The weights after three epochs: in one go, and resumed after the first."""
    item = shelves.load("trainables", "cobra")
    given = shelves.bind(item, {"backbone": "small_resnet", "epochs": 3, "batch_size": 8})
    data = training(16, scale.side)

    def begun() -> Any:
        return item(data, seed=0, device=scale.device, **given)

    whole, first, second = begun(), begun(), begun()
    for _ in range(3):
        whole.train_epoch()
    first.train_epoch()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for _ in range(2):
        second.train_epoch()
    return [run.detector().state_dict() for run in (whole, second)]


def cobra(found: Found, scale: Scale) -> None:
    """A training step as released against the plain transcription of `cobra_step.py`, on the device."""
    import cobra_step

    from trainables._head_and_neighbours import HeadAndNeighbours, ScoreWeights

    def network(precision: Any, last: bool = False) -> HeadAndNeighbours:
        stem = Item("backbones", "resnet18", {"stem": "imagenet"})
        small = Item("backbones", "small_resnet", {"width": 8})
        built = HeadAndNeighbours(small if scale.tiny else stem, 3, ScoreWeights(), embedding=128)
        built.precision = precision
        return built.to(scale.device, memory_format=torch.channels_last if last else torch.contiguous_format).train()  # type: ignore[call-overload,no-any-return]

    images = floats(textures(2 * scale.batch, scale.large), scale.device)

    def step(way: Callable[..., object], net: HeadAndNeighbours, rough: bool = False) -> Callable[[], object]:
        def work() -> object:
            generator = torch.Generator(scale.device).manual_seed(0)
            with rough_float32() if rough else exact_float32():
                return way(net, images, generator)

        return work

    ways = {
        "transcription_tf32": step(cobra_step.rival, network("float32"), rough=True),
        "fp32": step(cobra_step.ours, network("float32", last=True)),
        "tf32": step(cobra_step.ours, network("float32", last=True), rough=True),
        "tf32_plain": step(cobra_step.ours, network("float32"), rough=True),
        "bf16": step(cobra_step.ours, network("bfloat16", last=True)),
    }
    if not scale.tiny:
        compiled = network("bfloat16", last=True)
        compiled.backbone.compile()
        ways["bf16_compiled"] = step(cobra_step.ours, compiled)
        torch.cuda.reset_peak_memory_stats()
    scale.rounds = min(scale.rounds, 3)
    taken = in_turn(ways, scale)
    found |= {f"{name}_ms": f"{value:.1f}" for name, value in taken.items()}
    ratio = taken["tf32"] / taken["transcription_tf32"]
    found |= {
        "ratio": f"{ratio:.3f}",
        "images_s": f"{2000 * scale.batch / taken['tf32']:.0f}",
        "met": int(ratio <= 0.4),
    }
    if not scale.tiny:
        found["peak_gb"] = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}"
    few = images[: 2 * min(4, scale.batch)]
    found["loss_difference"] = f"{cobra_step.difference(few, torch.float64):.1e}"


def audit(found: Found, scale: Scale) -> None:
    """APGD and Square on a ResNet-18 of large images, against a bare loop of the same passes."""
    detector = Network(scale.large, small=scale.tiny).to(scale.device)
    steps, worst = 2 if scale.tiny else 100, 0.0
    for size in (scale.count, scale.many):
        images = textures(size, scale.large, seed=5)
        clean, direction = floats(images, scale.device), torch.from_numpy(1 - 2 * images.labels).to(scale.device)

        def ours(name: str, **given: Any) -> object:
            item = shelves.load("attacks", name)
            random = streams(torch.Generator(scale.device).manual_seed(0), clean)  # noqa: B023 - called at once
            return item(detector, clean, direction, ThreatModel("linf", 2 / 255), random, **shelves.bind(item, given))  # noqa: B023

        def loop() -> object:
            low, high, at = clean - 2 / 255, clean + 2 / 255, clean  # noqa: B023
            detector(clean)  # noqa: B023
            for _ in range(steps):
                at = at.detach().requires_grad_()
                (gradient,) = torch.autograd.grad((direction * detector(at)).sum(), at)  # noqa: B023
                at = (at + 1e-3 * gradient.sign()).clamp(low, high).clamp(0, 1)
            with torch.no_grad():
                return detector(at)

        def forwards() -> object:
            with torch.no_grad():
                return [detector(clean) for _ in range(3 * steps)]  # noqa: B023

        for name, rough in (("exact", exact_float32), ("tf32", rough_float32)):
            scale.rounds = 1
            with rough():
                precision = "tf32" if name == "tf32" else "float32"
                ways = {"apgd": lambda: ours("apgd", steps=steps, precision=precision), "loop": loop}  # noqa: B023
                ways |= {"square": lambda: ours("square", queries=3 * steps), "forwards": forwards}
                taken = in_turn(ways, scale) if name == "exact" or size == scale.many else {}
            if not taken:
                continue
            ratio = taken["apgd"] / taken["loop"]
            found[f"gradients_s_{name}_{size}"] = f"{1000 * steps * size / taken['apgd']:.0f}"
            found[f"ratio_{name}_{size}"] = f"{ratio:.3f}"
            found[f"square_{name}_{size}"] = f"{taken['square'] / taken['forwards']:.3f}"
            worst = max(worst, ratio)
        found |= {"worst": f"{worst:.3f}", "met": int(worst <= 1.05)}
    launched, idle = kernels(lambda: ours("apgd", steps=5), scale)
    found |= {"kernels_a_step": launched // 5, "idle": f"{idle:.2f}"}


def pseudo(found: Found, scale: Scale) -> None:
    """Pseudo-anomalies of a batch of large images: milliseconds on the device, and kernels."""
    clean = floats(textures(scale.batch, scale.large), scale.device)
    slowest = 0.0
    for name, make in pseudo_anomalies(floats(textures(12, scale.large), scale.device)):
        generator = torch.Generator(scale.device).manual_seed(0)
        taken = in_turn({name: lambda: make(clean, generator)}, scale)[name]  # noqa: B023 - called at once
        launched, _ = kernels(lambda: make(clean, generator), scale)  # noqa: B023
        print(f"pseudo {name}: {taken:.1f} ms, {1000 * scale.batch / taken:.0f} images/s, {launched} kernels")
        slowest = max(slowest, taken)
        found |= {"slowest_ms": f"{slowest:.1f}", "of": found.get("of", 0) + 1}


def memory(found: Found, scale: Scale) -> None:
    """What a context takes, whether two processes keep to half each, and what is raised where nothing is left."""
    if scale.tiny:
        found["skipped"] = "no_gpu"
        return
    gb = 2**30
    gpu_memory.give_back()
    before = torch.cuda.mem_get_info()[0]
    found["context_gb"] = f"{(before - int(child('context').split()[-1])) / gb:.2f}"
    found["context_assumed_gb"] = gpu_memory.CONTEXT_GB
    filled = [float(child("fill").split()[-1]) for _ in range(2)]
    total = torch.cuda.get_device_properties(0).total_memory / gb
    found |= {"half_gb": f"{max(filled):.1f}", "of_gb": f"{total:.1f}", "met": int(max(filled) <= total / 2)}
    free = torch.cuda.mem_get_info()[0]

    def work(first: int, last: int) -> int:
        torch.empty((last - first) * (free // 3), dtype=torch.uint8, device="cuda")
        return last - first

    told: list[str] = []
    found |= {"parts": len(in_halves_if_out_of_memory(work, 8, told.append)), "halvings": len(told)}
    held = torch.empty(torch.cuda.mem_get_info()[0] - gb // 8, dtype=torch.uint8, device="cuda")
    told = [child("context")]
    print(f"memory, outside the allocator: {told[0]}")
    found["outside"] = told[0].split()[0]
    del held


def start(found: Found, scale: Scale) -> None:
    """Seconds from a process's start to its first score, and ten pieces in one process beside one in each."""
    began = time.perf_counter()
    child("score", "1", scale.device)
    one = time.perf_counter() - began
    began = time.perf_counter()
    child("score", "2" if scale.tiny else "10", scale.device)
    ten = time.perf_counter() - began
    found |= {"first_s": f"{one:.1f}", "ten_in_one_s": f"{ten:.1f}", "ten_in_ten_s": f"{10 * one:.1f}"}


def child(*work: str) -> str:
    """The last line of another process that does this."""
    command = [sys.executable, __file__, "--child", *work]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return lines[-1] if lines else f"exit {done.returncode}"


def do(work: str, *more: str) -> None:
    """What a child does: takes a context, fills its half of the memory, or scores so many pieces."""
    if work == "score":
        count, device = int(more[0]), more[1]
        for number in range(count):
            detector = Network(32, small=True).to(device)
            print(float(detector(floats(textures(4, 32, seed=number), device)).sum()))
        return
    try:
        if work == "context":
            nn.Conv2d(3, 64, 3).to("cuda")(torch.zeros(4, 3, 64, 64, device="cuda")).mean().item()
            print(f"free_bytes {torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()}")
            return
        gpu_memory.keep_to(0.5)
        kept = []
        while True:
            kept.append(torch.empty(2**28, dtype=torch.uint8, device="cuda"))
    except RuntimeError as error:
        if work == "fill":
            print(f"reserved_gb {torch.cuda.memory_reserved() / 2**30}")
        else:
            print(f"{retry.kind(error)} {str(error).splitlines()[0]}")


PHASES: dict[str, tuple[int, Callable[[Found, Scale], None]]] = {
    "placement": (20, placement),
    "scores": (60, scores),
    "strength": (90, strength),
    "checks": (40, checks),
    "cobra": (120, cobra),
    "audit": (60, audit),
    "pseudo": (40, pseudo),
    "memory": (20, memory),
    "start": (20, start),
}
"""Phase -> its seconds at most, and what it does."""


class TimeUpError(Exception):
    """A phase has used its time."""


def up(*_: object) -> None:
    raise TimeUpError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--only", choices=PHASES, nargs="+", default=[*PHASES])
    parser.add_argument("--child", nargs="+")
    arguments = parser.parse_args()
    if arguments.child:
        do(*arguments.child)
        return
    device = "cpu" if arguments.cpu else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch sees no GPU here; --cpu runs everything small on the CPU")
    card = "none" if arguments.cpu else torch.cuda.get_device_name(0)
    print(f"card {card}, torch {torch.__version__}, CUDA {torch.version.cuda}, cores {os.cpu_count()}")
    importlib.import_module("torch._dynamo")  # now: an import that the alarm breaks off cannot be made again
    signal.signal(signal.SIGALRM, up)
    for name in arguments.only:
        seconds, phase = PHASES[name]
        found: Found = {}
        began = time.perf_counter()
        signal.alarm(0 if arguments.cpu else seconds)
        try:
            phase(found, Scale(device))
        except TimeUpError:
            found["complete"] = 0
        except ModuleNotFoundError as error:
            found["lacks"] = error.name
        except Exception as error:  # noqa: BLE001 - the other phases are still worth their time
            traceback.print_exc()
            found["failed"] = type(error).__name__
        finally:
            signal.alarm(0)
        gpu_memory.give_back()
        print("RESULT", name, *(f"{key}={value}" for key, value in found.items()), flush=True)
        print(f"{name}: {time.perf_counter() - began:.0f} s of {seconds}", flush=True)


if __name__ == "__main__":
    main()
