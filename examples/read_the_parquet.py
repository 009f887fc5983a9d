"""Read the scores of an audit with pandas alone and plot them: python examples/read_the_parquet.py

Run one of the other examples first. Nothing of Assay is imported: its files can be read without it.
"""

from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
newest = max(Path("example-store/audits").iterdir(), key=lambda folder: folder.stat().st_mtime)
scores = pd.read_parquet(newest / "scores")  # a row for each sample, attack and epsilon
strongest = scores[scores.norm == "linf"].groupby("attack").epsilon.max().idxmax()
moved = scores[scores.attack == strongest].pivot_table("adversarial_score", ["label", "sample"], "epsilon")
axes = moved.groupby("label").mean().T.plot(marker="o", ylabel="mean score", title=f"{strongest}: normals (0) rise")
axes.figure.savefig("scores.png", dpi=120)
print(f"{len(scores)} rows of {scores.attack.nunique()} attacks; picture: scores.png")
