"""Rules between the sections of a search-space file; each is applied if the sections it needs are valid."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from assay.config import labels_needed
from assay.config.domains import Choice
from assay.config.search import enqueued
from assay.config.search import fidelity as fidelity_rules
from assay.config.search_space import COSTS, OBJECTIVES
from assay.config.space import Space, varied
from assay.config.validation import shown
from assay.errors import Fault


def faults(sections: Mapping[str, Any]) -> list[Fault]:
    """Every broken rule. sections: those that are valid on their own, and `epochs` where known."""
    return [fault for rule in RULES for fault in _apply(rule, sections)]


def _apply(rule: Callable[..., Iterator[Fault]], sections: Mapping[str, Any]) -> Iterator[Fault]:
    """The faults a rule finds, if all the sections named by its parameters are available."""
    names = inspect.signature(rule).parameters
    if all(name in sections for name in names):
        yield from rule(*(sections[name] for name in names))


def _best_is_about_objectives(best: Any, objectives: Mapping[str, str]) -> Iterator[Fault]:
    allowed = f"must be one of the objectives: {', '.join(objectives)}"
    if best.maximize != "mean" and best.maximize not in objectives:
        yield Fault("best.maximize", shown(best.maximize), f"{allowed}, or mean")
    for name in best.at_least:
        if name not in objectives:
            yield Fault(f"best.at_least.{name}", shown(name), allowed)


def _aurocs_are_maximised_beside_costs(objectives: Mapping[str, str]) -> Iterator[Fault]:
    for name, direction in objectives.items():
        if name in COSTS and direction != "min":
            yield Fault(f"objectives.{name}", shown(direction), "must be min: it is a cost")
        if name in OBJECTIVES and direction != "max":
            yield Fault(f"objectives.{name}", shown(direction), "must be max: it is an AUROC")
    if all(name in COSTS for name in objectives):
        allowed = f"must have one of {', '.join(OBJECTIVES)} beside costs, by which the epoch to be kept is chosen"
        yield Fault("objectives", ", ".join(objectives), allowed)


def _stopping_is_about_objectives(stop_early: Any, objectives: Mapping[str, str]) -> Iterator[Fault]:
    for name in stop_early.metrics(objectives) if stop_early else ():
        if name not in objectives:
            allowed = f"must be one of the objectives: {', '.join(objectives)}, or all"
            yield Fault("stop_early.metric", shown(name), allowed)


def _grace_is_within_the_run(stop_early: Any, epochs: int | None) -> Iterator[Fault]:
    if stop_early is not None and epochs is not None and stop_early.grace > epochs:
        yield Fault("stop_early.grace", shown(stop_early.grace), f"must be at most the epochs of a trial, {epochs}")


def _robust_means_attacked(evaluation: Any, objectives: Mapping[str, str]) -> Iterator[Fault]:
    if evaluation.epsilon == 0 and "robust_auroc" in objectives:
        allowed = "must be more than 0 for robust_auroc: with epsilon 0 it equals clean_auroc"
        yield Fault("evaluation.epsilon", shown(evaluation.epsilon), allowed)


def _stopping_ranks_by_two(stop_early: Any, objectives: Mapping[str, str]) -> Iterator[Fault]:
    if stop_early is not None and len(named := stop_early.metrics(objectives)) > 2:
        allowed = "must name one or two of the objectives, by which trials are stopped, such as [robust_auroc]"
        yield Fault("stop_early.metric", f"{stop_early.metric} ({len(named)} objectives)", allowed)


def _ladder_rises(fidelity: Any, evaluation: Any, stop_early: Any, epochs: int | None) -> Iterator[Fault]:
    if fidelity is not None:
        yield from fidelity_rules.faults(fidelity, evaluation, stop_early, epochs)


def _grid_is_finite(search: Any, space: Any) -> Iterator[Fault]:
    if search.sampler == "grid":
        yield from (Fault(f"space.{fault.key}", fault.found, fault.allowed) for fault in _endless(space))


def _grid_of_trainables_is_finite(search: Any, trainable: Any) -> Iterator[Fault]:
    if search.sampler == "grid" and isinstance(trainable, Choice):
        yield from _endless({"trainable": trainable})


def _endless(space: Space) -> Iterator[Fault]:
    for name, domain in varied(space).items():
        if not isinstance(domain, Choice) and domain.size() is None:
            allowed = "is continuous, so a grid cannot cover it; write uniform with a step, integer or choice"
            yield Fault(name, shown(domain.plain()), allowed)


def _a_trial_takes_whole_gpus_or_shares_one(resources: Any) -> Iterator[Fault]:
    if resources.gpu > 1 and resources.gpu % 1:
        yield Fault("resources.gpu", shown(resources.gpu), "must be a whole number, or a share of one GPU below 1")


def _budget_can_be_used_up(budget: Any, resources: Any) -> Iterator[Fault]:
    gpu, price = resources.on_gpu, budget.price
    if budget.gpu_hours and not gpu:
        allowed = "can never be used up, as trials take no GPU; write cpu_hours, or give trials one (resources.gpu)"
        yield Fault("budget.gpu_hours", shown(budget.gpu_hours), allowed)
    if budget.cost and not (price and (price.cpu_hour or (price.gpu_hour and gpu))):
        what = "gpu_hour or cpu_hour" if gpu else "cpu_hour, as trials take no GPU"
        allowed = f"needs the price of what trials use: budget.price with {what}, such as {{cpu_hour: 0.04}}"
        yield Fault("budget.cost", shown(budget.cost), allowed)


def _there_are_anomalies_to_train_on(trainable: Any, dataset: Any, fixed: Any, space: Any) -> Iterator[Fault]:
    if dataset.arguments().get("labelled_anomalies") == 0:  # datasets without that parameter are not checked
        for name in labels_needed.trainables_in_need(trainable, fixed, space):
            allowed = f"{name} trains on labelled anomalies: ask for some, such as 10, or give it a pseudo_anomaly"
            yield Fault("dataset.labelled_anomalies", "0", allowed)


def _a_grid_learns_from_nothing(search: Any) -> Iterator[Fault]:
    if search.sampler == "grid" and search.start_from:
        allowed = "is of no use to a grid, which tries every point; leave it out, or take tpe or gp"
        yield Fault("search.start_from", shown(search.start_from), allowed)


def _what_is_enqueued_is_in_the_space(search: Any, space: Any, trainable: Any) -> Iterator[Fault]:
    domains = {"trainable": trainable} if isinstance(trainable, Choice) else space
    for at, entry in enumerate(search.enqueue):
        yield from enqueued.faults(entry, domains, f"search.enqueue.{at}")


RULES = (
    _aurocs_are_maximised_beside_costs,
    _best_is_about_objectives,
    _stopping_is_about_objectives,
    _stopping_ranks_by_two,
    _grace_is_within_the_run,
    _robust_means_attacked,
    _ladder_rises,
    _grid_is_finite,
    _what_is_enqueued_is_in_the_space,
    _a_grid_learns_from_nothing,
    _grid_of_trainables_is_finite,
    _a_trial_takes_whole_gpus_or_shares_one,
    _budget_can_be_used_up,
    _there_are_anomalies_to_train_on,
)
