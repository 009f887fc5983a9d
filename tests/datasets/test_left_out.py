"""What lies beside the images that are read: nothing of it is left out without a word, and names have one form."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import layouts
import numpy as np
import pytest
from layouts import marked, picture
from PIL import Image

from assay.data import splits
from assay.datasets.folder import folder
from assay.datasets.mvtec import mvtec
from assay.datasets.mvtec_ad_2 import mvtec_ad_2
from assay.datasets.mvtec_loco import mvtec_loco
from assay.datasets.one_vs_rest import one_vs_rest
from assay.datasets.table import table
from assay.errors import DataError


def sound(root: Path, kind: str = "dent") -> Path:
    """A layout with masks of a kind of defects."""
    for at in range(12):
        picture(root / f"train/good/{at:03}.png", at)
    for at in range(4):
        picture(root / f"test/good/{at:03}.png", 100 + at)
        picture(root / f"test/{kind}/{at:03}.png", 200 + at)
        marked(root / f"ground_truth/{kind}/{at:03}_mask.png")
    return root


def test_files_that_are_no_images_by_their_suffix_are_told_unless_systems_make_them(tmp_path: Path) -> None:
    root = sound(tmp_path)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._000.png"):
        (root / "train/good" / name).write_bytes(b"x")
    assert mvtec(root=str(root)).notices == ()
    for name in ("000.heic", "notes.txt"):
        (root / "train/good" / name).write_bytes(b"x")
    [notice] = mvtec(root=str(root)).notices
    assert notice == "2 files without the suffix of an image are skipped: 000.heic, notes.txt"
    assert mvtec(root=str(root)).notes["files_skipped"] == 6


def test_folders_beside_those_that_are_read_are_told(tmp_path: Path) -> None:
    root = sound(tmp_path)
    (root / "ground_truth").rename(root / "Ground_Truth")
    picture(root / "train/spare/000.png", 7)
    picture(root / "validation/dent/000.png", 8)
    assert mvtec(root=str(root), normal="good").notices == (
        f"{root}: these of its folders hold images and are not read: Ground_Truth",
        f"{root}/train: these of its folders hold images and are not read: spare",
        f"{root}/validation: these of its folders hold images and are not read: dent",
    )
    with pytest.raises(DataError, match=r"no folder train; .*it holds the folders good, spare$"):
        mvtec(root=str(root / "train"))


def test_a_folder_that_is_a_link_to_nothing_is_an_error(tmp_path: Path) -> None:
    (sound(tmp_path) / "test/scratch").symlink_to("/not-here/scratch")
    with pytest.raises(DataError, match=r"test: 1 links lead to nothing: scratch; mount the disk"):
        mvtec(root=str(tmp_path))


def test_what_tools_leave_beside_masks_is_no_mask(tmp_path: Path) -> None:
    root = sound(tmp_path)
    expected = mvtec(root=str(root)).samples
    for at in range(4):
        (root / f"ground_truth/dent/{at:03}.json").write_text("{}")
    assert mvtec(root=str(root)).samples == expected


def test_half_a_category_is_an_error_where_all_are_wanted(tmp_path: Path) -> None:
    sound(tmp_path / "bottle")
    for at in range(4):
        picture(tmp_path / f"cable/train/good/{at:03}.png", 300 + at)
    with pytest.raises(DataError, match=r"cable: no folder test; root"):
        mvtec(root=str(tmp_path), category="all")
    assert mvtec(root=str(tmp_path), category=["bottle"]).name == "bottle"


def plain(root: Path) -> dict[str, str]:
    for at in range(20):
        picture(root / f"good/{at:03}.png", at)
    for at in range(8):
        picture(root / f"bad/{at:03}.png", 100 + at)
        marked(root / f"masks/bad/{at:03}.png")
    return {"root": str(root), "normal": "good", "anomalous": "bad"}


def test_plain_folders_tell_sub_folders_and_masks_that_are_not_used(tmp_path: Path) -> None:
    given = plain(tmp_path)
    assert folder(**given, masks="masks").notices == ()
    with pytest.raises(DataError, match=r"mask: no such folder; `masks` names the folder"):
        folder(**given, masks="mask")
    picture(tmp_path / "good/monday/000.png", 300)
    marked(tmp_path / "masks/good/000.png")
    assert folder(**given, masks="masks").notices == (
        f"{tmp_path}/good: these of its folders hold images and are not read: monday",
        "1 files in masks are the mask of no image: good/000.png",
    )
    assert folder(**{**given, "normal": ["good", "good/monday"]}).notices == ()


def test_classes_beside_both_halves_and_loose_images_are_told(tmp_path: Path) -> None:
    for place, half in enumerate(("train", "test")):
        for at in range(8):
            for other, name in enumerate(("cat", "dog")):
                picture(tmp_path / half / name / f"{at:03}.png", 100 * place + 10 * other + at)
    picture(tmp_path / "extra/cat/000.png", 5000)
    (tmp_path / "train/cat/labels.csv").write_text("x")
    notices = one_vs_rest(root=str(tmp_path), normal="cat").notices
    assert f"{tmp_path}: these of its folders hold images and are not read: extra" in notices
    assert "1 file without the suffix of an image is skipped: labels.csv" in notices
    picture(tmp_path / "test/000.png", 5001)
    with pytest.raises(DataError, match=r"test: 1 images lie in no folder of a kind: 000\.png"):
        one_vs_rest(root=str(tmp_path), normal="cat")


def test_names_in_both_unicode_forms_are_the_same_names(tmp_path: Path) -> None:
    """macOS takes letters and accents apart (NFD), where a table or a mask written elsewhere has them in one (NFC)."""
    kind = "Größe"
    one, other = (sound(tmp_path / form, unicodedata.normalize(form, kind)) for form in ("NFC", "NFD"))
    for root, form in ((one, "NFC"), (other, "NFD")):
        images, drawn = (root / part / unicodedata.normalize(form, kind) for part in ("test", "ground_truth"))
        (images / "000.png").rename(images / f"{unicodedata.normalize(form, 'prüfling')}.png")
        (drawn / "000_mask.png").rename(drawn / f"{unicodedata.normalize('NFC', 'prüfling')}_mask.png")
    read = [mvtec(root=str(root)) for root in (one, other)]
    assert [sample.id for sample in read[0].samples] == [sample.id for sample in read[1].samples]
    assert {sample.defect for sample in read[1].samples} == {"normal", kind}
    assert read[1].notices == ()
    assert splits.dataset_hash(read[0], cache=tmp_path / "c") == splits.dataset_hash(read[1], cache=tmp_path / "c")
    (other / f"ground_truth/{unicodedata.normalize('NFD', kind)}").rename(other / f"ground_truth/{kind}")
    assert all(sample.masks for sample in mvtec(root=str(other)).samples if sample.label)


def test_a_table_finds_files_in_the_other_unicode_form(tmp_path: Path) -> None:
    for at in range(20):
        picture(tmp_path / f"{unicodedata.normalize('NFD', 'prüf')}{at:02}.png", at)
    lines = [f"{unicodedata.normalize('NFC', 'prüf')}{at:02}.png,{'0.0' if at < 12 else '1.0'}" for at in range(20)]
    (tmp_path / "list.csv").write_text("image,label\n" + "\n".join(lines), encoding="utf-8-sig")
    dataset = table(root=str(tmp_path), file="list.csv")
    assert Counter(sample.label for sample in dataset.samples) == {0: 12, 1: 8}  # 0.0 and 1.0, as pandas writes them
    assert all(sample.path.is_file() for sample in dataset.samples)
    assert dataset.samples[0].id == "prüf00.png"


def test_labels_with_decimals_that_mean_something_stay_as_they_are(tmp_path: Path) -> None:
    for at in range(4):
        picture(tmp_path / f"{at}.png", at)
    (tmp_path / "list.csv").write_text("image,label\n0.png,0.0\n1.png,0.5\n2.png,1.0\n3.png,1.00\n")
    with pytest.raises(DataError, match=r"neither normal nor anomalous: 0\.5 \(1 rows\)"):
        table(root=str(tmp_path), file="list.csv")


def test_palettes_and_real_transparency_are_told(tmp_path: Path) -> None:
    root = sound(tmp_path / "set")
    image = Image.open(root / "train/good/000.png").convert("RGB")
    image.quantize(16).save(root / "train/good/000.png")
    image.transpose(Image.Transpose.ROTATE_90).convert("RGBA").save(
        root / "train/good/001.png"
    )  # opaque: nothing to tell
    see = image.transpose(Image.Transpose.ROTATE_180).convert("RGBA")
    see.putalpha(128)
    see.save(root / "train/good/002.png")
    assert splits.training_data(mvtec(root=str(root)), cache=tmp_path / "cache").description["notices"] == [
        "1 image is transparent, and is laid on black: train/good/002.png",
        "1 image has a palette, whose colours are read: train/good/000.png",
    ]


def test_a_mask_that_is_turned_alone_is_told(tmp_path: Path) -> None:
    root, tag = sound(tmp_path), Image.Exif()
    tag[0x0112] = 3
    file = root / "ground_truth/dent/000_mask.png"
    mask = Image.open(file)
    mask.save(file, exif=tag)
    assert mvtec(root=str(root)).notices == (
        "1 masks are turned as their own EXIF tag says, which their image does not have: test/dent/000.png",
    )


def test_published_sets_tell_masks_of_no_image(tmp_path: Path) -> None:
    root = layouts.mvtec_ad_2(tmp_path / "ad2")
    (root / "test_public/bad/000_regular.png").unlink()
    assert (
        "1 files in ground_truth are the mask of no image: bad/000_regular_mask.png"
        in mvtec_ad_2(root=str(root)).notices
    )
    assert not [said for said in mvtec_ad_2(root=str(root), lights=["shift_2"]).notices if "no image: " in said]
    root = layouts.mvtec_loco(tmp_path / "loco")
    (root / "test/structural_anomalies/000.png").unlink()
    assert mvtec_loco(root=str(root)).notices == (
        "1 files in ground_truth are the mask of no image: structural_anomalies/000/000.png",
    )


def test_one_file_of_16_bits_among_those_of_a_camera_of_12_is_told(tmp_path: Path) -> None:
    root, random = sound(tmp_path / "set"), np.random.default_rng(0)
    for file in sorted(root.glob("t*/*/*.png")):
        Image.fromarray(random.integers(0, 4096, (20, 20)).astype(np.uint16)).save(file)
    Image.fromarray(random.integers(0, 65536, (20, 20)).astype(np.uint16)).save(root / "train/good/003.png")
    [notice] = splits.training_data(mvtec(root=str(root)), cache=tmp_path / "cache").description["notices"]
    assert notice.startswith("19 of 20 images of 16 bits hold no value above 409")
    assert "as others use all 16: train/good/003.png; leave those out and set `bit_depth`" in notice
    said = splits.training_data(mvtec(root=str(root), bit_depth=16), cache=tmp_path / "cache").description
    assert "notices" not in said


def test_a_single_mask_that_may_be_inverted_is_told(tmp_path: Path) -> None:
    file = sound(tmp_path) / "ground_truth/dent/000_mask.png"
    Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    [notice] = mvtec(root=str(tmp_path)).notices
    assert notice.startswith(
        "1 masks mark more than half of their image (if they mark what is sound, invert them): test"
    )
    assert mvtec(root=str(tmp_path), large_defects=True).notices == ()


def test_names_with_control_characters_are_refused(tmp_path: Path) -> None:
    root = sound(tmp_path)
    (root / "test/dent").rename(root / "test/de\nnt")
    with pytest.raises(DataError, match=r"1 names hold control characters: 'de\\nnt'; rename them"):
        mvtec(root=str(root))


def test_pointers_of_git_lfs_and_other_stand_ins_say_what_they_are(tmp_path: Path) -> None:
    root = sound(tmp_path / "set")
    (root / "train/good/003.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 12\n")
    with pytest.raises(DataError, match=r"003\.png: cannot be decoded \(it is a pointer of Git LFS.*git lfs pull"):
        splits.training_data(mvtec(root=str(root)), cache=tmp_path / "cache")
    (tmp_path / "list.csv").write_bytes(b"PK\x03\x04\x00\x00")
    with pytest.raises(DataError, match=r"list\.csv: it is a workbook or a zip file, not text; save it as CSV"):
        table(root=str(tmp_path), file="list.csv")
    picture(tmp_path / "0.png", 0)
    (tmp_path / "list.csv").write_text("image,label,mask\n0.png,bad,0.png\n")
    with pytest.raises(DataError, match=r"1 images are named as their own mask: 0\.png"):
        table(root=str(tmp_path), file="list.csv", mask="mask")


def test_two_forms_of_one_idx_file_are_an_error(tmp_path: Path) -> None:
    for packed in (True, False):
        layouts.mnist(tmp_path, packed=packed)
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte, train-images-idx3-ubyte\.gz could all be the images"
    ):
        one_vs_rest(root=str(tmp_path), normal=1)


@pytest.mark.parametrize("place", ["test/dent", "ground_truth", "test", "."])
def test_folders_that_may_not_be_read_are_errors(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root of a container may read everything, the system's answer is given in its place."""
    root = sound(tmp_path)
    closed, real = root / place, Path.is_dir

    def refused(self: Path) -> bool:
        if self == closed or closed in self.parents:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "is_dir", refused)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\); allow it to this user"):
        mvtec(root=str(root))
