"""Points that come one at a time stand where sorting all of them anew would put them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assay.choice import ranks
from assay.fronts import Fronts, Line

FEW = st.integers(0, 4).map(float)  # many ties
MANY = st.floats(-1, 1, allow_subnormal=False)


@given(st.one_of(st.lists(st.tuples(FEW, FEW)), st.lists(st.tuples(MANY, MANY))))
def test_two_figures_are_ordered_by_rank_then_sum_then_arrival(points):
    fronts = Fronts()
    for number, point in enumerate(points):
        seen = points[: number + 1]
        rank = ranks(seen)
        order = sorted(range(len(seen)), key=lambda at: (rank[at], -sum(seen[at]), at))
        assert fronts.add(point, number) == order.index(number)


@given(st.lists(st.one_of(FEW, MANY)))
def test_one_figure_is_ordered_by_itself_then_arrival(values):
    line = Line()
    for number, value in enumerate(values):
        assert line.add((value,), number) == sum(other >= value for other in values[:number])
