"""Embedding tables of a recommendation model, and the features that read them.

A table has rows of equal width. A feature takes a *bag* of rows of one table for each sample and combines it into one
vector; the bag's size is its valency. Tables that are alike are written once, with a ``count``, and so are features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import ArgumentChecks
from accsim.errors import nearest
from accsim.workload.ops_base import tensor_bytes

MOST_VALENCY = 2**16
"""Largest bag."""
MOST_ALIKE = 2**16
"""Most tables, or features, that are written as one."""
COMBINERS = ("sum", "mean")
"""What makes one vector of the rows of a bag."""

OPTIMIZER_STATE: Mapping[str, tuple[int, int]] = {
    "sgd": (0, 0),
    "rowwise_adagrad": (0, 1),
    "adagrad": (1, 0),
    "adam": (2, 0),
}
"""State that an optimizer keeps: numbers for each element of a row, and for each row. Sources: Duchi et al., JMLR 12,
2011 (Adagrad: a sum of squares an element); Mudigere et al., arXiv 2104.05158, section 4.1.3 (row-wise: their mean, one
a row); Kingma and Ba, arXiv 1412.6980, Algorithm 1 (Adam: two moments an element)."""


@dataclass(frozen=True, slots=True)
class Popularity:
    """How often each row is looked up: Zipf-Mandelbrot, p(r) proportional to (r + shift)^-exponent, r = 1 … rows.

    Parameters
    ----------
    exponent
        Steepness s, from 0 (every row alike) to 10.
    shift
        Ranks q by which the head is flattened, from 0 (Zipf's law) to 1e12.

    Raises
    ------
    InputError
        With every field that is out of range.

    Notes
    -----
    Source: Mandelbrot, *An informational theory of the statistical structure of language*, 1953.
    """

    exponent: float = 0.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.number("exponent", most=10)
        check.number("shift", most=1e12)
        check.finish()


@dataclass(frozen=True, slots=True)
class Table:
    """An embedding table, or several alike.

    Parameters
    ----------
    name
        Name in reports; features name it.
    rows
        Rows, the size of the vocabulary.
    width
        Elements of a row.
    dtype
        Data type of the elements, in any spelling.
    optimizer
        What updates its rows, a key of `OPTIMIZER_STATE`.
    popularity
        How often each row is looked up.
    count
        How many such tables there are.

    Raises
    ------
    InputError
        With every field that is out of range.
    """

    name: str
    rows: int
    width: int
    dtype: str = "fp32"
    optimizer: str = "adagrad"
    popularity: Popularity = Popularity()
    count: int = 1

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.name()
        check.count("rows", "width")
        check.dtype()
        check.choice("optimizer", OPTIMIZER_STATE)
        check.instance("popularity", Popularity)
        check.count("count", most=MOST_ALIKE)
        check.finish()

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return tensor_bytes(self.width, self.dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the rows of all tables alike."""
        return self.count * self.rows * self.row_bytes

    @property
    def state_bytes(self) -> int:
        """Bytes that the optimizer keeps of all tables alike, in fp32."""
        an_element, a_row = OPTIMIZER_STATE[self.optimizer]
        return 4 * self.count * self.rows * (an_element * self.width + a_row)


@dataclass(frozen=True, slots=True)
class Valency:
    """How many rows a bag has: one number, evenly spread, or log-normal.

    A log-normal valency is exp(N(ln median, sigma²)) rounded to the nearest whole number, given that this lies from
    `least` to `most`.

    Parameters
    ----------
    most, least
        Rows of the largest and of the smallest bag.
    median
        Of a log-normal valency: its median before it is rounded and cut off, from `least` to `most`; needs `sigma`.
    sigma
        Of a log-normal valency: standard deviation of its logarithm.

    Raises
    ------
    InputError
        With every field that is out of range.

    Examples
    --------
    >>> Valency(3, 3).mean, Valency(9).mean, round(Valency(100, median=10, sigma=1).mean, 2)
    (3.0, 5.0, 15.09)
    """

    most: int = 1
    least: int = 1
    median: float | None = None
    sigma: float | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        sized = check.count("most", most=MOST_VALENCY) & check.count("least", least=0, most=MOST_VALENCY)
        if sized and self.least > self.most:
            check.fail("least", f"read {self.least}, allowed is at most most = {self.most}")
        if (self.median is None) != (self.sigma is None):
            given = "median" if self.sigma is None else "sigma"
            check.fail(given, "median and sigma make a log-normal valency together, only one is given")
        elif self.median is not None and check.number("sigma", positive=True, most=10):
            ranged = check.number("median", positive=True, most=MOST_VALENCY)
            if ranged and sized and not self.least <= self.median <= self.most:
                allowed = f"a number from least = {self.least} to most = {self.most}"
                check.fail("median", f"read {self.median:g}, allowed is {allowed}")
        check.finish()

    def probabilities(self) -> NDArray[np.float64]:
        """Probability of a bag of v rows, float64[most + 1]."""
        sizes = np.arange(self.most + 1.0)
        weights = (sizes >= self.least).astype(np.float64)
        if self.median is not None and self.sigma is not None:
            from scipy.special import ndtr

            with np.errstate(divide="ignore"):
                edges = np.log(np.maximum(np.arange(self.most + 2.0) - 0.5, 0.0) / self.median)
            weights *= np.diff(ndtr(edges / self.sigma))
        chances: NDArray[np.float64] = weights / weights.sum()
        return chances

    @property
    def mean(self) -> float:
        """Mean rows of a bag."""
        return float(self.probabilities() @ np.arange(self.most + 1.0))


@dataclass(frozen=True, slots=True)
class Feature:
    """A categorical feature, or several alike: a bag of rows of one table for each sample.

    Parameters
    ----------
    name
        Name in reports.
    table
        Name of its table. Features alike are dealt over tables alike, each table the same number.
    valency
        Rows of a bag.
    combiner
        What makes one vector of the rows: ``sum`` or ``mean``.
    count
        How many such features there are.

    Raises
    ------
    InputError
        With every field that is out of range.
    """

    name: str
    table: str
    valency: Valency = Valency()
    combiner: str = "sum"
    count: int = 1

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.name()
        check.name("table")
        check.instance("valency", Valency)
        check.choice("combiner", COMBINERS)
        check.count("count", most=MOST_ALIKE)
        check.finish()


class Reading(NamedTuple):
    """Features alike that read one table of several alike."""

    feature: Feature
    times: int
    """How many of them read each table."""


@dataclass(frozen=True, slots=True)
class EmbeddingSet:
    """The tables of a model and the features that read them.

    Parameters
    ----------
    tables, features
        At least one of each.

    Raises
    ------
    InputError
        With every name that is given twice or unknown, and every feature that cannot be dealt evenly over its tables.

    Examples
    --------
    >>> both = EmbeddingSet([Table("words", rows=1000, width=16)], [Feature("title", "words", Valency(9))])
    >>> both.weight_bytes, both.state_bytes, both.parameter_count, both.lookups_per_sample
    (64000, 64000, 16000, 5.0)
    """

    tables: tuple[Table, ...]
    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.sequence("tables", Table, "tables")
        check.sequence("features", Feature, "features")
        for section in ("tables", "features"):
            given = [one.name for one in getattr(self, section)]
            if not given:
                check.fail(section, f"read none, allowed are at least one of the {section}")
            for i, name in enumerate(given):
                if given.index(name) < i:
                    check.fail(f"{section}[{i}].name", f"the name '{name}' is given twice")
        tables = {table.name: table for table in self.tables}
        for i, feature in enumerate(self.features):
            table = tables.get(feature.table)
            if table is None:
                message = f"read '{feature.table}', allowed are the tables {', '.join(list(tables)[:20])}"
                check.fail(f"features[{i}].table", message, nearest(feature.table, tables))
            elif feature.count % table.count:
                message = f"read {feature.count}, allowed are multiples of the {table.count} tables '{table.name}'"
                check.fail(f"features[{i}].count", message)
        check.finish()

    @property
    def parameter_count(self) -> int:
        """Elements of all tables."""
        return sum(table.count * table.rows * table.width for table in self.tables)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tables."""
        return sum(table.weight_bytes for table in self.tables)

    @property
    def state_bytes(self) -> int:
        """Bytes that the optimizers keep."""
        return sum(table.state_bytes for table in self.tables)

    @property
    def feature_count(self) -> int:
        """Features, those alike counted."""
        return sum(feature.count for feature in self.features)

    @property
    def lookups_per_sample(self) -> float:
        """Rows looked up for a sample, on average."""
        return sum(feature.count * feature.valency.mean for feature in self.features)

    def table(self, name: str) -> Table:
        """The table of a name.

        Raises
        ------
        KeyError
            If there is none.
        """
        return {table.name: table for table in self.tables}[name]

    def readings(self, table: Table) -> tuple[Reading, ...]:
        """The features that read each of the tables that are like this one."""
        return tuple(Reading(f, f.count // table.count) for f in self.features if f.table == table.name)
