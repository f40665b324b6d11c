"""Monte Carlo of a machine of cubes that fail: how many slices fit, with optical switches and with fixed wires."""

from __future__ import annotations

import math

import numpy as np

from accsim.kernels.jit import kernel


@kernel
def count_slices(rng, samples, cubes, log_up, fabric_up, size, placements, anywhere, placed):
    """Draw the state of the machine again and again; count how often how many slices fit.

    Cubes up to the next that fails are drawn at once: there are at least g of them with probability ``cube_up`` ^ g.

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
    one = np.uint64(1)
    every = np.uint64(0)
    for cube in range(cubes):
        every |= one << np.uint64(cube)
    for _ in range(samples):
        up = every
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
        switched = fabric_up >= 1.0 or rng.random() < fabric_up
        anywhere[working // size if switched else 0] += 1
        fitting = 0
        for place in placements:
            if place & up == place:
                up ^= place
                fitting += 1
        placed[fitting] += 1
