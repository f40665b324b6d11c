"""Collectives among the GPUs of one node: rings of a few protocols, of which the library takes the fastest.

The ladder of protocols, with what each is fitted to, is explained in ``docs/collectives.md``; single messages are in
``message.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accsim.config.links import NodeLinks, Protocol
from accsim.errors import InputError, check_choice
from accsim.network.message import MESSAGES, message_times

IN_SWITCH = "in_switch"
"""What an all-reduce whose sums the switch forms is called, beside the protocols of the machine file."""


class RingCounts(NamedTuple):
    """What a collective asks of a ring of p chips.

    Attributes
    ----------
    passes : times that the ring is gone round, less one step each.
    at_once : all pairs exchange in a single step.
    copies : a chip's own shard has to be copied to its place.
    """

    passes: int
    at_once: bool
    copies: bool

    def steps(self, chips: NDArray[np.float64]) -> NDArray[np.float64]:
        """Steps one after the other."""
        return np.ones_like(chips) if self.at_once else self.passes * (chips - 1)

    def wire_bytes(self, chips: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bytes that one chip sends, of a full buffer of ``size`` bytes."""
        return self.passes * size * (chips - 1) / chips


NODE_COLLECTIVES = {
    "all_reduce": RingCounts(2, at_once=False, copies=False),
    "all_gather": RingCounts(1, at_once=False, copies=True),
    "reduce_scatter": RingCounts(1, at_once=False, copies=True),
    "all_to_all": RingCounts(1, at_once=True, copies=True),
}
"""By name; Patarasu and Yuan, *Bandwidth optimal all-reduce algorithms* (2009), has the ring's counts."""

NODE_OPERATIONS = (*NODE_COLLECTIVES, *MESSAGES)
"""Names of all that the chips of a node do."""


def node_times(
    links: NodeLinks, collective: str, chips: ArrayLike, size: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Seconds of a collective within a node, and the protocol of each.

    Parameters
    ----------
    collective
        One of `NODE_OPERATIONS`.
    chips, size
        Chips that take part, and bytes of the full buffer or of a message: numbers or arrays that broadcast.

    Raises
    ------
    InputError
        If there is no such collective, fewer than 2 or more chips than a node has, or the links say nothing of
        messages.

    Examples
    --------
    >>> from accsim import load_accelerator
    >>> times, protocols = node_times(load_accelerator("h100_sxm").links, "all_reduce", 8, [1024, 2**30])
    >>> protocols.tolist()
    ['ll', 'in_switch']
    """
    check_choice("collective", collective, NODE_OPERATIONS)
    p, full = np.broadcast_arrays(np.asarray(chips, np.float64), np.asarray(size, np.float64))
    if ((p < 2) | (p > links.chips)).any():
        raise InputError(f"read {float(p.flat[0]):g} chips, allowed are 2 to {links.chips}, the chips of a node")
    if collective in MESSAGES:
        return message_times(links.send_recv, p, full)
    ring = NODE_COLLECTIVES[collective]
    ways = {name: _ring_time(links, protocol, ring, p, full) for name, protocol in links.protocols.items()}
    if links.in_switch is not None and collective == "all_reduce":
        switch = links.in_switch
        sent = full * (1 + 1 / p) / (switch.efficiency * links.bandwidth_bytes_per_s)
        ways[IN_SWITCH] = np.where(p >= switch.chips, switch.setup_s + sent, np.inf)
    times = np.stack(list(ways.values()))
    best = times.argmin(axis=0)
    return links.launch_s + np.take_along_axis(times, best[None], 0)[0], np.array(list(ways))[best]


def _ring_time(
    links: NodeLinks, protocol: Protocol, ring: RingCounts, p: NDArray[np.float64], size: NDArray[np.float64]
) -> NDArray[np.float64]:
    reached = protocol.efficiency * (1 - protocol.ramp / p) * links.bandwidth_bytes_per_s
    copy = size / p / links.copy_bytes_per_s if protocol.copies and ring.copies else 0.0
    hop = links.hop_s if protocol.hop_s is None else protocol.hop_s
    moved = ring.wire_bytes(p, size) / reached
    return np.asarray(protocol.setup_s + ring.steps(p) * hop + moved + copy)
