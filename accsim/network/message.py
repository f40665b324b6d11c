"""Messages from one GPU of a node to another: a pair's own channels, not the ring of a collective.

Channels and parts follow the rules of NCCL's ``enqueue.cc``; ``docs/collectives.md`` has the formula and its sources.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accsim.config.links import SendRecv
from accsim.errors import InputError, Problem

MESSAGES = ("send_recv", "permute")
"""One message, and one from every chip to another one: links work both ways and the switch does not block, so both
take the same time."""

FLAGGED, BULK = "flagged", "bulk"
"""Protocols of a message."""

Floats = NDArray[np.float64]


def message_times(links: SendRecv | None, chips: Floats, size: Floats) -> tuple[Floats, NDArray[np.str_]]:
    """Seconds of messages, and the protocol of each.

    Parameters
    ----------
    chips
        Of the communicator: the more there are, the fewer channels are left for one message.
    size
        Bytes of the message; of the same shape.

    Raises
    ------
    InputError
        If the node's links say nothing of messages.
    """
    if links is None:
        raise InputError(Problem("links", "send_recv", "missing, needed for single messages between chips of a node"))
    flagged = size <= links.flagged.most_bytes
    alone = links.flagged.efficiency * links.channel_bytes_per_s
    rate = np.minimum(channels_of(links, chips, size) * links.channel_bytes_per_s, links.bandwidth_bytes_per_s)
    few = links.flagged.latency_s + size / min(alone, links.bandwidth_bytes_per_s)
    return np.where(flagged, few, links.latency_s + size / rate), np.where(flagged, FLAGGED, BULK)


def channels_of(links: SendRecv, chips: Floats, size: Floats) -> Floats:
    """Channels that a message of the bulk protocol takes.

    Examples
    --------
    >>> from accsim import load_accelerator
    >>> pair = load_accelerator("h100_sxm").links.send_recv
    >>> channels_of(pair, np.array([2.0, 8.0, 8.0]), np.array([2.0**18, 2.0**20, 2.0**30])).tolist()
    [4.0, 4.0, 32.0]
    """
    share = np.full(np.shape(size), float(links.channels))
    while (crowded := (share * chips > links.channels) & (share > 1)).any():
        share = np.where(crowded, share / 2, share)
    taken = np.clip(np.ceil(size / links.least_part_bytes), 1, share)
    while (long := (size / taken > links.most_part_bytes) & (2 * taken <= links.channels)).any():
        taken = np.where(long, 2 * taken, taken)
    return taken
