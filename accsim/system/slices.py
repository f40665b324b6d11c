"""Slices: chips of one machine on a network, by name such as ``tpu_v4:4x4x8``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from accsim.config.catalogue import load_accelerator
from accsim.config.checks import shown
from accsim.config.data_files import slice_parts
from accsim.config.interconnect import Interconnect
from accsim.config.links import LINKS
from accsim.config.machine import Accelerator
from accsim.errors import InputError, Problem, nearest
from accsim.network.fat_tree import FatTree
from accsim.network.lattice import lattice_twist
from accsim.network.topology import Topology
from accsim.network.torus import Torus

TWISTED = "twisted"
_SHAPE = re.compile(r"\d{1,6}(x\d{1,6}){0,5}")


@dataclass(frozen=True)
class Slice:
    """Equal chips and the network that joins them.

    Attributes
    ----------
    name
        As it is spelled: ``tpu_v4:4x4x8``.
    """

    name: str
    chip: Accelerator
    network: Topology

    @property
    def chips(self) -> int:
        """Their number."""
        return self.network.chips

    @property
    def links(self) -> str:
        """What the machine calls the links between chips: ``ici``, ``nvlink``."""
        found = self.chip.interconnect or self.chip.links
        return LINKS if found is None else found.name


def is_shape(text: str) -> bool:
    """Whether a text is the shape of a slice.

    Examples
    --------
    >>> is_shape("twisted:4x4x8"), is_shape("8"), is_shape("rows")
    (True, True, False)
    """
    return _SHAPE.fullmatch(text.removeprefix(f"{TWISTED}:")) is not None


def read_slice(spec: str, *, set: Mapping[str, object] | None = None) -> Slice:  # noqa: A002
    """The slice of a text.

    Parameters
    ----------
    spec
        A machine, by name or path, and the chips along each axis of its torus, ``tpu_v4:4x4x8``;
        ``tpu_v4:twisted:4x4x8`` with the twist of axes of k and 2k chips; of a machine with a node's switch, the chips
        under it, ``h100_sxm:8``.
    set
        Changes of the machine, as for `accsim.load_accelerator`.

    Raises
    ------
    InputError
        If there is no such machine or it has no such slices.

    Examples
    --------
    >>> read_slice("tpu_v4:4x4x8").chips
    128
    """
    name, shape = slice_parts(spec) or (spec, "")
    return slice_of(load_accelerator(name, set=set), shape, spec)


def slice_of(chip: Accelerator, shape: str, name: str) -> Slice:
    """Chips of a machine in a shape.

    Parameters
    ----------
    shape
        What follows the machine in a slice's name: ``4x4x8``, ``twisted:4x4x8``, ``8``.
    name
        Of the slice.

    Raises
    ------
    InputError
        If the machine has no such slices.
    """
    head, _, tail = shape.rpartition(":")
    if not _SHAPE.fullmatch(tail) or head not in ("", TWISTED):
        close = nearest(head, [TWISTED])
        better = f"{name.removesuffix(shape)}{close}:{tail}" if close and head != close else None
        message = (
            f"read {shown(shape)}, allowed are chips along each axis with 'x' in between, behind '{TWISTED}:' or not"
        )
        raise _wrong(name, message, better)
    twisted = head == TWISTED
    lengths = tuple(int(length) for length in tail.split("x"))
    if chip.interconnect is not None:
        return Slice(name, chip, _torus(name, lengths, twisted, chip.interconnect))
    if chip.links is None:
        message = f"{chip.name} has neither an interconnect nor links to other chips, allowed is '{chip.name}'"
        raise _wrong(name, message)
    if twisted or len(lengths) > 1 or not 2 <= lengths[0] <= chip.links.chips:
        raise _wrong(name, f"read {shown(shape)}, allowed are 2 to {chip.links.chips} chips of a node of {chip.name}")
    links = chip.links
    node = FatTree(lengths, link_bytes_per_s=links.bandwidth_bytes_per_s, hop_latency_s=links.hop_s / 2)
    return Slice(name, chip, node)


def _torus(spec: str, shape: tuple[int, ...], twisted: bool, links: Interconnect) -> Torus:
    """The machine's own torus; one of fewer axes than it has lies in it, with the others one chip long."""
    if len(shape) > links.axes:
        raise _wrong(spec, f"read {len(shape)} axes, allowed are at most {links.axes}")
    if math.prod(shape) > links.most_chips or min(shape) < 1:
        raise _wrong(spec, f"read {math.prod(shape):,} chips, allowed are 1 to {links.most_chips:,}")
    if twisted:
        _check_twist(spec, shape)
    whole = shape + (1,) * (links.axes - len(shape)) if links.wrap_all else shape
    wrap = links.closed(whole)[: len(shape)]
    return Torus(
        shape,
        twisted=twisted,
        wrap=True if twisted else wrap,
        link_bytes_per_s=links.link_bandwidth_bytes_per_s,
        hop_latency_s=links.hop_s,
        link_efficiency=links.link_efficiency,
    )


def _check_twist(spec: str, shape: tuple[int, ...]) -> None:
    try:
        lattice_twist(shape)
    except InputError as error:
        raise _wrong(spec, str(error)) from error


def _wrong(spec: str, message: str, better: str | None = None) -> InputError:
    return InputError(Problem("", "", f"{spec}: {message}", better))
