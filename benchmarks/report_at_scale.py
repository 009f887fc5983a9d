"""The report of a large audit: the time of the page and of its PDF, the memory, and how large the page is.

    python benchmarks/report_at_scale.py        2 minutes

An audit of 5,000 samples under 40 settings (8 attacks at 5 budgets), two kinds of defect, 12 pictures of 256 x 256
pixels in colour, 24 trials. Page and PDF are made in processes of their own, after the imports. Targets: the page in
15 s and 1 GB, at most 3 MB large; the PDF in 60 s. On a machine that does other work too, look at processor seconds.
"""

from __future__ import annotations

import os
import resource
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures_at_scale import tables_of, write
from PIL import Image

from assay.reports import page, pdf
from assay.store.schemas import WORST

SAMPLES, PICTURES, SIDE = 5_000, 12, 256


def pictures(folder: Path) -> None:
    """Replace the pictures of worst samples: 12 of a size and noise that do not compress well."""
    [first, *_] = pq.read_table(folder / "worst.parquet").to_pylist()
    rng, rows = np.random.default_rng(3), []
    for number in range(PICTURES):
        clean = np.clip(rng.normal(128, 30, (SIDE, SIDE, 3)), 2, 253).astype(np.int16)
        changed = clean + rng.choice([-2, 2], clean.shape)
        rows.append({**first, "sample": f"cell{number}.png", "clean_png": png(clean), "adversarial_png": png(changed)})
    pq.write_table(pa.Table.from_pylist(rows, schema=WORST), folder / "worst.parquet")


def png(pixels: np.ndarray) -> bytes:
    """Pixels (H, W, 3) as the bytes of a PNG."""
    stream = BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def timed(step: str, folder: Path) -> None:
    """Make the page or the PDF; prints wall seconds, processor seconds, peak memory in MB and the size in MB."""
    if step == "pdf":
        import weasyprint  # noqa: F401 - not a part of the time
    started, cpu = time.perf_counter(), time.process_time()
    made = Path(page.write(folder) if step == "page" else pdf.write(folder))
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, made.stat().st_size / 2**20)


def main() -> None:
    """Measure, print and compare with the targets."""
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    fixture = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "support" / "report_fixture.py"))
    told = {}
    with tempfile.TemporaryDirectory() as name:
        folder = fixture["build"](Path(name))
        shutil.rmtree(folder / "scores")
        write(folder, SAMPLES)
        tables_of(folder, 200)
        pictures(folder)
        for step in ("page", "pdf"):
            command = [sys.executable, __file__, step, str(folder)]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            told[step] = list(map(float, output.split()))
            wall, cpu, peak, size = told[step]
            print(f"{step}: {wall:.1f} s ({cpu:.1f} s of a processor), peak {peak:.0f} MB, {size:.2f} MB large")
    (wall, cpu, peak, size), (pdf_wall, pdf_cpu, *_) = told["page"], told["pdf"]
    met = {
        "page 15 s": wall <= 15, "page 15 s of a processor": cpu <= 15, "1 GB": peak <= 1024, "3 MB": size <= 3,
        "PDF 60 s": pdf_wall <= 60, "PDF 60 s of a processor": pdf_cpu <= 60,
    }  # fmt: skip
    for target, kept in met.items():
        print(f"target {target}: {'met' if kept else 'MISSED'}")
    print(f"RESULT seconds={wall:.1f} peak_mb={peak:.0f} html_mb={size:.2f} pdf_seconds={pdf_wall:.1f}")


if __name__ == "__main__":
    timed(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) > 2 else main()
