"""Reading large photographs: parallel and once, against a plain loop of Pillow on one core.

    python benchmarks/decoding.py          about 3 minutes and 400 MB of disk on two cores

Makes 400 JPEGs of 12 megapixels, as `folder` datasets have them, and reads them at 256 x 256: a plain loop (open, turn
upright, convert, resize; no reduced decoding, on either side), then the dataset `folder` and `assay.data`, which also
hash the files and their pixels, split and look for repeats, and again as the next command would. RESULT
images_per_second_ratio= second_start_ratio=; targets 1.8 and 0.02.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from assay.data import splits
from assay.datasets.folder import folder

SIDE = 256


def photographs(root: Path, count: int) -> list[Path]:
    """Different JPEGs of 4000 x 3000 pixels, four in five of them in `good`, the others in `bad`."""
    random, files = np.random.default_rng(0), []
    for number in range(count):
        file = root / ("bad" if number % 5 == 0 else "good") / f"{number:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(90, 160, (300, 400, 3)).astype(np.uint8))
        coarse.resize((4000, 3000)).save(file, quality=85)
        files.append(file)
    return files


def plain_loop(files: list[Path]) -> float:
    """Seconds that a plain loop takes."""
    started = time.perf_counter()
    for file in files:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            np.asarray(upright.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return time.perf_counter() - started


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "images"
        os.environ["ASSAY_CACHE"] = str(Path(scratch) / "cache")
        files = photographs(root, count)
        plain_loop(files)  # everything is in the memory of the system from here on
        loop = plain_loop(files)
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            dataset = folder(root=str(root), normal="good", anomalous="bad", image_size=SIDE)
            splits.training_data(dataset)
            seconds.append(time.perf_counter() - started)
    first, second = seconds
    print(f"{count} images: plain loop {loop:.1f} s, first command {first:.1f} s, second {second:.2f} s")
    print(f"RESULT images_per_second_ratio={loop / first:.2f} second_start_ratio={second / first:.4f}")


if __name__ == "__main__":
    main()
