"""Small copies of the layouts in which data sets of anomalies are published."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, seed: int, side: int = 20) -> Path:
    """A grey image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)).save(path)
    return path


def marked(path: Path, value: int = 255, side: int = 20, corner: int = 3) -> Path:
    """A mask that marks a square with a value; with value 0, nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.new("L", (side, side))
    mask.paste(value, (corner, corner, corner + 6, corner + 6))
    mask.save(path)
    return path


def visa(root: Path, category: str = "candle") -> Path:
    """VisA: JPEGs in capitals, masks with the numbers of types, official splits; anomalies to train on in 2cls."""
    images, rows, kinds = f"{category}/Data/Images", [], []
    for at in range(30):
        picture(root / f"{images}/Normal/{at:04}.JPG", at)
        rows.append([category, "train" if at < 20 else "test", "normal", f"{images}/Normal/{at:04}.JPG", ""])
        kinds.append([f"{images}/Normal/{at:04}.JPG", "normal", ""])
    for at in range(9):
        picture(root / f"{images}/Anomaly/{at:03}.JPG", 100 + at)
        mask = f"{category}/Data/Masks/Anomaly/{at:03}.png"
        marked(root / mask, 1 + at % 3)
        rows.append([category, "test", "anomaly", f"{images}/Anomaly/{at:03}.JPG", mask])
        kinds.append([f"{images}/Anomaly/{at:03}.JPG", ["chunk of wax missing", "bent", "bent,spot"][at % 3], mask])
    (root / "split_csv").mkdir(exist_ok=True)
    _csv(root / "split_csv/1cls.csv", ["object", "split", "label", "image", "mask"], rows)
    for row in rows[30:33]:
        row[1] = "train"
    _csv(root / "split_csv/2cls_highshot.csv", ["object", "split", "label", "image", "mask"], rows)
    _csv(root / category / "image_anno.csv", ["image", "label", "mask"], kinds)
    return root


def _csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("a", newline="") as file:
        csv.writer(file).writerows(rows if file.tell() else [header, *rows])


def mvtec_ad_2(root: Path) -> Path:
    """MVTec AD 2: parts under several lights, and private test sets without labels."""
    lights = ("regular", "overexposed", "shift_2")
    for folder, parts, of in (
        ("train/good", 12, lights[:1]),
        ("validation/good", 3, lights[:1]),
        ("test_public/good", 4, lights),
        ("test_public/bad", 6, lights),
        ("test_private", 3, ("regular",)),
        ("test_private_mixed", 2, ("mixed",)),
    ):
        for part in range(parts):
            for light in of:
                name = f"{part:03}_{light}" if "private" not in folder else f"{part:03}"
                picture(root / folder / f"{name}.png", sum(map(ord, f"{folder}{name}")) * 1000 + part)
                if folder.endswith("bad"):
                    marked(root / f"test_public/ground_truth/bad/{name}_mask.png")
    return root


def mvtec_loco(root: Path) -> Path:
    """MVTec LOCO: a folder of masks for each image, whose values are types of defects, one of them below 127."""
    for folder, count in (("train/good", 12), ("validation/good", 3), ("test/good", 4)):
        for at in range(count):
            picture(root / folder / f"{at:03}.png", sum(map(ord, folder)) * 1000 + at)
    for kind, values in (("logical_anomalies", [255, 254]), ("structural_anomalies", [100])):
        for at in range(6):
            picture(root / f"test/{kind}/{at:03}.png", sum(map(ord, kind)) * 1000 + at)
            for number, value in enumerate(values[: 1 + at % 2] if kind[0] == "l" else values):
                marked(root / f"ground_truth/{kind}/{at:03}/{number:03}.png", value, corner=2 + 8 * number)
    types = {"missing_pin": 255, "additional_pin": 254, "broken": 100}
    config = [
        {"defect_name": name, "pixel_value": value, "saturation_threshold": 1, "relative_saturation": True}
        for name, value in types.items()
    ]
    (root / "defects_config.json").write_text(json.dumps(config))
    return root
