"""Index traces of embedding tables: draw ranks, scatter them over the rows, count lookups and distinct rows."""

from __future__ import annotations

import math

import numpy as np

from accsim.kernels.jit import kernel

LOW_32 = 0xFFFFFFFF
ROUNDS = 4
"""Rounds of the scattering: a Luby-Rackoff permutation of four is as good as random."""


@kernel(inline="always")
def _area(x, steepness, scale):
    """Integral of the law from rank 1 to x, where it is 1 at rank 1; ``steepness`` is 1 - exponent."""
    logarithm = math.log1p((x - 1.0) / scale)
    if steepness == 0.0:
        return scale * logarithm
    return scale * math.expm1(steepness * logarithm) / steepness


@kernel(inline="always")
def _rank_of(area, steepness, scale):
    """Inverse of `_area`."""
    if steepness == 0.0:
        return 1.0 + scale * math.expm1(area / scale)
    return 1.0 + scale * math.expm1(math.log1p(area * steepness / scale) / steepness)


@kernel
def draw_ranks(rng, exponent, shift, rows, ranks):
    """Fill with independent ranks of a Zipf-Mandelbrot law, p(r) proportional to (r + shift)^-exponent.

    Rejection-inversion, Hörmann and Derflinger, ACM TOMACS 6(3), 1996, algorithm ZRI, with the hat of the shifted law:
    no table, whatever the number of rows.

    Parameters
    ----------
    rng : NumPy generator.
    rows : ranks are from 1 to this.
    ranks : int64[draws], filled.
    """
    steepness, scale = 1.0 - exponent, 1.0 + shift
    low = _area(1.5, steepness, scale) - 1.0
    high = _area(rows + 0.5, steepness, scale)
    second = (1.0 + 1.0 / scale) ** -exponent
    sure = 2.0 - _rank_of(_area(2.5, steepness, scale) - second, steepness, scale)
    for i in range(ranks.shape[0]):
        while True:
            area = high + rng.random() * (low - high)
            x = _rank_of(area, steepness, scale)
            rank = min(max(math.floor(x + 0.5), 1.0), float(rows))
            if rank - x <= sure:
                break
            if area >= _area(rank + 0.5, steepness, scale) - (1.0 + (rank - 1.0) / scale) ** -exponent:
                break
        ranks[i] = int(rank)


@kernel(inline="always")
def _mixed(value, key):
    """32 bits that depend on all bits of a value and a key."""
    value = (value * 0x9E3779B1 + key) & LOW_32
    value ^= value >> 16
    value = (value * 0x85EBCA6B) & LOW_32
    value ^= value >> 13
    value = (value * 0xC2B2AE35) & LOW_32
    return value ^ (value >> 16)


@kernel
def scatter_ranks(ranks, rows, keys):
    """Replace ranks from 1 to ``rows`` by ids from 0 to ``rows`` - 1, one to one, as if at random.

    A Feistel network on the bits of the ids, walked until the id is one of a row (fewer than two walks on average).

    Parameters
    ----------
    ranks : int64[draws], changed in place.
    rows : at most 2^40.
    keys : int64[ROUNDS], each below 2^31.
    """
    bits = 1
    while (1 << bits) < rows:
        bits += 1
    low_bits = bits - bits // 2
    low_mask, high_mask = (1 << low_bits) - 1, (1 << (bits // 2)) - 1
    for i in range(ranks.shape[0]):
        place = int(ranks[i]) - 1
        while True:
            high, low = place >> low_bits, place & low_mask
            for turn in range(0, ROUNDS, 2):
                high ^= _mixed(low, int(keys[turn])) & high_mask
                low ^= _mixed(high, int(keys[turn + 1])) & low_mask
            place = (high << low_bits) | low
            if place < rows:
                break
        ranks[i] = place


@kernel
def count_lookups(ids, bounds, first, shards, seen, lookups, unique):
    """Count lookups and distinct ids of each segment in each shard; id i is in shard (first + i) mod shards.

    Parameters
    ----------
    ids : int64[n] of one table, from 0 on.
    bounds : int64[segments + 1], where each segment of the ids begins and the last one ends.
    first : shard of id 0, from 0 on.
    seen : uint64[rows / 64 rounded up], all 0, and 0 again afterwards.
    lookups, unique : int64[segments, shards], added to.
    """
    one, none = np.uint64(1), np.uint64(0)
    for segment in range(bounds.shape[0] - 1):
        for i in range(bounds[segment], bounds[segment + 1]):
            place = ids[i]
            shard = (first + place) % shards if shards > 1 else 0
            lookups[segment, shard] += 1
            bit = one << np.uint64(place & 63)
            word = seen[place >> 6]
            if word & bit == none:
                seen[place >> 6] = word | bit
                unique[segment, shard] += 1
        for i in range(bounds[segment], bounds[segment + 1]):
            seen[ids[i] >> 6] = none


@kernel
def count_exchange(ids, bags, askers, first, owner_of, seen, last, pairs, shards):
    """Count what chips ask each other for: of one table whose row r is at position first + r.

    Shards are tiles of owners, dealt in turn: a row is in shard position mod shards.

    Parameters
    ----------
    ids : int64[n] of the table, from 0 to 2^40, bag after bag.
    bags : int64[bags + 1], where each bag's ids begin and the last one's end.
    askers : int64[askers + 1], where the bags of each chip that asks begin and the last one's end.
    first : from 0 to before the number of shards.
    owner_of : int64[shards], the owner of each shard.
    seen : uint64[rows / 64 rounded up, 2], all 0: rows looked up by the asker, and by any, side by side in the cache.
    last : int64[owners], all -1: the last bag that each owner has had a row of.
    pairs : int64[askers, owners, 3], added to: lookups, rows that the asker looks up, bags of which the owner has rows.
    shards : int64[shards, 3], added to: lookups, rows once for each asker, rows once.
    """
    one, none = np.uint64(1), np.uint64(0)
    count = owner_of.shape[0]
    turns = 1.0 / count
    for asker in range(askers.shape[0] - 1):
        for bag in range(askers[asker], askers[asker + 1]):
            for i in range(bags[bag], bags[bag + 1]):
                place = ids[i]
                shard = first + place
                shard -= int(shard * turns) * count  # quicker than a division by ten; one too few or too many at most
                shard += count if shard < 0 else (-count if shard >= count else 0)
                owner = owner_of[shard]
                pairs[asker, owner, 0] += 1
                shards[shard, 0] += 1
                if last[owner] != bag:
                    last[owner] = bag
                    pairs[asker, owner, 2] += 1
                bit = one << np.uint64(place & 63)
                word = place >> 6
                if seen[word, 0] & bit == none:
                    seen[word, 0] |= bit
                    pairs[asker, owner, 1] += 1
                    shards[shard, 1] += 1
                    if seen[word, 1] & bit == none:
                        seen[word, 1] |= bit
                        shards[shard, 2] += 1
        if asker + 2 < askers.shape[0]:
            for i in range(bags[askers[asker]], bags[askers[asker + 1]]):
                seen[ids[i] >> 6, 0] = none
