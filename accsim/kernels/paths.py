"""Shortest paths of a graph in CSR form, and the loads of links when traffic is split over all of them.

A link is on a shortest path from the root if it raises the distance by one, so the links of all shortest paths form an
acyclic graph in which paths are counted forwards and shares handed back (Brandes, *A faster algorithm for betweenness
centrality*, 2001). ``tests/reference/network_naive.py`` lists the paths one by one instead.
"""

from __future__ import annotations

from accsim.kernels.jit import kernel


@kernel
def hops_from(first, target, root, hops, order):
    """Hops from ``root`` to every node (-1: not reached) in ``hops``; nodes by distance in ``order``; their number."""
    for v in range(len(hops)):
        hops[v] = -1
    hops[root] = 0
    order[0] = root
    count = 1
    done = 0
    while done < count:
        v = order[done]
        done += 1
        for link in range(first[v], first[v + 1]):
            w = target[link]
            if hops[w] < 0:
                hops[w] = hops[v] + 1
                order[count] = w
                count += 1
    return count


@kernel
def count_paths(first, target, hop_s, hops, order, count, paths, late):
    """Number of shortest paths to every node in ``paths``, and the latency of the slowest of them in ``late``."""
    for i in range(count):
        paths[order[i]] = 0.0
        late[order[i]] = 0.0
    paths[order[0]] = 1.0
    for i in range(count):
        v = order[i]
        for link in range(first[v], first[v + 1]):
            w = target[link]
            if hops[w] == hops[v] + 1:
                paths[w] += paths[v]
                late[w] = max(late[w], late[v] + hop_s[link])


@kernel
def spread_evenly(first, target, hop_s, demand, load, hops, order, paths, late, due):
    """Add to ``load`` the bytes of ``demand[s, t]`` (s != t), each pair's split evenly over all its shortest paths.

    Parameters
    ----------
    demand : float64[sources, chips], sources counted from node 0; not 0 only for nodes that can be reached.
    load : float64[links].
    hops, order, paths, late, due : scratch, [nodes].

    Returns
    -------
    Latency of the slowest shortest path between two chips with traffic, s.
    """
    worst = 0.0
    for s in range(demand.shape[0]):
        count = hops_from(first, target, s, hops, order)
        count_paths(first, target, hop_s, hops, order, count, paths, late)
        for v in range(len(due)):
            due[v] = 0.0
        for t in range(demand.shape[1]):
            if t != s and demand[s, t] > 0.0:
                due[t] = demand[s, t]
                worst = max(worst, late[t])
        for i in range(count - 1, -1, -1):
            v = order[i]
            for link in range(first[v], first[v + 1]):
                w = target[link]
                if hops[w] == hops[v] + 1 and due[w] > 0.0:
                    part = due[w] * paths[v] / paths[w]
                    load[link] += part
                    due[v] += part
    return worst


@kernel
def list_steps(first, target, port, hops, order, count, paths, steps, share):
    """Links of all shortest paths from one node, by distance, as (from, to, port) in ``steps``; their number.

    Parameters
    ----------
    hops, order, count, paths : of that node.
    steps : int32[links, 3].
    share : float64[links], part of what goes to the link's end that comes over it.
    """
    at = 0
    for i in range(count):
        v = order[i]
        for link in range(first[v], first[v + 1]):
            w = target[link]
            if hops[w] == hops[v] + 1:
                steps[at, 0] = v
                steps[at, 1] = w
                steps[at, 2] = port[link]
                share[at] = paths[v] / paths[w]
                at += 1
    return at


@kernel
def spread_alike(link_at, target, hop_s, steps, share, demand, load, links, seen, late, due):
    """``spread_evenly`` of a graph that looks the same from every node: the paths of node 0, moved to each source.

    Parameters
    ----------
    link_at : int32[nodes, ports].
    steps, share : of node 0, from ``list_steps``.
    links, seen, late, due : scratch, int32[steps], int32[nodes], float64[nodes] twice; ``seen`` is the node that each
        node of node 0's view is, seen from the source.
    """
    worst = 0.0
    for s in range(demand.shape[0]):
        seen[0] = s
        late[:] = 0.0
        for i in range(len(share)):
            v, w = steps[i, 0], steps[i, 1]
            link = link_at[seen[v], steps[i, 2]]
            links[i] = link
            seen[w] = target[link]
            late[w] = max(late[w], late[v] + hop_s[link])
        due[0] = 0.0
        for w in range(1, len(seen)):
            due[w] = demand[s, seen[w]]
            if due[w] > 0.0:
                worst = max(worst, late[w])
        for i in range(len(share) - 1, -1, -1):
            part = due[steps[i, 1]] * share[i]
            load[links[i]] += part
            due[steps[i, 0]] += part
    return worst


@kernel
def list_links(first, target, reverse, hops, paths, goal, due, queue, link_out, share_out, at):
    """Links of all shortest paths to ``goal`` and the share of its traffic on each, written from ``at`` on.

    Parameters
    ----------
    hops, paths : of the source.
    due : float64[nodes], zeros, and left so.
    queue : int32[nodes], scratch.
    link_out, share_out : where they go; with none of room, links are only counted.

    Returns
    -------
    Where the next may be written.
    """
    due[goal] = 1.0
    queue[0] = goal
    count = 1
    done = 0
    while done < count:
        w = queue[done]
        done += 1
        for back in range(first[w], first[w + 1]):
            v = target[back]
            if hops[v] == hops[w] - 1:
                if due[v] == 0.0:
                    queue[count] = v
                    count += 1
                part = due[w] * paths[v] / paths[w]
                due[v] += part
                if at < len(link_out):
                    link_out[at] = reverse[back]
                    share_out[at] = part
                at += 1
    for i in range(count):
        due[queue[i]] = 0.0
    return at


@kernel
def list_all_links(
    first, target, reverse, hop_s, source, goal, begin, link_out, share_out, hops, order, paths, late, due, queue
):
    """``list_links`` of every pair, pairs sorted by source; where each begins in ``begin``; latency of the slowest."""
    at = 0
    worst = 0.0
    for f in range(len(source)):
        if f == 0 or source[f] != source[f - 1]:
            count = hops_from(first, target, source[f], hops, order)
            count_paths(first, target, hop_s, hops, order, count, paths, late)
            for v in range(len(due)):
                due[v] = 0.0
        begin[f] = at
        at = list_links(first, target, reverse, hops, paths, goal[f], due, queue, link_out, share_out, at)
        worst = max(worst, late[goal[f]])
    begin[len(source)] = at
    return worst


@kernel
def follow_shortest(first, target, allowed, rises, chips, follows, used, hops, order, here):
    """Mark which virtual channel a shortest path from some chip takes right after which.

    A path takes only links of its class, starts at level 0, and goes up one behind every link that rises.

    Parameters
    ----------
    allowed, rises : bool[links], of the class.
    follows : bool[links * levels, most links of a node * levels], by the channel before, and the link and level behind.
    used : bool[links, levels].
    hops, order : scratch, int32[nodes].
    here : scratch, bool[nodes, levels], levels at which a path leaves a node.
    """
    levels = here.shape[1]
    for root in range(chips):
        count = hops_from(first, target, root, hops, order)
        here[:] = False
        here[root, 0] = True
        for i in range(count):
            u = order[i]
            for link in range(first[u], first[u + 1]):
                v = target[link]
                if hops[v] != hops[u] + 1 or not allowed[link]:
                    continue
                for level in range(levels):
                    if here[u, level]:
                        used[link, level] = True
                        behind = level + 1 if rises[link] else level
                        if behind < levels:
                            here[v, behind] = True
                            for after in range(first[v], first[v + 1]):
                                if hops[target[after]] == hops[v] + 1 and allowed[after]:
                                    follows[link * levels + level, (after - first[v]) * levels + behind] = True
