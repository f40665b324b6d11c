"""Spanning trees of a graph in CSR form that share no directed link.

If k paths without a common link lead from the root to every node, there are k such trees (Edmonds, *Edge-disjoint
branchings*, 1973). They grow one after the other, each by links without which as many paths as there are trees to come
still lead to the link's end (Lovász, *On two minimax theorems in graph*, 1976): no other node can have lost one, since
what parts the root from it would part it from that end too.
"""

from __future__ import annotations

from accsim.kernels.jit import kernel


@kernel
def has_paths(first, source, target, reverse, free, root, goal, count, flow, parent, queue):
    """True if ``count`` paths without a common link lead from ``root`` to ``goal`` over the links that are ``free``.

    Each path is found breadth first, and may take back a link of those before (Ford and Fulkerson).

    Parameters
    ----------
    flow, parent, queue : scratch, bool[links], int32[nodes] twice.
    """
    flow[:] = False
    for _ in range(count):
        parent[:] = -1
        queue[0] = root
        size = 1
        done = 0
        while done < size and parent[goal] < 0:
            v = queue[done]
            done += 1
            for link in range(first[v], first[v + 1]):
                w = target[link]
                if w == root or parent[w] >= 0:
                    continue
                back = reverse[link]
                if (free[link] and not flow[link]) or (free[back] and flow[back]):
                    parent[w] = link
                    queue[size] = w
                    size += 1
        if parent[goal] < 0:
            return False
        w = goal
        while w != root:
            link = parent[w]
            if free[reverse[link]] and flow[reverse[link]]:
                flow[reverse[link]] = False
            else:
                flow[link] = True
            w = source[link]
    return True


@kernel
def grow_trees(first, source, target, reverse, root, trees, nodes, depth, free, flow, parent, queue, order):
    """Links of ``trees`` disjoint spanning trees in ``nodes``, row by row in the order in which they were added.

    Nodes nearer to the root are gone on from first. False if a tree could not be finished.

    Parameters
    ----------
    nodes : int32[trees, nodes - 1], links.
    depth : int32[trees, nodes], hops from the root; -1 where a tree is not yet.
    free, flow, parent, queue, order : scratch, bool[links] twice, int32[nodes] three times.
    """
    free[:] = True
    depth[:] = -1
    for tree in range(trees):
        depth[tree, root] = 0
        order[0] = root
        size = 1
        done = 0
        while size < len(order):
            if done == size:
                return False
            v = order[done]
            done += 1
            for link in range(first[v], first[v + 1]):
                w = target[link]
                if depth[tree, w] >= 0 or not free[link]:
                    continue
                free[link] = False
                if has_paths(first, source, target, reverse, free, root, w, trees - tree - 1, flow, parent, queue):
                    depth[tree, w] = depth[tree, v] + 1
                    nodes[tree, size - 1] = link
                    order[size] = w
                    size += 1
                else:
                    free[link] = True
    return True
