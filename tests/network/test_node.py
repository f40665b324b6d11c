"""Collectives of a node: hand-computed cases, a scalar twin of the formulas of the docs, laws."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.config.catalogue import load_accelerator
from accsim.config.links import InSwitch, NodeLinks, Protocol, SendRecv
from accsim.errors import InputError
from accsim.network.message import channels_of
from accsim.network.node import NODE_COLLECTIVES, node_times

ROUND = NodeLinks.model_validate(
    {
        "bandwidth": "100 GB/s",
        "chips": 8,
        "launch": "5 us",
        "hop": "1 us",
        "copy_bandwidth": "1 TB/s",
        "source": "by hand",
        "protocols": {
            "small": {"efficiency": 0.1, "copies": False},
            "bulk": {"setup": "20 us", "hop": "2 us", "efficiency": 0.8, "ramp": 0.5},
        },
        "in_switch": {"setup": "60 us", "efficiency": 0.5, "chips": 8},
        "send_recv": {
            "bandwidth": "80 GB/s",
            "channels": 16,
            "channel_bandwidth": "10 GB/s",
            "least_part": "64 KiB",
            "most_part": "16 MiB",
            "latency": "12 us",
            "flagged": {"latency": "7 us", "most": "16 KiB", "efficiency": 0.5},
            "source": "by hand",
        },
    }
)


@pytest.mark.parametrize(
    ("collective", "chips", "size", "protocol", "microseconds"),
    [
        # 5 + 2 x 3 steps of 1 us + 2 x 3/4 of 10 kB at 10 GB/s
        ("all_reduce", 4, 10_000, "small", 5 + 6 + 1.5),
        # 5 + 3 steps + 3/4 of 10 kB at 10 GB/s, no copy
        ("all_gather", 4, 10_000, "small", 5 + 3 + 0.75),
        # one step whatever the chips
        ("all_to_all", 4, 10_000, "small", 5 + 1 + 0.75),
        # 5 + 20 + 3 x 2 + 3/4 of 40 MB at 80 x (1 - 0.5/4) = 70 GB/s + a quarter copied at 1 TB/s
        ("reduce_scatter", 4, 40_000_000, "bulk", 5 + 20 + 6 + 30_000 / 70 + 10),
        # an all-reduce is in place: 5 + 20 + 6 x 2 + 60 MB at 70 GB/s
        ("all_reduce", 4, 40_000_000, "bulk", 5 + 20 + 12 + 60_000 / 70),
        # 8 chips: the switch adds; 5 + 60 + 9/8 of 40 MB at 50 GB/s = 965 against 25 + 28 + 70 MB at 75 GB/s = 986.3
        ("all_reduce", 8, 40_000_000, "in_switch", 5 + 60 + 45_000 / 50),
    ],
)  # fmt: skip
def test_by_hand(collective: str, chips: int, size: int, protocol: str, microseconds: float) -> None:
    times, protocols = node_times(ROUND, collective, chips, size)
    assert protocols.item() == protocol
    assert times.item() * 1e6 == pytest.approx(microseconds, rel=1e-12)


def twin(links: NodeLinks, collective: str, p: int, size: float) -> float:
    """The formulas of docs/collectives.md, one case at a time."""
    steps = {"all_reduce": 2 * (p - 1), "all_gather": p - 1, "reduce_scatter": p - 1, "all_to_all": 1}[collective]
    wire = (2 if collective == "all_reduce" else 1) * size * (p - 1) / p
    found = []
    for way in links.protocols.values():
        hop = way.hop_s if way.hop_s is not None else links.hop_s
        time = way.setup_s + steps * hop + wire / (way.efficiency * (1 - way.ramp / p) * links.bandwidth_bytes_per_s)
        if way.copies and collective != "all_reduce":
            time += size / p / links.copy_bytes_per_s
        found.append(time)
    switch = links.in_switch
    if switch and collective == "all_reduce" and p >= switch.chips:
        found.append(switch.setup_s + size * (1 + 1 / p) / (switch.efficiency * links.bandwidth_bytes_per_s))
    return links.launch_s + min(found)


MIB = 2**20


@pytest.mark.parametrize(
    ("chips", "size", "protocol", "channels", "microseconds"),
    [
        # flags take half of a channel's 10 GB/s, whatever the chips
        (2, 10_000, "flagged", 1, 7 + 2),
        (8, 2**14, "flagged", 1, 7 + 2**14 / 5e3),
        # a byte more goes without flags, over one channel still
        (2, 2**14 + 1, "bulk", 1, 12 + (2**14 + 1) / 10e3),
        # three parts of 64 KiB at most: three channels
        (2, 3 * 2**16, "bulk", 3, 12 + 2**16 / 10e3),
        # 16 channels for messages to 2 chips: 8 each, 80 GB/s, which is what the links reach
        (2, MIB, "bulk", 8, 12 + MIB / 80e3),
        # to 8 chips: 2 each, until parts would be longer than 16 MiB
        (8, 32 * MIB, "bulk", 2, 12 + 32 * MIB / 20e3),
        (8, 33 * MIB, "bulk", 4, 12 + 33 * MIB / 40e3),
        # and 16 at most, of which the links carry 8
        (8, 1024 * MIB, "bulk", 16, 12 + 1024 * MIB / 80e3),
    ],
)  # fmt: skip
def test_messages_by_hand(chips: int, size: int, protocol: str, channels: int, microseconds: float) -> None:
    assert ROUND.send_recv is not None
    assert channels_of(ROUND.send_recv, np.array([float(chips)]), np.array([float(size)])).tolist() == [channels]
    for operation in ("send_recv", "permute"):
        times, protocols = node_times(ROUND, operation, chips, size)
        assert protocols.item() == protocol
        assert times.item() * 1e6 == pytest.approx(microseconds, rel=1e-12)


def test_a_message_knows_nothing_of_the_ladder_of_collectives() -> None:
    """Other constants for a ring change no message, and other constants for messages no ring."""
    sizes = 2 ** np.arange(8, 32)
    ring = ROUND.model_copy(update={"launch_s": 1.0, "hop_s": 1.0, "protocols": {}, "in_switch": None})
    assert (node_times(ring, "send_recv", 4, sizes)[0] == node_times(ROUND, "send_recv", 4, sizes)[0]).all()
    without = ROUND.model_copy(update={"send_recv": None})
    assert (node_times(without, "all_gather", 4, sizes)[0] == node_times(ROUND, "all_gather", 4, sizes)[0]).all()
    with pytest.raises(InputError, match="send_recv: missing, needed for single messages"):
        node_times(without, "send_recv", 4, sizes)


SIZES = st.lists(st.integers(1, 2**40), min_size=1, max_size=8)


def shipped(machine: str) -> NodeLinks:
    links = load_accelerator(machine).links
    assert links is not None
    return links


SHIPPED = {machine: shipped(machine) for machine in ("a100_sxm", "h100_sxm", "h200_sxm")}


@given(st.sampled_from(sorted(SHIPPED)), st.integers(2, 8), st.integers(1, 2**40))
def test_laws_of_messages(machine: str, chips: int, size: int) -> None:
    links = SHIPPED[machine]
    assert isinstance(links.send_recv, SendRecv)
    time = node_times(links, "send_recv", chips, size)[0].item()
    assert time >= size / links.bandwidth_bytes_per_s
    assert time >= node_times(links, "send_recv", 2, size)[0].item(), "fewer chips leave more channels"


@given(st.sampled_from(sorted(SHIPPED)), st.sampled_from(sorted(NODE_COLLECTIVES)), st.integers(2, 8), SIZES)
def test_laws(machine: str, collective: str, chips: int, sizes: list[int]) -> None:
    links = SHIPPED[machine]
    sizes.sort()
    times, _ = node_times(links, collective, chips, sizes)
    assert times == pytest.approx([twin(links, collective, chips, size) for size in sizes], rel=1e-12)
    assert all(a <= b for a, b in pairwise(times))
    # No chip can receive its (p - 1)/p of the result faster than its links bring it.
    assert (times >= np.array(sizes) * (chips - 1) / chips / links.bandwidth_bytes_per_s).all()


def test_the_library_never_does_worse_with_one_protocol_more() -> None:
    links = SHIPPED["h100_sxm"]
    fewer = links.model_copy(update={"protocols": {"simple": links.protocols["simple"]}, "in_switch": None})
    sizes = 2 ** np.arange(8, 36)
    assert (node_times(links, "all_reduce", 8, sizes)[0] <= node_times(fewer, "all_reduce", 8, sizes)[0]).all()


@pytest.mark.parametrize(
    ("collective", "chips", "told"),
    [
        ("all_reduce", 9, "read 9 chips, allowed are 2 to 8"),
        ("all_reduce", 1, "read 1 chips"),
        ("allreduce", 2, "Did you mean 'all_reduce'"),
    ],
)
def test_what_cannot_run_is_refused(collective: str, chips: int, told: str) -> None:
    with pytest.raises(InputError, match=told):
        node_times(ROUND, collective, chips, 1024)


def test_a_file_gives_the_numbers_with_units() -> None:
    assert isinstance(ROUND.in_switch, InSwitch)
    assert isinstance(ROUND.protocols["bulk"], Protocol)
    assert math.isclose(ROUND.protocols["bulk"].setup_s, 20e-6)
    assert ROUND.protocols["small"].hop_s is None
