"""Topological order that disturbs a given order as little as it must."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence


def sort_nodes(before: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """(order, cycle): each name after those in `before[name]`; of several that could come next, the earliest in the mapping.

    An order that is already right stays as it is. If there is none, `cycle` names nodes that wait for each other in a circle.
    """
    place = {name: index for index, name in enumerate(before)}
    if all(place[other] < place[name] for name, others in before.items() for other in others):
        return list(before), []
    names = list(before)
    waiting = {name: len(others) for name, others in before.items()}
    after: dict[str, list[str]] = {name: [] for name in before}
    for name, others in before.items():
        for other in others:
            after[other].append(name)
    ready = [place[name] for name, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for follower in after[name]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, place[follower])
    return (order, []) if len(order) == len(names) else ([], _find_cycle(before, waiting))


def _find_cycle(before: Mapping[str, Sequence[str]], waiting: Mapping[str, int]) -> list[str]:
    """Walk back along nodes that still wait until one comes twice."""
    name = next(name for name, count in waiting.items() if count)
    path: dict[str, int] = {}
    while name not in path:
        path[name] = len(path)
        name = next(other for other in before[name] if waiting[other])
    return list(path)[path[name] :]
