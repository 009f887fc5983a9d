"""The rules of the layout, held over the imports: who may import whom, where Ray stays, how large a file may be."""

from __future__ import annotations

import ast
import importlib.metadata
import platform
import re
import statistics
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
ASSAY = REPO / "platform" / "assay"
TRAINABLES = REPO / "trainables"
SOURCES = sorted([*ASSAY.rglob("*.py"), *TRAINABLES.rglob("*.py")])

ROWS = (
    "cli",
    "api",
    "tracking",
    "reports",
    "approval studies",
    "sweeps audits deploy",
    "models",
    "metrics",
    "datasets",
    "remote",
    "store cluster cloud",
    "config data attacks",
    "interop",
    "runtime shelves corruptions norm_balls delong",
    "consent",
    "errors",
    "contracts units hashing redaction fitted",
)
"""Packages and modules of `assay`, the top row first: each imports from rows below its own, never from its own row."""
RAY = ("studies/in_parallel.py", "cluster/*", "sweeps/tune*.py", "sweeps/cluster_probe.py", "audits/fan_out.py")
"""Where Ray may be imported."""
FOR_TRAINABLES = {"attacks", "contracts", "data", "errors", "fitted", "interop", "norm_balls", "shelves", "units"}
HEAVY = {"torch", "ray", "optuna", "numpy", "pyarrow", "pydantic", "matplotlib", "wandb", "rich"}
LIGHT = ("assay.__version__", "assay.errors", "assay.redaction", "assay.cli")


def imports(path: Path, *, only_on_import: bool = False) -> Iterator[str]:
    """The dotted names a file imports, lazily too; `from a import b` gives `a.b`, for b may be a module.

    only_on_import: leave out what is imported inside a function or for the type checker alone.
    """
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif only_on_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        elif only_on_import and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        pending += ast.iter_child_nodes(node)


def of_assay(path: Path) -> set[str]:
    """The modules and folders right below `assay` that a file imports."""
    return {parts[1] for name in imports(path) if (parts := name.split("."))[0] == "assay" and len(parts) > 1}


def within(folder: Path) -> list[Path]:
    return [path for path in SOURCES if path.is_relative_to(folder)]


def top(names: Iterator[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_platform_is_still_the_standard_library_s():
    assert not (REPO / "platform" / "__init__.py").exists()
    assert Path(platform.__file__).parent == Path(sysconfig.get_path("stdlib"))
    command = [sys.executable, "-c", "import platform; print(platform.python_version())"]
    told = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == platform.python_version()


def test_ray_is_imported_in_few_places():
    knowing = {path for path in SOURCES if "ray" in top(imports(path))}
    assert {path for path in knowing if not any(path.match(f"assay/{place}") for place in RAY)} == set()
    assert knowing


def row_of(name: str) -> int:
    return next(number for number, row in enumerate(ROWS) if name in row.split())


def test_every_package_has_its_row():
    there = {path.stem for path in ASSAY.iterdir() if path.is_dir() or path.suffix == ".py"} - {
        "__init__",
        "__pycache__",
    }
    assert there - {"__init__", "__pycache__"} == set(" ".join(ROWS).split())


def test_imports_run_downward():
    upward = {}
    for path in set(within(ASSAY)) - {ASSAY / "__init__.py"}:
        own = path.relative_to(ASSAY).parts[0].removesuffix(".py")
        if found := {name for name in of_assay(path) - {own, "__version__"} if row_of(name) <= row_of(own)}:
            upward[str(path.relative_to(ASSAY))] = found
    assert upward == {}


def test_a_leading_underscore_is_private_to_its_package():
    """What is imported from another package has none; a package is a folder right below `assay`, or `trainables`."""

    def package(parts: tuple[str, ...]) -> str:
        return parts[1] if parts[0] == "assay" and len(parts) > 1 else parts[0]

    outside = {}
    for path in SOURCES:
        own = package(("assay", *path.relative_to(ASSAY).parts) if path in within(ASSAY) else ("trainables",))
        names = [tuple(name.split(".")) for name in imports(path) if name.startswith(("assay.", "trainables."))]
        private = {".".join(n) for n in names if package(n) != own and any(re.match("_[^_]", part) for part in n)}
        if private:
            outside[str(path.relative_to(REPO))] = private
    assert outside == {}


def test_packages_stay_small():
    shelves = {ASSAY / name for name in ("attacks", "cli", "corruptions", "datasets")}
    folders = [path for path in ASSAY.iterdir() if path.is_dir() and path not in shelves]
    assert {path.name: count for path in folders if (count := len(list(path.glob("*.py")))) > 20} == {}


def test_trainables_build_on_little_of_assay():
    assert {path: found for path in within(TRAINABLES) if (found := of_assay(path) - FOR_TRAINABLES)} == {}


def test_assay_names_no_trainable():
    assert [path for path in within(ASSAY) if "trainables" in top(imports(path))] == []


def test_verbs_import_click_and_the_standard_library_before_they_run():
    light = sys.stdlib_module_names | {"click"}
    for path in within(ASSAY / "cli"):
        found = {name for name in imports(path, only_on_import=True) if name.split(".")[0] not in light}
        assert {name for name in found if not name.startswith(LIGHT)} == set(), path


def test_help_of_no_verb_loads_a_heavy_library():
    code = (
        "import sys; from assay.cli import main\n"
        "for verb in main.list_commands(None): main([verb, '--help'], standalone_mode=False)\n"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.splitlines()[-1] == "[]"


def test_a_worker_of_a_sweep_loads_no_library_that_training_needs_not():
    unwanted = {"scipy", "optuna", "matplotlib"}
    code = f"import sys, assay.sweeps.tune_worker; print(sorted({unwanted} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.splitlines()[-1] == "[]"


def test_files_stay_small():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: count for path, count in lines.items() if count > 500} == {}
    assert statistics.median(lines.values()) <= 150


def test_no_test_folder_can_shadow_a_package():
    assert list((REPO / "tests").rglob("__init__.py")) == []


def test_what_is_imported_is_declared():
    provided = importlib.metadata.packages_distributions()
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    listed = [
        *project["dependencies"],
        *extras["cluster"],
        *extras["anomalib"],
        *extras["onnx"],
        *extras["openvino"],
        *extras["pdf"],
        *extras["ui"],
    ]
    declared = {plain(re.match(r"[\w.-]+", text)[0]) for text in listed}
    declared |= {"assay", "pydantic-core"}  # pydantic pins its core to one version and shares its errors
    imported = set().union(*(top(imports(path)) for path in SOURCES)) - sys.stdlib_module_names - {"trainables"}
    assert {name for name in imported if not {plain(d) for d in provided.get(name, [name])} & declared} == set()


def plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_no_file_names_a_path_of_one_machine():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, timeout=60)
    if listed.returncode:
        pytest.skip("not a git checkout, so there is no list of the project's files")
    needles = ["/" + folder + "/" for folder in ("work", "root", "Users")] + ["/home/" + name for name in ("runner",)]
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = REPO / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            found += [f"{name}: {needle}" for needle in needles if needle.encode() in content]
    assert found == []


def test_tables_of_a_store_are_opened_in_one_place():
    """Where columns that other code would make, such as pickled ones, are refused."""
    opens = re.compile(r"\bpq\.(?:read_\w+|ParquetFile|ParquetDataset)\(|pd\.read_parquet|pyarrow\.dataset")
    yaml_loads = re.compile(r"\byaml\.(?:safe_)?load(?:_all)?\(|yaml\.safe_load\b")
    found = {str(path.relative_to(ASSAY)) for path in within(ASSAY) if opens.search(path.read_text(encoding="utf-8"))}
    assert found - {"store/parquet.py"} == set()
    found = {str(path.relative_to(ASSAY)) for path in SOURCES if yaml_loads.search(path.read_text(encoding="utf-8"))}
    assert found == set()
