"""Max-min fair rates of flows that share links, by progressive filling.

All rates grow together; where a link is full its flows stop (Bertsekas and Gallager, *Data Networks*, 1992, section
6.5.2). A link's fair share, what is left of it divided by the flows that still grow, never falls, so a heap of shares
that are brought up to date when they come out on top finds the next full link. ``tests/reference/network_naive.py``
fills round by round.

When flows end, those that had stopped before the first of them did so on links that none of them crosses: their rates
stay, and only the others are filled anew.
"""

from __future__ import annotations

import heapq

from accsim.kernels.jit import kernel

LEFT, WEIGHT, GROWING = 0, 1, 2
"""Columns of what is known of a link: bytes/s that no flow with a rate uses, shares of it that the flows which still
grow would use at a rate of 1, and the number of their classes."""


@kernel(allocates=True)
def fair_rates(classes, begin, link, share, flow_begin, flow, count, rate, state):
    """Rate of one flow of each of some classes in ``rate``, bytes/s, beside others whose rates stay.

    Parameters
    ----------
    classes : int64[n], those whose rates are sought; their old rates are given back to the links first.
    begin, link, share : class f puts ``share`` of its rate on each of ``link[begin[f] : begin[f + 1]]``.
    flow_begin, flow : the same by link: the classes on it.
    count : float64[classes of all], flows of each class; those of 0 get no rate.
    rate : float64[classes of all].
    state : float64[links, 3], what is left of each link, and two columns of zeros, which are left so.
    """
    touched = [0 for _ in range(0)]
    for f in classes:
        for i in range(begin[f], begin[f + 1]):
            m = link[i]
            if state[m, GROWING] == 0.0:
                touched.append(m)
            state[m, LEFT] += rate[f] * count[f] * share[i]
            state[m, WEIGHT] += count[f] * share[i]
            state[m, GROWING] += 1.0
        rate[f] = -1.0
    heap = [(state[m, LEFT] / state[m, WEIGHT], m) for m in touched]
    heapq.heapify(heap)
    while len(heap) > 0:
        key, m = heap[0]
        if state[m, GROWING] == 0.0:
            state[m, WEIGHT] = 0.0
            heapq.heappop(heap)
            continue
        fair = state[m, LEFT] / state[m, WEIGHT]
        if fair > key * (1.0 + 1e-12):
            heapq.heapreplace(heap, (fair, m))
            continue
        for j in range(flow_begin[m], flow_begin[m + 1]):
            f = flow[j]
            if rate[f] >= 0.0:
                continue
            rate[f] = fair
            for i in range(begin[f], begin[f + 1]):
                n = link[i]
                state[n, LEFT] = max(state[n, LEFT] - fair * count[f] * share[i], 0.0)
                state[n, WEIGHT] -= count[f] * share[i]
                state[n, GROWING] -= 1.0
