"""An audit folder as its readers see it: each file read once, on first use, and checked."""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Required, TypedDict

import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assay.config import yaml_file
from assay.contracts import Knowledge, Norm
from assay.errors import DataError, InputError, StoreError
from assay.store import figures as figure_table
from assay.store import formats, parquet, score_matrix
from assay.store.figures import Figure
from assay.store.schemas import CATEGORY, CHECKS, COST, GROUP, METRICS, NEWER, NEWER_OF_TRIALS, TRIALS
from assay.store.schemas import WORST as WORST_SAMPLES
from assay.store.score_matrix import ALL, CLEAN, WORST, WORST_CATEGORY, WORST_KIND, ScoreMatrix
from assay.store.store import Store, opened
from assay.units import epsilon_key

Columns = Mapping[str, NDArray[Any]]
"""A table as numpy arrays of the same length, by column name."""
Content = dict[str, Any]
"""The content of a JSON or YAML file as read: another version of Assay may have written less or more."""

AUDIT_KEYS = (
    "audit", "created", "model", "suite.name", "suite.attacks", "dataset.name", "threshold.value", "seed",
    "samples", "command",
)  # fmt: skip
MODEL = r"(models/)?[0-9a-f]{4,64}"
OPTIONS = {
    "--suite": r"[^-].*", "--seed": r"\d+", "--limit": r"\d+", "--device": r"[a-z]+(:\d+)?", "--surrogate": MODEL,
}  # fmt: skip
"""The options of `assay audit` that an audit's command may name, and what their values look like."""
PARTS = ("scores", "deployed", "corrupted", "certified", "minimal")
"""Tables of many files behind the figures."""
PART = re.compile(r"[^/]+/part-[^/]*\.parquet")
NO_CATEGORIES = "no_category_figures"
"""The finding that says why there are no figures by category."""
VERDICTS = ("PASS", "PASS WITH WAIVERS", "FAIL", "INVALID", "INCONCLUSIVE")


class CheckCount(NamedTuple):
    """How many checks of an audit passed, of those that had something to look at; idle: those that had nothing."""

    passed: int
    applicable: int
    idle: int

    @property
    def words(self) -> str:
        """`38 of 40 checks passed; 3 had nothing to look at in this audit`."""
        more = f"; {self.idle} had nothing to look at in this audit" if self.idle else ""
        return f"{self.passed} of {self.applicable} checks passed{more}"


def is_idle(evidence: object) -> bool:
    """Whether a check of that evidence had nothing to look at."""
    return str(evidence).startswith("not applicable")


def count_of_checks(outcomes: Iterable[tuple[bool | None, object]]) -> CheckCount:
    """The one count that every page and command shows. outcomes: of each check, whether it passed, and its evidence."""
    found = list(outcomes)
    seen = [bool(passed) for passed, evidence in found if not is_idle(evidence)]
    return CheckCount(sum(seen), len(seen), len(found) - len(seen))


class ThreatBudget(NamedTuple):
    """A norm and an epsilon in pixel scale at which the audit has figures."""

    norm: str
    epsilon: float


class SuiteEntry(TypedDict, total=False):
    """An attack as audit.yaml names it among those of the suite; one of an older audit may lack a key."""

    name: Required[str]
    attack: Required[str]
    threat: str
    norm: Required[Norm]
    knowledge: Knowledge
    epsilons: Required[list[float]]
    parameters: dict[str, object]


@dataclass(frozen=True)
class Audit:
    """What an audit left in a folder, local or in object storage.

    Raises DataError, naming the file and the command that makes it.
    """

    place: InitVar[Store | Path | str]
    folder: Store = field(init=False)

    def __post_init__(self, place: Store | Path | str) -> None:
        object.__setattr__(self, "folder", opened(place))

    @functools.cached_property
    def info(self) -> Content:
        """`audit.yaml`: what was audited, how, and the command that does it again."""
        info = _mapping(self.folder, "audit", "audit.yaml", _yaml, "`assay audit` writes it")
        missing = [key for key in AUDIT_KEYS if not _holds(info, key)]
        if missing:
            raise DataError(f"{self.folder.place('audit.yaml')}: no {', '.join(missing)}; run `assay audit` again")
        return info

    @functools.cached_property
    def manifest(self) -> Content:
        """`manifest.json`: the model's own account of how it was made."""
        return _mapping(self.folder, "model", "manifest.json", json.loads, self._again)

    @functools.cached_property
    def verdict(self) -> Content | None:
        """`verdict.json`, or None while nobody has decided. A verdict on another audit or model is an error."""
        if not self.folder.exists("verdict.json"):
            return None
        verdict = _mapping(self.folder, "verdict", "verdict.json", json.loads, "`assay approve` writes it")
        path = self.folder.place("verdict.json")
        if verdict.get("verdict") not in VERDICTS:
            raise DataError(f"{path}: verdict is {verdict.get('verdict')!r}, not one of {', '.join(VERDICTS)}")
        for key in ("audit", "model"):
            if verdict.get(key) != self.info[key]:
                raise DataError(
                    f"{path}: decides on {key} {verdict.get(key)!r}, but this is {key} {self.info[key]!r}; "
                    "run `assay approve` on this folder"
                )
        return verdict

    @functools.cached_property
    def matrix(self) -> ScoreMatrix:
        """The scores of every attack and sample, of all the parts of `scores/`."""
        keys = self.parts("scores")
        if not keys:
            raise DataError(f"{self.folder.place('scores')}: no */part-*.parquet; {self._again}")
        remedy = f"delete it and {self._again}"
        newer = (score_matrix.SELECTION, GROUP, CATEGORY)
        return score_matrix.read(parquet.parts(self.folder, keys, score_matrix.columns(), remedy, newer))

    def there(self, sources: Iterable[str]) -> list[str]:
        """Those of some files that the folder has; a name that ends in `/` is a table of parts."""
        names = set(self.folder.names())
        return [name for name in sources if name in names or (name.endswith("/") and self.parts(name[:-1]))]

    def parts(self, table: str) -> list[str]:
        """The keys of the parts of a table that has a folder of its own, such as `scores`; empty without them."""
        return [f"{table}/{key}" for key in self.folder.walk(table) if PART.fullmatch(key)]

    @functools.cached_property
    def _metrics(self) -> pa.Table:
        metrics = self._table("metrics.parquet", [name for name in METRICS.names if name not in NEWER])
        if not len(metrics):
            raise DataError(f"{self.folder.place('metrics.parquet')} holds no figures; delete it and {self._again}")
        return metrics

    @functools.cached_property
    def metrics(self) -> Columns:
        """The figures by column: one row per attack, norm, epsilon, regime, defect and metric."""
        return _columns(self._metrics)

    @functools.cached_property
    def figures(self) -> list[Figure]:
        """The figures as records."""
        return figure_table.read(self._metrics)

    @functools.cached_property
    def checks(self) -> Columns:
        """The checks of the audit itself."""
        return _columns(self._table("checks.parquet", CHECKS.names))

    @functools.cached_property
    def cost(self) -> Columns:
        """What the attacks cost, and what it took to break samples: a row per attack, norm and epsilon."""
        return _columns(self._table("cost.parquet", COST.names))

    @functools.cached_property
    def worst(self) -> Columns:
        """The samples an attacker moved furthest, with their images."""
        return _columns(self._table("worst.parquet", WORST_SAMPLES.names))

    @functools.cached_property
    def trials(self) -> Columns | None:
        """The sweep's trials, or None if the model did not come from a sweep."""
        if not self.folder.exists("trials.parquet"):
            return None
        return _columns(self._table("trials.parquet", [name for name, _ in TRIALS if name not in NEWER_OF_TRIALS]))

    @functools.cached_property
    def comparison(self) -> Content | None:
        """`comparison.json`: this audit less another one, or None where nobody compared them."""
        if not self.folder.exists("comparison.json"):
            return None
        remedy = "`assay compare` writes it"
        comparison = _mapping(self.folder, "comparison", "comparison.json", json.loads, remedy)
        if not _holds(comparison, "b.audit") or comparison["b"]["audit"] != self.info["audit"]:
            path = self.folder.place("comparison.json")
            raise DataError(f"{path} is not of this audit, {self.info['audit']}; delete it, {remedy}")
        return comparison

    @property
    def _again(self) -> str:
        return f"make it with: {self.command}"

    @functools.cached_property
    def command(self) -> str:
        """The command that makes the audit again, to be shown to a person who may paste it.

        audit.yaml is whoever's who can write to the store: only known words of its command are taken, each quoted.
        """
        try:
            words = shlex.split(str(self.info["command"]))
        except ValueError:
            words = []
        names, values = words[3::2], words[4::2]
        known = len(names) == len(values) and all(
            re.fullmatch(OPTIONS.get(name, "(?!)"), value) and value.isprintable()
            for name, value in zip(names, values, strict=False)
        )
        if known and words[:2] == ["assay", "audit"] and re.fullmatch(MODEL, words[2] if len(words) > 2 else ""):
            return shlex.join(words)
        return "assay audit MODEL --suite SUITE"

    def _table(self, key: str, needed: Sequence[str], columns: list[str] | None = None) -> pa.Table:
        path = self.folder.place(key)
        try:
            file = parquet.opened(self.folder.read(key))
            formats.check_table(file.metadata.metadata, path)
            table = file.read(columns)
        except StoreError as error:
            raise _of_a_file(error, path, self._again) from error
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} cannot be read ({error}); delete it and {self._again}") from error
        missing = [name for name in needed if name not in table.column_names]
        if missing:
            raise DataError(f"{path} has no column {', '.join(missing)}; delete it and {self._again}")
        return table

    @functools.cached_property
    def _by_name(self) -> dict[tuple[str, str, float, str, str, str], Figure]:
        return {(f.attack, f.norm, epsilon_key(f.epsilon), f.regime, f.defect, f.metric): f for f in self.figures}

    def clean(self, metric: str, defect: str = ALL, attack: str = CLEAN) -> Figure | None:
        """A figure without any attack (as deployed, by `deployed:clean`), or None if it was not measured."""
        return self._by_name.get((attack, "", 0.0, "", defect, metric))

    def attacked(
        self, metric: str, budget: ThreatBudget, regime: str = "both", attack: str = WORST, defect: str = ALL
    ) -> Figure | None:
        """A figure under an attack (or the per-sample worst case over all), or None if it was not measured."""
        return self._by_name.get((attack, budget.norm, epsilon_key(budget.epsilon), regime, defect, metric))

    def rate(self, metric: str, budget: ThreatBudget, attack: str = WORST) -> Figure | None:
        """`miss_rate` or `false_alarm_rate` under attack, from the regime in which it can change."""
        regime = "evasion" if metric == "miss_rate" else "false_alarm"
        return self.attacked(metric, budget, regime, attack) or self.attacked(metric, budget, "both", attack)

    @functools.cached_property
    def budgets(self) -> list[ThreatBudget]:
        """Every norm and epsilon with a worst-case figure: linf before l2, small before large."""
        worst = self.metrics["attack"] == WORST
        pairs = set(zip(self.metrics["norm"][worst], self.metrics["epsilon"][worst], strict=True))
        return [ThreatBudget(*pair) for pair in sorted(pairs, key=lambda pair: (pair[0] != "linf", *pair))]

    @property
    def norms(self) -> list[str]:
        """The norms of `budgets`."""
        return list(dict.fromkeys(budget.norm for budget in self.budgets))

    def budgets_of(self, norm: str) -> list[ThreatBudget]:
        """The budgets of one norm, small before large."""
        return [budget for budget in self.budgets if budget.norm == norm]

    def shown(self, norm: str) -> ThreatBudget:
        """The budget that stands for a norm where one must do: the suite's headline, or the middle one tested."""
        budgets, headline = self.budgets_of(norm), self.info["suite"].get("headline") or {}
        if headline.get("norm") == norm:
            return min(budgets, key=lambda budget: abs(budget.epsilon - headline["epsilon"]))
        return budgets[len(budgets) // 2]

    @property
    def defects(self) -> list[str]:
        """The defect kinds that have figures of their own, sorted."""
        return sorted(set(self.metrics["defect"]) - {ALL, WORST_KIND, WORST_CATEGORY, "normal", *self.categories})

    @functools.cached_property
    def categories(self) -> list[str]:
        """The categories that have figures of their own, sorted; none where the dataset has only one."""
        names = set(self.metrics["defect"])
        if WORST_CATEGORY not in names:
            return []
        return sorted(name for name in names if any(kind.startswith(f"{name}/") for kind in names))

    @property
    def why_no_categories(self) -> str:
        """Why a dataset of several categories has no figures by category; nothing where that isn't so."""
        return next((one["text"] for one in self.info.get("findings", []) if one["name"] == NO_CATEGORIES), "")

    @property
    def confidence(self) -> float:
        """The confidence of the intervals, 0 to 1."""
        return float(self.metrics["confidence"][0])

    def attacks(self, norm: str | None = None) -> list[SuiteEntry]:
        """The suite's entries, of one norm or of all."""
        entries: list[SuiteEntry] = self.info["suite"]["attacks"]
        return [entry for entry in entries if norm in (None, entry["norm"])]

    @functools.cached_property
    def _worst_case(self) -> pa.Table:
        columns = ["norm", "epsilon", "label", "clean_score", "score"]
        table = self._table("worst_case.parquet", columns, columns)
        return table.set_column(0, "norm", table["norm"].dictionary_encode())  # a byte a row in place of the word

    def worst_scores(self, budget: ThreatBudget) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Labels, clean scores and worst scores over all attacks up to this budget, one each per sample."""
        epsilons, wanted = self._worst_case["epsilon"], epsilon_key(budget.epsilon)
        same = [epsilon for epsilon in pc.unique(epsilons).to_pylist() if epsilon_key(epsilon) == wanted]
        here = pc.is_in(epsilons, pa.array(same, pa.float64()))
        rows = self._worst_case.filter(pc.and_(here, pc.equal(self._worst_case["norm"], budget.norm)))
        if not len(rows):
            at = f"{budget.norm} {budget.epsilon:.4g}"
            path = self.folder.place("worst_case.parquet")
            raise DataError(f"{path} holds nothing at {at}; delete it and {self._again}")
        return rows["label"].to_numpy(), rows["clean_score"].to_numpy(), rows["score"].to_numpy()


def _mapping(folder: Store, kind: str, key: str, parse: Any, remedy: str) -> Content:
    path = folder.place(key)
    try:
        content = parse(folder.read(key))
    except StoreError as error:
        raise _of_a_file(error, path, remedy) from error
    except (ValueError, RecursionError, InputError) as error:
        why = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read ({why}); {remedy}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no mapping; {remedy}")
    formats.check_content(content, kind, path)
    return content


def _yaml(content: bytes) -> Content:
    """Without tags, and without aliases that stand for more than memory holds."""
    return yaml_file.written(content, "its content")


def _of_a_file(error: StoreError, path: str, remedy: str) -> DataError | StoreError:
    """A file that is missing or unreadable can be made again; a store that cannot be reached is another matter."""
    if isinstance(error.__cause__, FileNotFoundError):
        return DataError(f"{path} is missing; {remedy}")
    return error


def _holds(mapping: Any, key: str) -> bool:
    first, _, rest = key.partition(".")
    return isinstance(mapping, dict) and first in mapping and (not rest or _holds(mapping[first], rest))


def _columns(table: pa.Table) -> Columns:
    return {name: table[name].to_numpy() for name in table.column_names if name not in NEWER}
