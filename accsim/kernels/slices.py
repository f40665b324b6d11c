"""A mix of slices replayed on machines of cubes that fail: slices are placed in the order in which they come."""

from __future__ import annotations

import numpy as np

from accsim.kernels.jit import kernel


@kernel
def replay_mix(rng, samples, up, cubes, cube_chips, share, need, first, places, passes, left, used, placed):
    """Draw the state of the machine again and again; fill it with slices that are drawn one after the other.

    A slice that finds no place is passed over; after more than ``passes`` of them the machine is full. Slices smaller
    than a cube share cubes; their sizes are powers of two, so that what is free of a cube can always be split for them.

    Parameters
    ----------
    rng : NumPy generator.
    up : probabilities that a cube works, and that the whole fabric does.
    cubes, cube_chips : cubes of the machine, at most 64, and chips of each.
    share : float64[kinds], cumulative shares of the kinds of slices; the last is 1.
    need : int64[kinds], chips of a slice: whole cubes, or a power of two below one.
    first, places : int64[kinds + 1] and uint64[places], cubes of each place of a kind, as bits; a kind without places
        takes any cubes.
    passes : slices passed over, at most.
    left : int64[cubes], room for the chips that are left of shared cubes.
    used : int64[samples], chips in use.
    placed : int64[kinds], slices placed over all samples.
    """
    one = np.uint64(1)
    none = np.uint64(0)
    for sample in range(samples):
        free = none
        count = 0
        for cube in range(cubes):
            left[cube] = 0
            if rng.random() < up[0]:
                free |= one << np.uint64(cube)
                count += 1
        if rng.random() >= up[1]:
            free = none
            count = 0
        waiting = 0
        while waiting <= passes:
            kind = np.searchsorted(share, rng.random(), side="right")
            chips = need[kind]
            shared = -1
            if chips < cube_chips:
                for cube in range(cubes):
                    if left[cube] >= chips:
                        shared = cube
                        break
            wanted = max(1, chips // cube_chips)
            taken = none
            if shared < 0:
                if first[kind] < first[kind + 1]:
                    for i in range(first[kind], first[kind + 1]):
                        if places[i] & free == places[i]:
                            taken = places[i]
                            break
                elif wanted <= count:
                    for cube in range(cubes):
                        bit = one << np.uint64(cube)
                        if free & bit and wanted > 0:
                            taken |= bit
                            wanted -= 1
                if taken == none:
                    waiting += 1
                    continue
                free ^= taken
                count -= max(1, chips // cube_chips)
                if chips < cube_chips:
                    shared = 0
                    while taken >> np.uint64(shared) != one:
                        shared += 1
                    left[shared] = cube_chips
            if shared >= 0:
                left[shared] -= chips
            used[sample] += chips
            placed[kind] += 1
