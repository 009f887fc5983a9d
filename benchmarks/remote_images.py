"""The first epoch on images in object storage, against the same images in a folder, and the next sweep on them.

    python benchmarks/remote_images.py          about 4 minutes on two cores

Pushes 2,000 JPEGs of 512 x 512 pixels to an S3 service of moto's on this machine, then times, each with an empty cache:
a `folder` dataset is read, hashed and decoded at 512 px, and the trainable `neighbours` on a small network is trained
for its epoch and scored on the validation split. The second sweep begins with what the first one has left. The S3
service takes its time from the same cores. RESULT ratio= second=; targets 1.3 and 1.02.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
from PIL import Image

from assay import shelves
from assay.data import splits
from assay.datasets.folder import folder
from assay.models.scoring import clean_scores
from assay.remote.push import push

SIDE = 512


def photographs(root: Path, count: int) -> None:
    """Different JPEGs of a grained surface, one in ten of them in `bad`, the others in `good`."""
    random = np.random.default_rng(0)
    for number in range(count):
        file = root / ("bad" if number % 10 == 0 else "good") / f"{number:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(70, 180, (SIDE // 4, SIDE // 4, 3)).astype(np.uint8))
        grain = random.normal(0, 4, (SIDE, SIDE, 1))
        pixels = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) + grain
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=90)


@contextlib.contextmanager
def service() -> Iterator[str]:
    """An S3 service in a process of its own, and a bucket in it; its URL is in the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=quiet, stderr=quiet)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        boto3.client("s3").create_bucket(Bucket="images")
        yield "s3://images/line-9"
    finally:
        server.kill()
        server.wait()


def first_epoch(root: str, cache: Path) -> float:
    """Seconds from nothing to the scores after the first epoch."""
    os.environ["ASSAY_CACHE"] = str(cache)
    started = time.perf_counter()
    dataset = folder(root=root, normal="good", anomalous="bad", image_size=SIDE)
    data = splits.training_data(dataset)
    function = shelves.load("trainables", "neighbours")
    trained = function(data, seed=0, **shelves.bind(function, {"backbone": {"small_resnet": {"width": 8}}}))
    trained.train_epoch()
    clean_scores(trained.detector(), data.validation)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, service() as url:
        root = Path(scratch) / "line-9"
        photographs(root, given.images)
        push(root, url)
        taken: dict[str, list[float]] = {"near": [], "far": [], "near again": [], "far again": []}
        for at in range(given.rounds):
            for name, place in (("near", str(root)), ("far", url)):
                cache = Path(scratch) / f"{name} {at}"
                taken[name].append(first_epoch(place, cache))
                taken[f"{name} again"].append(first_epoch(place, cache))
                print(
                    f"round {at}, {name}: {taken[name][-1]:.1f} s, again {taken[f'{name} again'][-1]:.1f} s", flush=True
                )
        seconds = {name: statistics.median(values) for name, values in taken.items()}
    ratio, second = seconds["far"] / seconds["near"], seconds["far again"] / seconds["near again"]
    print(f"RESULT ratio={ratio:.3f} second={second:.3f}")


if __name__ == "__main__":
    main()
