"""What this audit cannot say: attacks, attackers, images and proofs that it lacks, and the risk that remains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from assay.data.images import height_and_width
from assay.data.shrinking import WORDS, rule_of
from assay.reports.sections._html import Section, norm, section
from assay.store.audit_reader import Audit, is_idle
from assay.units import NORM_WORDS, in_255

ORDER = 105
SOURCES = ("audit.yaml", "metrics.parquet", "checks.parquet", "manifest.json")

ATTACKERS = {
    "white-box": "the weights of the detector",
    "score": "only the detector's scores",
    "label": "only the detector's decisions",
    "transfer": "only another detector, and transfer what fools it",
}
FEW = 30
"""Samples below which an interval of a rate is wider than a third."""

TEMPLATE = """
<h3>What was not tested</h3>
<ul>
{% for limit in limits %}
<li>{{ limit }}</li>
{% endfor %}
</ul>
{% if unsure %}
<h3>Checks that did not pass and are not required</h3>
<ul>
{% for check, evidence in unsure %}
<li>{{ check.replace("_", " ") }}: {{ evidence }}.</li>
{% endfor %}
</ul>
{% endif %}
{% if remarks %}
<h3>What was noticed</h3>
<ul>
{% for remark in remarks %}
<li>{{ remark }}</li>
{% endfor %}
</ul>
{% endif %}
<h3>Residual risk</h3>
<p>What an attacker of this suite still achieves; an attacker outside it may achieve more.</p>
<ul>
{% for at in shown %}
<li>{{ at | budget }}: misses {{ audit.rate("miss_rate", at) | estimate }} of the anomalies when they are hidden, stops
{{ audit.rate("false_alarm_rate", at) | estimate }} of the normals when they are raised.</li>
{% endfor %}
</ul>
"""


def limitations(audit: Audit) -> Section:
    """What was left out or not tested, checks that leave a doubt, and the rates in the worst case."""
    c = audit.checks
    rows = zip(c["check"], c["passed"], c["required"], c["evidence"], strict=True)
    unsure = [(check, evidence) for check, passed, required, evidence in rows if not (passed or required)]
    return section(
        "Limitations and residual risk",
        TEMPLATE,
        audit=audit,
        limits=list(_limits(audit)),
        unsure=[(check, str(text).rstrip(".")) for check, text in unsure if not is_idle(text)],
        remarks=dict.fromkeys(
            [
                *audit.info["dataset"].get("notices", []),
                *(finding["text"] for finding in audit.info.get("findings", [])),
                *audit.info.get("notes", []),
            ]
        ),
        shown=[audit.shown(name) for name in audit.norms],
    )


def _limits(audit: Audit) -> Iterator[str]:
    info, largest = audit.info, {budget.norm: budget.epsilon for budget in audit.budgets}
    known = {entry.get("knowledge") for entry in audit.attacks()}
    yield "Attacks outside the suite: with a stronger one, the model may prove less robust than any figure here."
    at_most = " and ".join(f"{norm(name)} {in_255(most, name)}" for name, most in largest.items())
    yield f"Larger changes than {at_most}."
    if missing := [norm(name) for name in NORM_WORDS if name not in largest]:
        yield f"Changes measured in another way: {', '.join(missing)}."
    for one in info.get("left_out", []):
        yield f"Attack {one['attack']}: {one['why']}."
    for knowledge, what in ATTACKERS.items():
        if knowledge not in known:
            yield f"Attackers who have {what}."
    if info.get("attacked_as") == "black box":
        yield "Gradients: the detector gives none, so no attack could use them."
    if count := info.get("limit"):
        yield f"Most of the test split: only {count} images of each class, evenly spread over it, were attacked."
    if few := _few(audit):
        what = "groups of images" if info.get("groups") else "images"
        yield f"Kinds of defect of which there are fewer than {FEW} {what}, with wide intervals: {', '.join(few)}."
    if not any(audit.attacked("auroc", at, attack="certified") for at in audit.budgets):
        yield "Proof: nothing is certified, so the true robust AUROC may be lower than every one shown here."
    if (polarity := _chosen_blindly(audit)) is not None:
        yield (
            f"Defects that are not {polarity}: polarity {polarity} was chosen blindly, as the validation split has no "
            "labelled anomalies."
        )
    if file := info.get("deployed"):
        yield f"Attacks on {file['detector']} itself, which is deployed: it was given what was found on the detector."
    if not info["suite"].get("corruptions"):
        yield "Dust, changes of light or camera, and other corruptions."
    yield _about_size(audit)
    yield "Tampering with the training data."
    yield f"Images other than the test split of {info['dataset']['name']}."


def _about_size(audit: Audit) -> str:
    """What was not seen, as images were shrunk or cut."""
    dataset, parameters = audit.info["dataset"], audit.manifest.get("parameters") or {}
    rule = rule_of(dataset)
    said = f"Images at their own size: they were {WORDS[rule.fit]}, by the filter {rule.filter}."
    if (dataset.get("item") or {}).get("image_size") == "native":
        height, width = height_and_width(dataset["image_size"])
        said = f"Images of another size than {height} x {width}, at which they were read."
    if not {"tile", "overlap"} <= set(parameters):
        return said
    most = int(parameters.get("highest", 1))
    scores = "as its highest tile" if most == 1 else f"as the mean of its {most} highest tiles"
    return (
        f"{said} What shows only across tiles, such as a part in a wrong place: an image is cut into tiles of "
        f"{parameters['tile']} pixels a side, of which two beside each other share {float(parameters['overlap']):.0%} "
        f"or more, and scores as high {scores}."
    )


def _chosen_blindly(audit: Audit) -> str | None:
    """The one direction of defects that a detector sees, where no labelled anomaly could tell which it should be."""
    seen = set(_polarities(audit.manifest.get("parameters") or {}))
    labelled = audit.info["dataset"].get("validation_anomalies") != "pseudo"
    return None if labelled or len(seen) != 1 or seen == {"both"} else seen.pop()


def _polarities(parameters: object) -> Iterator[str]:
    """Every `polarity` among parameters: a detector's own, and those of the members of an ensemble."""
    items = parameters.items() if isinstance(parameters, Mapping) else ()
    for name, value in items:
        if name == "polarity" and value in ("dark", "bright", "both"):
            yield str(value)
        yield from _polarities(value)


def _few(audit: Audit) -> list[str]:
    figures = {kind: audit.clean("auroc", kind) for kind in audit.defects}
    return [f"{kind} ({figure.units[1]})" for kind, figure in figures.items() if figure and figure.units[1] < FEW]
