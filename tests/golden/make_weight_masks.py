"""Make accsim/figures/sparse/g2p_masks.npz again: trained weights, pruned by magnitude.

Needs NumPy and the wheel of g2p-en, which is not installed or run::

    pip download --no-deps g2p-en==2.1.0
    python tests/golden/make_weight_masks.py g2p_en-2.1.0-py3-none-any.whl
"""

from __future__ import annotations

import argparse
import io
import zipfile
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parents[2] / "accsim" / "figures" / "sparse" / "g2p_masks.npz"
CHECKPOINT = "g2p_en/checkpoint20.npz"
LAYERS = {"encoder": "enc_w_hh", "decoder": "dec_w_hh"}
SOURCE = "magnitudes of g2p-en 2.1.0, github.com/Kyubyong/g2p, by Kyubyong Park and Jongseok Kim, Apache-2.0"
DENSITIES = (Fraction(1, 2), Fraction(1, 4), Fraction(1, 10), Fraction(1, 20))


def make(wheel: Path) -> None:
    """Write a bit a place for each layer and density, first axis slowest, packed by numpy.packbits."""
    with zipfile.ZipFile(wheel) as archive:
        weights = np.load(io.BytesIO(archive.read(CHECKPOINT)))
    masks = {}
    for layer, name in LAYERS.items():
        order = np.argsort(np.abs(weights[name]), axis=None, kind="stable")
        for density in DENSITIES:
            kept = np.ones(order.size, dtype=np.bool_)
            kept[order[: floor((1 - density) * order.size)]] = False
            masks[f"{layer}_{density.denominator}"] = np.packbits(kept)
    np.savez_compressed(OUT, source=np.array(SOURCE), shape=np.array(weights[name].shape), **masks)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the wheel of g2p-en 2.1.0")
    make(parser.parse_args().wheel)


if __name__ == "__main__":
    main()
