"""Small copies of the layouts in which data sets of anomalies are published."""

from __future__ import annotations

import csv
import gzip
import json
import struct
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


def idx(path: Path, array: np.ndarray, packed: bool = False) -> Path:
    """An IDX file of unsigned bytes."""
    content = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def mnist(root: Path, classes: int = 3, train: int = 60, test: int = 30, packed: bool = True) -> Path:
    """MNIST: digits in turn, in IDX files as they are shipped."""
    for start, count, seed in (("train", train, 0), ("t10k", test, 1)):
        pixels = np.random.default_rng(seed).integers(0, 256, (count, 28, 28))
        end = ".gz" if packed else ""
        idx(root / f"{start}-images-idx3-ubyte{end}", pixels, packed)
        idx(root / f"{start}-labels-idx1-ubyte{end}", np.arange(count) % classes, packed)
    return root


def real_iad(root: Path, category: str = "plug") -> Path:
    """Real-IAD: five views of each part, two of which show the defect of a part that has one."""
    listing: dict[str, object] = {"meta": {"normal_class": "OK", "prefix": f"{category}/"}}
    for split, sound, bad in (("train", 8, 0), ("test", 3, 9)):
        items = []
        for part in range(sound + bad):
            code = None if part < sound else ("HS", "ZW")[part % 2]
            number = part + (0 if split == "train" else 50)
            folder = f"OK/S{number:04}" if code is None else f"NG/{code}/S{number:04}"
            for view in range(1, 6):
                name = f"{folder}/{category}_{number:04}_{folder[:2]}_C{view}_2023"
                picture(root / f"realiad_256/{category}/{name}.jpg", 1000 * number + view)
                shown = code is not None and view in (1, 4)
                if shown:
                    marked(root / f"realiad_256/{category}/{name}_mask.png")
                items.append(
                    {
                        "category": category,
                        "anomaly_class": code if shown else "OK",
                        "image_path": f"{name}.jpg",
                        "mask_path": f"{name}_mask.png" if shown else None,
                    }
                )
        listing[split] = items
    folder_ = root / "realiad_jsons/realiad_jsons"
    folder_.mkdir(parents=True, exist_ok=True)
    (folder_ / f"{category}.json").write_text(json.dumps(listing))
    return root


def kolektor(root: Path, items: int = 12) -> Path:
    """KolektorSDD: images of items, one of each with a defect, and masks beside all of them."""
    for item in range(1, items + 1):
        for part in range(4):
            picture(root / f"kos{item:02}/Part{part}.jpg", 10 * item + part)
            marked(root / f"kos{item:02}/Part{part}_label.bmp", 255 if part == item % 4 else 0)
    return root


def kolektor_2(root: Path) -> Path:
    """KolektorSDD2: two flat folders with masks beside all images, and defects in both."""
    for split, sound, bad in (("train", 12, 3), ("test", 5, 6)):
        for at in range(sound + bad):
            number = 10000 * (split == "train") + at
            picture(root / f"{split}/{number}.png", number)
            marked(root / f"{split}/{number}_GT.png", 255 if at >= sound else 0)
    return root


def dagm(root: Path, category: str = "Class1") -> Path:
    """DAGM: defects in both halves, masks of these alone, and a text file among them."""
    for split, seed in (("Train", 0), ("Test", 1000)):
        for at in range(20):
            picture(root / f"{category}/{split}/{at:04}.PNG", seed + at)
            if at >= 13:
                marked(root / f"{category}/{split}/Label/{at:04}_label.PNG")
        (root / f"{category}/{split}/Label/Labels.txt").write_text("1")
    return root
