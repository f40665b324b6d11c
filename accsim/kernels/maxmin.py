"""Max-min fair rates of flows that share links, by progressive filling.

All rates grow together; where a link is full its flows stop (Bertsekas and Gallager, *Data Networks*, 1992, section
6.5.2). A link's fair share, what is left of it divided by the flows that still grow, never falls, so a heap of shares
that are brought up to date when they come out on top finds the next full link. ``tests/reference/network_naive.py``
fills round by round.
"""

from __future__ import annotations

import heapq

from accsim.kernels.jit import kernel


@kernel(allocates=True)
def fair_rates(capacity, begin, link, share, flow_begin, flow, count, rate, left, weight, growing):
    """Rate of one flow of each class in ``rate``, bytes/s.

    Parameters
    ----------
    capacity : float64[links], bytes/s.
    begin, link, share : class f puts ``share`` of its rate on each of ``link[begin[f] : begin[f + 1]]``.
    flow_begin, flow : the same by link: the classes on it.
    count : float64[classes], flows of each class; those of 0 get no rate.
    left, weight, growing : scratch, float64[links], float64[links], int64[links].
    """
    for m in range(len(capacity)):
        left[m] = capacity[m]
        weight[m] = 0.0
        growing[m] = 0
    for f in range(len(count)):
        rate[f] = -1.0 if count[f] > 0.0 else 0.0
        if count[f] > 0.0:
            for i in range(begin[f], begin[f + 1]):
                weight[link[i]] += count[f] * share[i]
                growing[link[i]] += 1
    heap = [(left[m] / weight[m], m) for m in range(len(capacity)) if growing[m] > 0]
    heapq.heapify(heap)
    while len(heap) > 0:
        key, m = heapq.heappop(heap)
        if growing[m] == 0:
            continue
        fair = left[m] / weight[m]
        if fair > key * (1.0 + 1e-12):
            heapq.heappush(heap, (fair, m))
            continue
        for j in range(flow_begin[m], flow_begin[m + 1]):
            f = flow[j]
            if rate[f] >= 0.0:
                continue
            rate[f] = fair
            for i in range(begin[f], begin[f + 1]):
                left[link[i]] = max(left[link[i]] - fair * count[f] * share[i], 0.0)
                weight[link[i]] -= count[f] * share[i]
                growing[link[i]] -= 1
