"""What joining the chips of a machine costs: power and price of its switches and cables, beside those of the chips.

``docs/network.md`` has the published numbers that the defaults are, and what follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass

from accsim.config.checks import ArgumentChecks
from accsim.network.ocs import Fabric

CHIP_W = 200.0
"""Of a TPU v4 with its memory: 170 W on average in production, 192 W at most (Jouppi et al., ISCA 2023, Table 4)."""


@dataclass(frozen=True)
class Bill:
    """Switches and cables of a machine.

    Parameters
    ----------
    chips, chip_w
        Of the machine, and power of each.
    switches, switch_w
        And power of each.
    cables, cable_w
        Optical cables, and power of both ends of each.
    switch_usd
        Lowest and highest price of a switch; None where unknown.

    Raises
    ------
    InputError
        With everything that is wrong with the arguments.

    Examples
    --------
    >>> round(optical_switches().switches_share, 4), round(electrical_switches().switches_share, 4)
    (0.0063, 0.1758)
    """

    chips: int
    switches: int
    switch_w: float
    cables: int = 0
    cable_w: float = 0.0
    switch_usd: tuple[float, float] | None = None
    chip_w: float = CHIP_W

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("chips", "switches")
        check.count("cables", least=0)
        check.number("switch_w", "cable_w")
        check.number("chip_w", positive=True)
        check.finish()

    @property
    def power_w(self) -> float:
        """Of switches and cables."""
        return self.switches * self.switch_w + self.cables * self.cable_w

    @property
    def switches_share(self) -> float:
        """Power of the switches over that of the chips."""
        return self.switches * self.switch_w / (self.chips * self.chip_w)

    @property
    def usd(self) -> tuple[float, float] | None:
        """Lowest and highest price of all switches."""
        if self.switch_usd is None:
            return None
        low, high = self.switch_usd
        return self.switches * low, self.switches * high

    def most_cable_w(self, share: float, system_w: float) -> float:
        """Power that both ends of a cable take where switches and cables are a share of a system's power."""
        return (share * system_w - self.switches * self.switch_w) / self.cables


def optical_switches(fabric: Fabric | None = None) -> Bill:
    """TPU v4's machine: 48 switches of light, 96 optical cables a cube."""
    fabric = fabric or Fabric()
    return Bill(fabric.chips, fabric.switches, fabric.switch_w, fabric.cubes * 2 * fabric.switches)


def electrical_switches(fabric: Fabric | None = None) -> Bill:
    """The same with an electrical switch of about 3 kW (a secondary summary) in the place of each optical one."""
    fabric = fabric or Fabric()
    return Bill(fabric.chips, fabric.switches, 3000.0, fabric.cubes * 2 * fabric.switches)


def infiniband_switches() -> Bill:
    """4096 chips on a full fat tree of InfiniBand: 568 switches of 40 ports at 15,000 to 18,000 dollars.

    Counts and prices: Jouppi et al., ISCA 2023, section 7.3. The power of a switch is not published there.
    """
    return Bill(4096, 568, 0.0, switch_usd=(15_000.0, 18_000.0))
