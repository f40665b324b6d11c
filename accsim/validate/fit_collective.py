"""The constants of a node's links that collectives are fitted with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from accsim.config.links import Flagged, InSwitch, NodeLinks, Protocol, SendRecv
from accsim.config.reader import FileModel
from accsim.network.message import MESSAGES
from accsim.validate.calibrate import Constant, Fittable
from accsim.validate.collective import links_of, predicted_us, refuse_chips
from accsim.validate.table import Rows

M = TypeVar("M", bound=FileModel)

_FIELDS = {
    NodeLinks: {"launch_s": "time", "hop_s": "time", "copy_bytes_per_s": "bandwidth"},
    Protocol: {"setup_s": "time", "hop_s": "time", "efficiency": "", "ramp": ""},
    InSwitch: {"setup_s": "time", "efficiency": ""},
    SendRecv: {"bandwidth_bytes_per_s": "bandwidth", "channel_bytes_per_s": "bandwidth", "latency_s": "time"},
    Flagged: {"latency_s": "time"},
}
"""Fields that are fitted where the file gives them, with their dimension; shares are at most 1."""


def fit_collective(rows: Rows, machine: str) -> Fittable:
    """Launch, hop, copy rate, and set-up and share of the link's rate of each protocol; of rows of messages, theirs.

    Constants of what the rows do not have stay as they are. What the machine file leaves out or gives as 0 is not
    fitted: it says which protocols have a set-up or a hop of their own.
    """
    links = links_of(machine)
    refuse_chips(rows, links)
    messages = np.isin(rows["op_name"], MESSAGES)
    parts: dict[str, NodeLinks | Protocol | InSwitch | SendRecv | Flagged] = {}
    if not messages.all():
        parts |= {"links": links}
        parts |= {f"links.protocols.{name}": protocol for name, protocol in links.protocols.items()}
        if links.in_switch is not None:
            parts["links.in_switch"] = links.in_switch
    if messages.any() and links.send_recv is not None:
        parts |= {"links.send_recv": links.send_recv, "links.send_recv.flagged": links.send_recv.flagged}
    constants = [
        (part, field, Constant(f"{part}.{type(model).model_fields[field].alias or field}", value, dimension, most))
        for part, model in parts.items()
        for field, dimension in _FIELDS[type(model)].items()
        if (value := getattr(model, field))
        for most in [np.inf if dimension else 1.0]
    ]

    def predict(values: Sequence[float]) -> NDArray[np.float64]:
        new: dict[str, dict[str, float]] = {part: {} for part in parts}
        for (part, field, _), value in zip(constants, values, strict=True):
            new[part][field] = value
        return predicted_us(_with(links, "links", new), rows)[0]

    return Fittable(tuple(constant for _, _, constant in constants), predict)


def _with(model: M, part: str, new: Mapping[str, Mapping[str, float]]) -> M:
    """The model with new constants, those of its parts too, by the dotted key of each part."""
    changes: dict[str, object] = dict(new.get(part, {}))
    for field in type(model).model_fields:
        value, key = getattr(model, field), f"{part}.{field}"
        if isinstance(value, FileModel):
            changes[field] = _with(value, key, new)
        elif isinstance(value, Mapping):
            changes[field] = {name: _with(one, f"{key}.{name}", new) for name, one in value.items()}
    return model.model_copy(update=changes)
