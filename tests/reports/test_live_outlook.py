"""How a sweep stands against its budget, by the trials that have ended."""

from __future__ import annotations

import pytest
from toy_log import asked, ended, reported

from assay.reports.live.outlook import Line, ago, outlook
from assay.store import trial_log
from assay.store.trial_log import Record
from assay.sweeps.budget import Spent

SPEC = {"search": {"trials": 10}, "resources": {"cpu": 2, "gpu": 0}, "budget": {"cpu_hours": 5, "wall_minutes": 30}}


def records(*seconds: float, training: int = 0) -> dict[int, Record]:
    """Ended trials that took so long, and some that train."""
    events = []
    for number, took in enumerate(seconds):
        events += [asked(number), {**reported(number, 1), "seconds": took}, ended(number)]
    for number in range(len(seconds), len(seconds) + training):
        events += [asked(number), {"event": "begin", "trial": number, "at": 100.0}]
    return trial_log.records(events)


def test_what_is_ahead_is_the_mean_of_what_has_ended():
    found = outlook(SPEC, records(1000, 2000, training=2), Spent(2.0, 0.0), last=995.0, now=1000.0)
    assert (found.state, found.total, found.left, found.together, found.seconds) == ("running", 10, 8, 2, 1500)
    hours, wall = found.lines  # 8 x 1500 s x 2 cores; 8 x 1500 s by 2 at a time
    assert hours == Line("CPU-hours", "2.00", "6.67", "5", "no")
    assert wall == Line("time from now", "–", "100 min", "30 min", "no")
    enough = {**SPEC, "budget": {"cpu_hours": 9, "price": {"cpu_hour": 0.5, "currency": "EUR"}, "cost": 4}}
    lines = outlook(enough, records(1000, 2000), Spent(2.0, 0.0), 995.0, 1000.0).lines
    assert [(line.what, line.enough) for line in lines] == [("CPU-hours", "yes"), ("cost in EUR", "no")]


def test_a_driver_that_says_nothing_has_stopped():
    assert outlook(SPEC, records(10.0, training=1), Spent(), last=0.0, now=1000.0).state == "stopped"
    assert outlook(SPEC, records(10.0, training=1), Spent(), last=None, now=1000.0).together == 0
    assert outlook(SPEC, records(*[10.0] * 10), Spent(), last=0.0, now=1000.0).state == "ended"


def test_nothing_is_foreseen_before_a_trial_has_ended():
    found = outlook(SPEC, records(training=2), Spent(0.1, 0.0), 999.0, 1000.0)
    assert (found.seconds, found.lines[0].ahead, found.lines[0].enough) == (None, "–", "–")


def test_a_damaged_spec_is_an_error():
    with pytest.raises(ValueError):
        outlook({**SPEC, "budget": {"cpu_hours": "many"}}, {}, Spent(), None, 0.0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200000, "2 days"), (-3, "0 s")]
)
def test_a_time_span_in_words(seconds, words):
    assert ago(seconds) == words


def test_no_more_trials_are_waited_for_than_there_are_configurations_and_seeds():
    few = {**SPEC, "trainable": "cobra", "space": {"k": {"choice": [1, 3]}}, "seeds": 3}
    assert outlook(few, records(*[10.0] * 4), Spent(), 0.0, 1000.0).state == "ended"
    assert outlook(few, records(*[10.0] * 2), Spent(), 999.0, 1000.0).left == 2
    several = {**SPEC, "trainable": {"choice": ["neighbours", {"gaussian": {"k": {"integer": [1, 3]}}}]}}
    assert outlook(several, records(*[10.0] * 4), Spent(), 0.0, 1000.0).left == 0
    assert outlook({**SPEC, "space": {"x": {"uniform": [0, 1]}}}, {}, Spent(), None, 0.0).left == 10
