"""Routes of tori in dimension order: one axis after the other, along given vectors between nodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accsim.kernels.jit import kernel


class Ways(NamedTuple):
    """How coordinate differences become nodes of the torus of vectors, and the vectors of each of those nodes.

    Attributes
    ----------
    coordinates : int64[nodes, axes], of the nodes of the graph.
    shape, order : int64[axes], of the torus of vectors; axes in an order in which each twists only later ones.
    twist : int64[axes, axes].
    vectors : int64[vectors, axes].
    weight : float64[vectors], shares of a node's traffic; those of one node add up to 1.
    begin : int64[nodes of the torus of vectors + 1], where the vectors of each begin.
    """

    coordinates: np.ndarray
    shape: np.ndarray
    order: np.ndarray
    twist: np.ndarray
    vectors: np.ndarray
    weight: np.ndarray
    begin: np.ndarray


@kernel
def relation(ways, s, t, away):
    """Node of the torus of vectors that t is, seen from s; ``away`` is scratch, int64[axes]."""
    axes = len(ways.shape)
    for a in range(axes):
        away[a] = ways.coordinates[t, a] - ways.coordinates[s, a]
    for i in range(axes):
        a = ways.order[i]
        turns = away[a] // ways.shape[a]
        away[a] -= turns * ways.shape[a]
        if turns != 0:
            for b in range(axes):
                away[b] += turns * ways.twist[a, b]
    node = 0
    for a in range(axes):
        node = node * ways.shape[a] + away[a]
    return node


@kernel
def walk(link_at, target, axis_order, source, vector, links):
    """Links from a node along a vector, axis after axis, into ``links``; their number.

    Parameters
    ----------
    link_at : int32[nodes, ports], port 2a of a node leads upwards along axis a and port 2a + 1 downwards.
    """
    v = source
    count = 0
    for i in range(len(axis_order)):
        a = axis_order[i]
        port = 2 * a if vector[a] > 0 else 2 * a + 1
        for _ in range(abs(vector[a])):
            links[count] = link_at[v, port]
            v = target[links[count]]
            count += 1
    return count


@kernel
def walk_matrix(link_at, target, hop_s, axis_order, ways, demand, load, links, away):
    """Add to ``load`` the bytes of ``demand[s, t]`` (s != t) along the vectors from s to t, by their weights.

    Returns
    -------
    Latency of the slowest route with traffic, s.
    """
    worst = 0.0
    for s in range(demand.shape[0]):
        for t in range(demand.shape[1]):
            if s == t or demand[s, t] == 0.0:
                continue
            node = relation(ways, s, t, away)
            for k in range(ways.begin[node], ways.begin[node + 1]):
                if ways.weight[k] > 0.0:
                    count = walk(link_at, target, axis_order, s, ways.vectors[k], links)
                    late = 0.0
                    for i in range(count):
                        load[links[i]] += demand[s, t] * ways.weight[k]
                        late += hop_s[links[i]]
                    worst = max(worst, late)
    return worst


@kernel
def walk_pairs(link_at, target, hop_s, axis_order, ways, source, goal, begin, link_out, share_out, links, away):
    """Links of every pair's routes and the share of its traffic on each; where each pair begins in ``begin``.

    With less room than needed in ``link_out`` and ``share_out`` the rest is only counted.

    Returns
    -------
    Latency of the slowest route, s.
    """
    worst = 0.0
    at = 0
    for f in range(len(source)):
        begin[f] = at
        node = relation(ways, source[f], goal[f], away)
        for k in range(ways.begin[node], ways.begin[node + 1]):
            if ways.weight[k] > 0.0:
                count = walk(link_at, target, axis_order, source[f], ways.vectors[k], links)
                late = 0.0
                for i in range(count):
                    late += hop_s[links[i]]
                    if at < len(link_out):
                        link_out[at] = links[i]
                        share_out[at] = ways.weight[k]
                    at += 1
                worst = max(worst, late)
    begin[len(source)] = at
    return worst


@kernel
def follow_channels(link_at, target, port, axis_order, ways, dateline, channels, follows, links, away):
    """Mark in ``follows`` which virtual channel the route between some two nodes takes right after which.

    A route starts every axis in channel 0 and goes on in channel 1 behind the axis's dateline, if there are two.

    Parameters
    ----------
    port, dateline : int32[links], bool[links].
    follows : bool[links * channels, ports * channels], by the channel before, and the port and channel behind.
    """
    for s in range(link_at.shape[0]):
        for t in range(link_at.shape[0]):
            node = relation(ways, s, t, away)
            for k in range(ways.begin[node], ways.begin[node + 1]):
                if ways.weight[k] == 0.0:
                    continue
                count = walk(link_at, target, axis_order, s, ways.vectors[k], links)
                before = 0
                channel = 0
                for i in range(count):
                    link = links[i]
                    if i > 0:
                        channel = channel if port[link] == port[links[i - 1]] else 0
                        follows[before, port[link] * channels + channel] = True
                    before = link * channels + channel
                    if dateline[link]:
                        channel = channels - 1
