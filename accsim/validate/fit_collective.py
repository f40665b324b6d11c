"""The constants of a node's links that collectives are fitted with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accsim.config.links import InSwitch, NodeLinks, Protocol
from accsim.validate.calibrate import Constant, Fittable
from accsim.validate.collective import links_of, predicted_us, refuse_chips
from accsim.validate.table import Rows

_FIELDS = {
    NodeLinks: {"launch_s": "time", "hop_s": "time", "copy_bytes_per_s": "bandwidth"},
    Protocol: {"setup_s": "time", "hop_s": "time", "efficiency": "", "ramp": ""},
    InSwitch: {"setup_s": "time", "efficiency": ""},
}
"""Fields that are fitted where the file gives them, with their dimension; shares are at most 1."""


def fit_collective(rows: Rows, machine: str) -> Fittable:
    """Launch, hop, copy rate, and set-up and share of the link's rate of each protocol.

    What the machine file leaves out or gives as 0 is not fitted: it says which protocols have a set-up or a hop of
    their own.
    """
    links = links_of(machine)
    refuse_chips(rows, links)
    parts: dict[str, NodeLinks | Protocol | InSwitch] = {"links": links}
    parts |= {f"links.protocols.{name}": protocol for name, protocol in links.protocols.items()}
    if links.in_switch is not None:
        parts["links.in_switch"] = links.in_switch
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
        made = {part: model.model_copy(update=new[part]) for part, model in parts.items()}
        protocols = {name: made[f"links.protocols.{name}"] for name in links.protocols}
        inner = {"protocols": protocols, "in_switch": made.get("links.in_switch")}
        return predicted_us(links.model_copy(update=new["links"] | inner), rows)[0]

    return Fittable(tuple(constant for _, _, constant in constants), predict)
