"""Networks of chips: topologies, routing, and how long traffic takes on them."""

from accsim.network.catalogue import TOPOLOGIES, read_topology
from accsim.network.contention import Endpoint, Transfer
from accsim.network.dimension_order import DimensionOrder, is_deadlock_free
from accsim.network.direct import FullyConnected, Hypercube
from accsim.network.dragonfly import Dragonfly
from accsim.network.fat_tree import FatTree
from accsim.network.graph import Cable
from accsim.network.graph_file import GraphFile
from accsim.network.islands import Islands
from accsim.network.optimal import Optimal
from accsim.network.routing import Minimal, Valiant
from accsim.network.topology import Topology
from accsim.network.torus import Torus
from accsim.network.virtual_channels import minimal_channels

__all__ = [
    "TOPOLOGIES",
    "Cable",
    "DimensionOrder",
    "Dragonfly",
    "Endpoint",
    "FatTree",
    "FullyConnected",
    "GraphFile",
    "Hypercube",
    "Islands",
    "Minimal",
    "Optimal",
    "Topology",
    "Torus",
    "Transfer",
    "Valiant",
    "is_deadlock_free",
    "minimal_channels",
    "read_topology",
]
