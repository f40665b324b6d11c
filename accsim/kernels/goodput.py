"""Monte Carlo of a machine of cubes that fail: how many slices fit, with optical switches and with fixed wires."""

from __future__ import annotations

import math

import numpy as np

from accsim.kernels.jit import kernel


@kernel
def draw_cubes(rng, cubes, log_up):
    """Cubes that work, as bits, and their number; each does with the probability whose logarithm is ``log_up``.

    Cubes up to the next that fails are drawn at once: there are at least g of them with that probability to the g.
    """
    one = np.uint64(1)
    up = np.uint64(0)
    for cube in range(cubes):
        up |= one << np.uint64(cube)
    working = cubes
    cube = 0
    while log_up < 0.0:
        gap = math.log(1.0 - rng.random()) / log_up
        if gap >= cubes - cube:
            break
        cube += int(gap)
        up ^= one << np.uint64(cube)
        working -= 1
        cube += 1
    return up, working


@kernel
def count_slices(rng, samples, cubes, log_up, fabric_up, size, placements, anywhere, placed):
    """Draw the state of the machine again and again; count how often how many slices fit.

    Parameters
    ----------
    rng : NumPy generator.
    cubes : their number, at most 64.
    log_up : logarithm of the probability that a cube works.
    fabric_up : probability that all switches do; a switched slice needs them all.
    size : cubes of a slice.
    placements : uint64[placements], cubes of each place of a fixed slice as bits; places are filled in this order.
    anywhere, placed : int64[most slices + 1], samples in which so many slices of any cubes, and in places, fit.
    """
    for _ in range(samples):
        up, working = draw_cubes(rng, cubes, log_up)
        switched = fabric_up >= 1.0 or rng.random() < fabric_up
        anywhere[working // size if switched else 0] += 1
        fitting = 0
        for place in placements:
            if place & up == place:
                up ^= place
                fitting += 1
        placed[fitting] += 1


@kernel
def lowest_cubes(up, count):
    """The first ``count`` of the cubes ``up``, as bits; none if there are fewer."""
    one = np.uint64(1)
    none = np.uint64(0)
    found = none
    for _ in range(count):
        if up == none:
            return none
        first = up & (~up + one)
        found |= first
        up ^= first
    return found


@kernel
def fill_machine(
    rng, cubes, cube_chips, log_up, fabric_up, chips, needed, upto, begin, places, switched, waiting, used
):
    """Draw the state of the machine and jobs again and again; chips that the jobs which fit take.

    Jobs are tried in order; one that does not fit waits, until so many wait. Small ones share a cube while it has room.

    Parameters
    ----------
    chips, needed : int64[kinds], chips of a job, and its cubes, 0 of one that is smaller than a cube.
    upto : float64[kinds], share of the jobs of this kind and those before it.
    begin, places : uint64[places], where a job of each kind may be with fixed wires, kind after kind.
    switched : True where a job takes any cubes that work, if all switches do.
    waiting : jobs that wait at the end; 1 serves strictly in order.
    used : int64[samples].
    """
    none = np.uint64(0)
    for sample in range(len(used)):
        up, _ = draw_cubes(rng, cubes, log_up)
        wired = not switched or fabric_up >= 1.0 or rng.random() < fabric_up
        room = 0
        used[sample] = 0
        left = waiting
        while left > 0:
            kind = min(np.searchsorted(upto, rng.random(), side="right"), len(upto) - 1)
            taken = none
            if needed[kind] == 0:
                if room < chips[kind]:
                    taken = lowest_cubes(up, 1)
                    if taken == none:
                        left -= 1
                        continue
                    room = max(room, cube_chips - chips[kind])
                else:
                    room -= chips[kind]
            else:
                if switched and wired:
                    taken = lowest_cubes(up, needed[kind])
                elif not switched:
                    for i in range(begin[kind], begin[kind + 1]):
                        if places[i] & up == places[i]:
                            taken = places[i]
                            break
                if taken == none:
                    left -= 1
                    continue
            up ^= taken
            used[sample] += chips[kind]
