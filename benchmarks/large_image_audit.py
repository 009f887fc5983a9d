"""How long `assay audit` takes on a detector from elsewhere with large images: ResNet-18, 256 px, suite `quick`, 8 + 8.

The weights are random: the time does not depend on them. Prints the seconds of every piece, then

    RESULT seconds=... attacks=... checks=... forecast=...

seconds: of the whole, without bringing the detector in. attacks, checks: summed over pieces, however many at a time.
forecast: the seconds that were forecast before the work, over those of the whole.

    python benchmarks/large_image_audit.py             # at most 5 minutes on 2 cores
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from assay.audits import audit, forecast_text, suite
from assay.audits.audit import Progress
from assay.audits.forecast import Forecast
from assay.models import card
from assay.store.store import Store
from trainables.backbones.resnet18 import resnet18

SIDE, EACH = 256, 8


class Distance(nn.Module):
    """Images (B, 3, H, W) -> squared distance (B,) of their features to those of a grey image."""

    def __init__(self) -> None:
        super().__init__()
        self.network = resnet18(channels=3, stem="imagenet").eval()
        with torch.no_grad():
            self.register_buffer("centre", self.network(torch.full((1, 3, SIDE, SIDE), 0.5)))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        return (self.network(images) - self.centre).square().sum(1)


def exported() -> bytes:
    """The detector as a .pt2 file."""
    torch.manual_seed(0)
    content = io.BytesIO()
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(Distance().eval(), (torch.rand(2, 3, SIDE, SIDE),), dynamic_shapes=shapes)
    torch.export.save(program, content)
    return content.getvalue()


def photographs(folder: Path) -> None:
    """Images in the layout of MVTec AD: soft clouds, anomalies with a square of noise on them."""
    random = np.random.default_rng(0)
    for part, count in (("train/good", 30), ("test/good", 10), ("test/spot", 14)):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            coarse = random.integers(90, 160, (8, 8, 3), dtype=np.uint8)
            pixels = np.array(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
            if part.endswith("spot"):
                top, left = random.integers(20, 160, 2)
                pixels[top : top + 70, left : left + 70] = random.integers(0, 256, (70, 70, 3))
            Image.fromarray(pixels).save(folder / part / f"{number:03}.png")


def main() -> None:
    """Audit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="pieces of the attacks at a time (default: 2)")
    parser.add_argument("--suite", default="quick", help="the suite (default: quick)")
    given = parser.parse_args()
    spent = {"attacks": 0.0, "checks": 0.0}

    def on_progress(progress: Progress) -> None:
        spent["checks" if progress.work.startswith("check ") else "attacks"] += progress.seconds
        print(f"{progress.done:3}/{progress.total} {progress.work:40} {progress.seconds:7.1f} s", flush=True)

    ahead: list[Forecast] = []

    def on_forecast(forecast: Forecast) -> None:
        ahead.append(forecast)
        print(forecast_text.text(forecast), flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["ASSAY_CACHE"] = str(folder / "cache")
        photographs(folder / "images")
        (folder / "detector.pt2").write_bytes(exported())
        about = {
            "dataset": {"name": "mvtec", "root": str(folder / "images"), "image_size": SIDE},
            "threshold": {"false_alarm_rate": 0.2},
        }
        (folder / "detector.yaml").write_text(yaml.safe_dump(about))
        store = Store(folder / "store")
        model = card.bring(store, str(folder / "detector.pt2"))
        began = time.monotonic()
        audit.run(
            store,
            model,
            suite.read(given.suite),
            limit=EACH,
            workers=given.workers,
            on_progress=on_progress,
            on_forecast=on_forecast,
        )
        seconds = time.monotonic() - began
    print(f"RESULT seconds={seconds:.0f} attacks={spent['attacks']:.0f} checks={spent['checks']:.0f}", end=" ")
    print(f"forecast={ahead[0].seconds / seconds:.2f}")


if __name__ == "__main__":
    main()
