"""Power and price of fabrics, against arithmetic on published numbers."""

from __future__ import annotations

import pytest

from accsim.errors import InputError
from accsim.network.bill import Bill, electrical_switches, infiniband_switches, optical_switches


def test_switches_of_tpu_v4() -> None:
    """48 of 108 W are 5.2 kW, 0.6 % of 4096 chips of 200 W; published is less than 3 % with modules and fibre."""
    optical, electrical = optical_switches(), electrical_switches()
    assert (optical.switches, optical.cables, optical.power_w) == (48, 6144, pytest.approx(5184.0))
    assert optical.switches_share == pytest.approx(0.0063, abs=5e-5)
    assert electrical.power_w == pytest.approx(144e3)
    assert electrical.switches_share == pytest.approx(144e3 / 819.2e3, abs=5e-5)
    assert optical.usd is None


def test_infiniband() -> None:
    bill = infiniband_switches()
    low, high = bill.usd or (0.0, 0.0)
    assert (low, high) == (pytest.approx(8.52e6), pytest.approx(10.224e6))
    assert high / bill.chips == pytest.approx(2496, abs=1)
    # The paper's other count: 164 switches for 1120 chips, as many a chip.
    assert bill.switches / bill.chips == pytest.approx(164 / 1120, rel=0.06)


def test_what_is_left_for_a_cable() -> None:
    optical = optical_switches()
    most = optical.most_cable_w(0.03, 4096 * 200.0)
    assert 48 * 108 + 6144 * most == pytest.approx(0.03 * 4096 * 200)
    with pytest.raises(InputError) as caught:
        Bill(0, 1, -1.0)
    assert len(caught.value.problems) == 2
