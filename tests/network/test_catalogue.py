"""Topologies and routings by name: spellings, and errors that say everything."""

from __future__ import annotations

import pytest

from accsim.errors import InputError
from accsim.network import TOPOLOGIES, DimensionOrder, FatTree, Hypercube, Islands, Torus, read_topology
from accsim.network.contention import Endpoint
from accsim.network.routings import ROUTINGS, read_routing


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_examples_of_spellings_are_read(name: str) -> None:
    example = TOPOLOGIES[name].example.partition(",")[0]
    topology = read_topology(example)
    assert isinstance(topology, TOPOLOGIES[name].type)
    assert topology.chips > 1
    assert read_topology(topology) is topology


@pytest.mark.parametrize(
    ("spec", "topology"),
    [
        ("torus:4x4x8", Torus((4, 4, 8))),
        ("Torus:4X4X8?twisted=true", Torus((4, 4, 8), twisted=True)),
        ("twisted:8x4x4", Torus((8, 4, 4), twisted=True)),
        ("mesh:2x3", Torus((2, 3), wrap=False)),
        ("hyper-cube:5?hop_latency_s=20 ns", Hypercube(5, hop_latency_s=20e-9)),
        ("star:4?link_bytes_per_s=400 Gb/s", FatTree((4,))),
        ("islands:4x2?inside.link_bytes_per_s=300e9", Islands(FatTree((4,), link_bytes_per_s=300e9), 2)),
        (
            "torus:4?endpoint.hbm_bytes_per_s=1.2 TB/s&endpoint.descriptor_s=1 us",
            Torus((4,), endpoint=Endpoint(hbm_bytes_per_s=1.2e12, descriptor_s=1e-6)),
        ),
    ],
)
def test_spellings(spec: str, topology: object) -> None:
    assert read_topology(spec) == topology


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("tours:4x4x8", ["'tours'", "fat_tree", "Did you mean 'torus'?"]),
        ("torus:4x4y", ["'4x4y'", "torus:4x4x8, chips along each axis"]),
        ("torus", ["read '' behind the colon"]),
        ("torus:2x2x2x2x2x2x2", ["behind the colon"]),
        ("torus:0x4?cube=-1&coper.length_m=2", ["Torus.shape", "Torus.cube", "Did you mean 'copper.length_m'?"]),
        ("torus:99999x99999", ["9,999,800,001 chips"]),
        ("fat_tree:8x8?taper=3", ["8 links down 2.66667 links up"]),
        ("twisted:4x4x12", ["4x4x12", "axes of k and 2k chips"]),
        ("twisted:4x4x4", ["axes of k and 2k chips"]),
        ("twisted:4x8?wrap=false", ["axis x is not closed", "axis y is not closed"]),
        ("torus:4?link_bytes_per_s=5 GHz&optical.medium=glass", ["'GHz'", "read 'glass', allowed are copper, optical"]),
        ("dragonfly:4", ["dragonfly:4x2x2"]),
        ("dragonfly:4x2x2?groups=10", ["Dragonfly.groups", "from 2 to 9"]),
        ("file:nowhere.csv", ["nowhere.csv: cannot read the file"]),
        (7, ["read 7 as a topology"]),
    ],
)
def test_bad_specs_tell_everything(spec: str, told: list[str]) -> None:
    with pytest.raises(InputError) as error:
        _ = read_topology(spec).graph
    for part in told:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"twist": ((0, 1), (1, 0))}, "the twists of the axes x, y come back to where they began"),
        ({"twist": ((1, 0), (0, 0))}, "come back to where they began"),
        ({"twist": ((0, 1),)}, "2 rows of 2 whole numbers"),
        ({"twist": ((0, 1), (0, 0)), "twisted": True}, "exclude each other"),
        ({"wrap": (True,)}, "one for each of 2 axes"),
        ({"wrap": (True, 1)}, "a tuple of True or False"),
        ({"link_efficiency": 1.5, "hop_latency_s": -1}, "Torus.hop_latency_s"),
        ({"copper": 3}, "Torus.copper"),
    ],
)
def test_bad_tori(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match="Torus") as error:
        Torus((4, 8), **arguments)  # type: ignore[arg-type]
    assert told in str(error.value)


def test_routings_by_name() -> None:
    assert list(ROUTINGS) == ["minimal", "dimension_order", "valiant", "optimal"]
    assert read_routing("dimension_order?ties=shortest&order=1,0") == DimensionOrder("shortest", (1, 0))
    for bad, told in {
        "minimum": "Did you mean 'minimal'?",
        "minimal?ties=split": "unknown in minimal, allowed are none",
        "dimension_order?tie=split": "Did you mean 'ties'?",
        "dimension_order?ties=spilt": "Did you mean 'split'?",
        "dimension_order?order=x": "such as 2,1,0",
    }.items():
        with pytest.raises(InputError) as error:
            read_routing(bad)
        assert told in str(error.value)
