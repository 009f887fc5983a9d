"""Points of one or two figures that come one at a time, kept in the order in which successive halving prefers them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TypeAlias

Point: TypeAlias = tuple[float, ...]
"""Figures, all to be maximised."""


class Line:
    """Points of one figure, the highest first; of equal ones the earlier."""

    def __init__(self) -> None:
        self._sorted: list[tuple[float, int]] = []

    def add(self, point: Point, number: int, room: int = 0) -> bool:
        """Take in a point; returns whether it is among the first `room`."""
        entry = (-point[0], number)
        insort(self._sorted, entry)
        return bisect_left(self._sorted, entry) < room

    def first(self, count: int) -> list[int]:
        """The numbers of the best points."""
        return [number for _, number in self._sorted[:count]]


class Fronts:
    """Points of two figures by non-dominated rank, in a front by their sum, of equal ones the earlier.

    A front is held with its first figure falling, so its second rises. What a new point beats in its front is one
    stretch of it, which moves to the next front, where what it beats is one stretch again: a new point costs a binary
    search a front, not a comparison with every point (after ENLU: Li et al. 2017, "Efficient non-domination level
    update method for steady-state evolutionary multiobjective optimization").
    """

    def __init__(self) -> None:
        self._fronts: list[list[tuple[float, float, int]]] = []  # (-first, second, number), ascending

    def add(self, point: Point, number: int, room: int = 0) -> bool:
        """Take in a point; returns whether it is among the first `room`."""
        first, second = point
        entry = (-first, second, number)
        rank = bisect_left(self._fronts, True, key=lambda front: not _beaten(front, entry))
        moving = [entry]
        for front in self._fronts[rank:]:
            stretch = _stretch(front, moving)
            front[stretch], moving = moving, front[stretch]
            if not moving:
                break
        if moving:
            self._fronts.append(moving)
        left = room - sum(map(len, self._fronts[:rank]))
        front = self._fronts[rank]
        if left <= 0 or left >= len(front):  # no need to look where in its front the point stands
            return left > 0
        key = (-first - second, number)
        return sum((-one[1] + one[0], one[2]) < key for one in front) < left

    def first(self, count: int) -> list[int]:
        """The numbers of the best points, front by front; of a front with more than are wanted, evenly along it."""
        found: list[int] = []
        for front in self._fronts:
            left = min(count - len(found), len(front))
            found += [front[place * (len(front) - 1) // max(1, left - 1)][2] for place in range(left)]
            if len(found) == count:
                break
        return found


def _beaten(front: list[tuple[float, float, int]], entry: tuple[float, float, int]) -> bool:
    """Whether a point of a front is as good in both figures and better in one."""
    at = bisect_right(front, entry[0], key=lambda one: one[0])  # up to here the first figure is as high or higher
    if not at:
        return False
    best = front[at - 1]
    return best[1] > entry[1] or (best[1] == entry[1] and best[0] < entry[0])


def _stretch(front: list[tuple[float, float, int]], moving: list[tuple[float, float, int]]) -> slice:
    """Where in a front those are that a stretch of the front before beats; where none are, where it belongs."""
    start = bisect_left(front, moving[0][:1], key=lambda one: one[:1])
    stop = bisect_right(front, moving[-1][1], key=lambda one: one[1])
    equal = moving[0][:2]  # a single new point beats none that equals it
    while start < stop and front[start][:2] == equal:
        start += 1
    while start < stop and front[stop - 1][:2] == equal:
        stop -= 1
    return slice(start, max(start, stop))
