"""Kind ``collective``: collectives within a node against measured rows.

The rows of NVIDIA's public tables are warm: the same buffers again and again, the launch inside the timed call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from accsim.config.catalogue import list_accelerators, load_accelerator
from accsim.config.links import NodeLinks
from accsim.errors import InputError, Problem, plain_name
from accsim.network.message import MESSAGES
from accsim.network.node import NODE_COLLECTIVES, NODE_OPERATIONS, node_times
from accsim.validate.kind import Prediction, Quantity
from accsim.validate.table import Column, Rows, count, positive, text

MEAN_TOLERANCE = 0.11
"""Of the mean error over all rows: what the model reaches on operators and group sizes that it was not fitted to."""

SMALL, LARGE = 2**16, 2**24
"""Buffers, in bytes, at which the regimes part."""

_BY_PLAIN_NAME = {plain_name(name): name for name in NODE_OPERATIONS}


def _collective(cell: str) -> str | None:
    return _BY_PLAIN_NAME.get(plain_name(cell))


@dataclass(frozen=True)
class CollectiveRows:
    """Rows of one system: operator, chips, bytes of the full buffer or of a message, microseconds."""

    name: str = "collective"
    summary: str = "collectives within a node against measured rows (warm buffers, launch included)"
    columns: tuple[Column, ...] = (
        text("system", needed=False),
        Column("op_name", ", ".join(NODE_OPERATIONS), _collective, among=NODE_OPERATIONS, words=True),
        count("num_gpus", least=2),
        count("message_bytes"),
        positive("latency_us"),
    )
    quantities: tuple[Quantity, ...] = (Quantity("latency", "latency_us", mean_tolerance=MEAN_TOLERANCE),)

    def check(self, rows: Rows) -> list[Problem]:
        """Nothing between the cells of a row."""
        del rows
        return []

    def select(self, rows: Rows, machine: str | None) -> NDArray[np.bool_]:
        """Rows of the machine's system; of a file without that column, all of them."""
        if machine is None:
            raise InputError(Problem("--machine", "", f"missing, needed is a machine with links: {_with_links()}"))
        links_of(machine)
        if "system" not in rows:
            return np.ones(len(rows), dtype=bool)
        name = plain_name(load_accelerator(machine).name)
        return np.array([plain_name(system) == name for system in rows["system"].tolist()])

    def predict(self, rows: Rows, machine: str | None) -> Prediction:
        """Latency of each row, by the protocol that the library would take."""
        assert machine is not None
        links = links_of(machine)
        refuse_chips(rows, links)
        times, protocols = predicted_us(links, rows)
        sizes = rows["message_bytes"]
        buffers = np.where(sizes <= SMALL, "to 64 KiB", np.where(sizes <= LARGE, "to 16 MiB", "above 16 MiB"))
        labels = [
            f"{op} of {chips}, {size} bytes"
            for op, chips, size in zip(rows["op_name"], rows["num_gpus"], sizes, strict=True)
        ]
        chips = np.array([f"{p} chips" for p in rows["num_gpus"]])
        return Prediction(
            {"latency": times},
            {"operator": rows["op_name"], "chips": chips, "buffer": buffers, "protocol": protocols},
            labels,
            baselines=_baselines(rows, links),
        )


def links_of(machine: str) -> NodeLinks:
    """The links of a machine that ships or of a file.

    Raises
    ------
    InputError
        If there is no such machine, or it has none.
    """
    found = load_accelerator(machine)
    if found.links is None:
        raise InputError(
            Problem(found.name, "links", f"missing, needed for collectives; machines with links: {_with_links()}")
        )
    return found.links


def refuse_chips(rows: Rows, links: NodeLinks) -> None:
    """Refuse rows of more chips than a node has."""
    wrong = rows.wrong(rows["num_gpus"] > links.chips, "num_gpus", f"2 to {links.chips}, the chips of a node")
    if wrong:
        raise InputError(wrong)


def predicted_us(links: NodeLinks, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Microseconds of each row, and its protocol."""
    times = np.zeros(len(rows))
    protocols = np.full(len(rows), "", dtype="U32")
    for op in dict.fromkeys(rows["op_name"].tolist()):
        of = rows["op_name"] == op
        seconds, protocols[of] = node_times(links, op, rows["num_gpus"][of], rows["message_bytes"][of])
        times[of] = 1e6 * seconds
    return times, protocols


def _baselines(rows: Rows, links: NodeLinks) -> dict[str, NDArray[np.float64]]:
    """Bytes over the link's rate, and launch + steps x hop + bytes / rate, its three numbers fitted to these rows."""
    p, size = rows["num_gpus"].astype(np.float64), rows["message_bytes"].astype(np.float64)
    message = np.isin(rows["op_name"], MESSAGES)
    steps, moved = message.astype(np.float64), np.where(message, size, 0.0)
    for name, ring in NODE_COLLECTIVES.items():
        of = rows["op_name"] == name
        steps[of], moved[of] = ring.steps(p[of]), ring.wire_bytes(p[of], size[of])
    wire = 1e6 * moved / links.bandwidth_bytes_per_s
    terms = np.stack([np.ones(len(rows)), steps, wire], axis=1)
    numbers, _ = nnls(terms / rows["latency_us"][:, None], np.ones(len(rows)))  # least squares of relative errors
    return {"bytes over link rate": wire, "launch, hop, rate: fitted to these rows": terms @ numbers}


def _with_links() -> str:
    return ", ".join(name for name in list_accelerators() if load_accelerator(name).links is not None)
