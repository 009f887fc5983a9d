"""Points of one or two figures, added one at a time and kept in the order in which successive halving prefers them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TypeAlias

Point: TypeAlias = tuple[float, ...]
"""Figures, all to be maximised."""
Place: TypeAlias = tuple[float, float]
"""The first figure of a point negated, and its second."""


class SortedScores:
    """Points of one figure, highest first; ties by age, earlier first."""

    def __init__(self) -> None:
        self._sorted: list[tuple[float, int]] = []

    def add(self, point: Point, number: int, room: int = 0) -> bool:
        """Add a point; returns whether it is among the first `room`."""
        entry = (-point[0], number)
        insort(self._sorted, entry)
        return bisect_left(self._sorted, entry) < room

    def first(self, count: int) -> list[int]:
        """The numbers of the best points."""
        return [number for _, number in self._sorted[:count]]


class NondominatedFronts:
    """Points of two figures by non-dominated rank, within a front by their sum; ties by age, earlier first.

    Each front is sorted by descending first figure, so its second figure ascends. The points of a front that a new
    point dominates are contiguous; they move to the next front, where the points they dominate are contiguous again. A
    new point thus costs one binary search per front, not a comparison with every point (after ENLU: Li et al. 2017,
    "Efficient non-domination level update method for steady-state evolutionary multiobjective optimization"). Equal
    points share one place.
    """

    def __init__(self) -> None:
        self._fronts: list[list[Place]] = []
        self._sizes: list[int] = []  # number of points of each front
        self._at: dict[Place, list[int]] = {}  # the numbers of the points in a place, ascending

    def add(self, point: Point, number: int, room: int = 0) -> bool:
        """Add a point; returns whether it is among the first `room`."""
        place = (-point[0], point[1])
        rank = bisect_left(self._fronts, True, key=lambda front: not _beaten(front, place))
        if place in self._at:
            insort(self._at[place], number)
            self._sizes[rank] += 1
        else:
            self._at[place] = [number]
            self._insert(place, rank)
        left = room - sum(self._sizes[:rank])
        if left <= 0 or left >= self._sizes[rank]:  # its position in the front does not matter
            return left > 0
        return self._before(place, number, rank) < left

    def _insert(self, place: Place, rank: int) -> None:
        """Insert a new place into its front; the points it dominates move to the next front, and so on."""
        moving, count = [place], 1
        for at in range(rank, len(self._fronts)):
            front = self._fronts[at]
            start = bisect_left(front, moving[0][0], key=lambda one: one[0])
            stop = max(start, bisect_right(front, moving[-1][1], key=lambda one: one[1]))
            front[start:stop], moving = moving, front[start:stop]
            beaten = sum(len(self._at[one]) for one in moving)
            self._sizes[at], count = self._sizes[at] + count - beaten, beaten
            if not moving:
                return
        self._fronts.append(moving)
        self._sizes.append(count)

    def _before(self, place: Place, number: int, rank: int) -> int:
        """How many points of its front come before a point."""
        total = place[1] - place[0]
        higher = sum(len(self._at[one]) for one in self._fronts[rank] if one[1] - one[0] > total)
        equal = (self._at[one] for one in self._fronts[rank] if one[1] - one[0] == total)
        return higher + sum(bisect_left(numbers, number) for numbers in equal)

    def first(self, count: int) -> list[int]:
        """The numbers of the best points, front by front; from a front with too many, spread evenly along it."""
        best: list[int] = []
        for front in self._fronts:
            numbers = [number for place in front for number in self._at[place]]
            left = min(count - len(best), len(numbers))
            best += [numbers[one * (len(numbers) - 1) // max(1, left - 1)] for one in range(left)]
            if len(best) == count:
                break
        return best


def _beaten(front: list[Place], place: Place) -> bool:
    """Whether a point of a front is at least as good in both figures and better in one."""
    at = bisect_right(front, place[0], key=lambda one: one[0])  # before it, the first figure is at least as high
    if not at:
        return False
    best = front[at - 1]
    return best[1] > place[1] or (best[1] == place[1] and best[0] < place[0])
