"""Explanations of an audit: the pictures it keeps, how well maps find masks, and what the report says without them."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from torch import nn

from assay import shelves
from assay.audits import explanations
from assay.contracts import Images
from assay.metrics import localisation
from assay.metrics.localisation import curves, overlap
from assay.store import schemas
from assay.store.audit_reader import Audit

SIDE = 24


class Brightest(nn.Module):
    """Images -> the sum of squares, whose gradient is the image itself."""

    def forward(self, images):
        return images.square().sum((1, 2, 3))


class Blind(nn.Module):
    """A score whose gradient is not a number."""

    def forward(self, images):
        return (images.sum((1, 2, 3)) * 0).sqrt() + images.sum((1, 2, 3))


def squares(normals: int = 6, anomalies: int = 12) -> tuple[Images, np.ndarray]:
    """Dark images, the anomalies with a bright square each, the brighter the later; and the masks."""
    count = normals + anomalies
    pixels, masks = np.full((count, 1, SIDE, SIDE), 4, np.uint8), np.zeros((count, SIDE, SIDE), bool)
    for row in range(normals, count):
        top, left = (row * 5) % 14, (row * 7) % 14
        pixels[row, 0, top : top + 8, left : left + 8] = 60 + 10 * row
        masks[row, top : top + 8, left : left + 8] = True
    labels = np.repeat([0, 1], [normals, anomalies])
    kinds = tuple("normal" if not label else ("dent", "dust")[row % 2] for row, label in enumerate(labels))
    names = tuple(f"{row:02d}" for row in range(count))
    return Images(pixels, labels, names, kinds, names), masks


def section(folder, name: str) -> str:
    return str(shelves.load("sections", name)(Audit(folder)).html)


def test_the_lowest_and_the_highest_anomalies_are_kept_with_image_map_and_mask():
    images, masks = squares()
    found = explanations.tables(Brightest(), images, masks)["explanations"]
    assert found.schema.equals(schemas.EXPLANATIONS)
    rows = found.to_pylist()
    assert [row["sample"] for row in rows] == ["06", "07", "08", "09", "14", "15", "16", "17"]
    assert [row["place"] for row in rows] == [1, 2, 3, 4, 9, 10, 11, 12]
    assert {row["anomalies"] for row in rows} == {12}
    first = rows[0]
    with Image.open(io.BytesIO(first["image_png"])) as image, Image.open(io.BytesIO(first["map_png"])) as drawn:
        assert np.array_equal(np.asarray(image), images.pixels[6, 0])
        drawn_map = np.asarray(drawn)
    assert drawn_map.max() == 255
    assert drawn_map[masks[6]].mean() > 2 * drawn_map[~masks[6]].mean()
    assert all(row["pixel_auroc"] > 0.9 for row in rows)


def test_an_image_without_a_mask_has_no_picture_of_one_and_no_masks_no_table():
    images, masks = squares()
    masks[6] = False
    rows = explanations.tables(Brightest(), images, masks)["explanations"].to_pylist()
    assert rows[0]["mask_png"] is None
    assert np.isnan(rows[0]["pixel_auroc"])
    assert rows[1]["mask_png"] is not None
    assert set(explanations.tables(Brightest(), images, np.zeros_like(masks))) == {"explanations"}


def test_a_gradient_that_is_not_finite_gives_nothing_and_no_error():
    images, masks = squares()
    assert explanations.tables(Blind(), images, masks) == {}


def test_large_pictures_are_shrunk_and_colours_kept():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 160, 160), dtype=np.uint8)
    images = Images(pixels, np.array([0, 1]), ("a", "b"), ("normal", "dent"), ("a", "b"))
    [row] = explanations.tables(Brightest(), images, np.zeros((2, 160, 160), bool))["explanations"].to_pylist()
    with Image.open(io.BytesIO(row["image_png"])) as image:
        assert image.size == (128, 128)
        assert image.mode == "RGB"


def test_few_images_have_a_figure_and_no_interval():
    images, masks = squares()
    maps = np.random.default_rng(0).random(masks.shape).astype(np.float32)
    rows = localisation.table(maps, masks, images.labels, images.defects).to_pylist()
    assert all(np.isfinite(row["value"]) and np.isnan(row["lower"]) and np.isnan(row["upper"]) for row in rows)


def test_localisation_of_all_and_of_each_kind_has_intervals_around_its_figure(monkeypatch):
    monkeypatch.setattr(localisation, "FEWEST", 5)
    images, masks = squares()
    maps = np.random.default_rng(0).random(masks.shape).astype(np.float32)
    maps += 0.4 * masks
    masks[-1] = False
    found = localisation.table(maps, masks, images.labels, images.defects)
    assert found.schema.equals(schemas.LOCALISATION)
    rows = {(row["defect"], row["metric"]): row for row in found.to_pylist()}
    assert set(rows) == {(kind, metric) for kind in ("all", "dent", "dust") for metric in ("pixel_auroc", "aupro")}
    whole = rows["all", "pixel_auroc"]
    assert (whole["images"], whole["left_out"], whole["normals"], whole["regions"]) == (11, 1, 6, 11)
    assert whole["value"] == pytest.approx(localisation.localisation(maps, masks).auroc)
    assert all(row["lower"] < row["value"] < row["upper"] for row in rows.values())
    assert rows["dent", "aupro"]["images"] + rows["dust", "aupro"]["images"] == 11


def test_aupro_is_one_for_the_mask_itself_and_chance_for_what_knows_nothing():
    _, masks = squares()
    weights = np.ones((1, len(masks)))
    assert overlap(curves(masks.astype(float), masks), weights)[0] == pytest.approx(1)
    assert overlap(curves(np.zeros(masks.shape), masks), weights)[0] == pytest.approx(0.15)
    assert overlap(curves(1 - masks.astype(float), masks), weights)[0] == pytest.approx(0)


def test_aupro_counts_a_small_defect_as_much_as_a_large_one():
    masks = np.zeros((1, 40, 40), bool)
    masks[0, :20, :20], masks[0, 30:32, 30:32] = True, True
    only_large = np.zeros(masks.shape)
    only_large[0, :20, :20] = 1
    # From half the regions without a false alarm, the rest as chance finds it.
    assert overlap(curves(only_large, masks), np.ones((1, 1)))[0] == pytest.approx(0.5 + 0.5 * 0.15, abs=0.01)


def write(folder, found) -> None:
    for name, table in found.items():
        pq.write_table(table, folder / f"{name}.parquet")


def test_the_report_shows_pictures_and_localisation(audit_folder):
    images, masks = squares()
    write(audit_folder, explanations.tables(Brightest(), images, masks))
    html = section(audit_folder, "explanations")
    assert html.count("<img ") == html.count(' alt="') == 3 * 8
    assert "Pixel AUROC" in html
    assert "No masks" not in html


def test_the_report_says_plainly_that_there_are_no_masks_and_no_gradient(audit_folder):
    images, masks = squares()
    assert "No maps: the audit was made before" in section(audit_folder, "explanations")
    write(audit_folder, explanations.tables(Brightest(), images, np.zeros_like(masks)))
    assert "No masks: the dataset does not say" in section(audit_folder, "explanations")
    (audit_folder / "explanations.parquet").unlink()
    info = yaml.safe_load((audit_folder / "audit.yaml").read_text())
    (audit_folder / "audit.yaml").write_text(yaml.safe_dump({**info, "attacked_as": "black box"}))
    assert "No maps: the score has no gradient" in section(audit_folder, "explanations")


def test_hostile_names_of_samples_are_text(audit_folder):
    images, masks = squares()
    found = explanations.tables(Brightest(), images, masks)["explanations"]
    rows = [{**row, "sample": '<script>"x"'} for row in found.to_pylist()]
    write(audit_folder, {"explanations": pa.Table.from_pylist(rows, schema=schemas.EXPLANATIONS)})
    assert "<script" not in section(audit_folder, "explanations")


def test_an_audit_keeps_maps_of_what_it_audited(store):
    folder = store.path(f"audits/{store.names('audits')[0]}")
    found = pq.ParquetFile(folder / "explanations.parquet").read()
    assert found.schema.equals(schemas.EXPLANATIONS)
    assert found["score"].to_pylist() == sorted(found["score"].to_pylist())
    assert not (folder / "localisation.parquet").exists()
