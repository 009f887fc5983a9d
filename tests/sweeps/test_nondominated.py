"""Points that come one at a time stand where sorting all of them anew would put them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assay.sweeps.nondominated import NondominatedFronts, SortedScores

FEW = st.integers(0, 4).map(float)  # many ties
MANY = st.floats(-1, 1, allow_subnormal=False)


def ranks(points) -> list[int]:
    """The non-dominated rank of every point, in brute force: the longest chain of points above it."""
    memo: dict = {}

    def above(point) -> int:
        if point not in memo:
            memo[point] = max((above(other) + 1 for other in points if beats(other, point)), default=0)
        return memo[point]

    return [above(point) for point in points]


def beats(one, other) -> bool:
    return one != other and one[0] >= other[0] and one[1] >= other[1]


@given(st.one_of(st.lists(st.tuples(FEW, FEW)), st.lists(st.tuples(MANY, MANY))), st.integers(1, 4))
def test_two_figures_are_ordered_by_rank_then_sum_then_arrival(points, share):
    fronts = NondominatedFronts()
    for number, point in enumerate(points):
        seen = points[: number + 1]
        rank = ranks(seen)
        order = sorted(range(len(seen)), key=lambda at: (rank[at], -sum(seen[at]), at))
        assert fronts.add(point, number, len(seen) // share) == (order.index(number) < len(seen) // share)


@given(st.lists(st.one_of(FEW, MANY)), st.integers(1, 4))
def test_one_figure_is_ordered_by_itself_then_arrival(values, share):
    line = SortedScores()
    for number, value in enumerate(values):
        room = (number + 1) // share
        assert line.add((value,), number, room) == (sum(other >= value for other in values[:number]) < room)


@given(st.lists(st.tuples(FEW, FEW), min_size=1), st.integers(1, 30))
def test_the_first_come_front_by_front_and_none_twice(points, count):
    fronts, rank = NondominatedFronts(), ranks(points)
    for number, point in enumerate(points):
        fronts.add(point, number)
    found = fronts.first(count)
    assert len(found) == len(set(found)) == min(count, len(points))
    assert sorted(rank[number] for number in found) == sorted(rank)[:count]


def test_of_a_front_with_more_than_are_wanted_the_first_are_spread_along_it():
    fronts = NondominatedFronts()
    for number in range(100):
        fronts.add((float(number), float(-number)), number)
    assert fronts.first(4) == [99, 66, 33, 0]


def test_the_first_of_one_figure_are_the_highest():
    line = SortedScores()
    for number, value in enumerate([0.1, 0.5, 0.3]):
        line.add((value,), number)
    assert line.first(2) == [1, 2]
