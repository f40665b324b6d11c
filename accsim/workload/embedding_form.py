"""Keys of embedding tables and features in files, and what they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from accsim.config.fields import Name, Wording
from accsim.config.reader import FileModel, PlacedError, Wrong
from accsim.errors import InputError
from accsim.workload.embeddings import MOST_ALIKE, MOST_VALENCY, EmbeddingSet, Feature, Popularity, Table, Valency
from accsim.workload.fields import Count, Dtype

T = TypeVar("T")

Alike = Annotated[int, Field(ge=1, le=MOST_ALIKE)]


def placed(make: Callable[[], T]) -> T:
    """What `make` returns; its problems at their places below the model that is checked."""
    try:
        return make()
    except InputError as error:
        wrong = [Wrong(_keys(p.path.partition(".")[2]), p.message, p.suggestion) for p in error.problems]
        raise PlacedError(wrong) from error


def _keys(path: str) -> tuple[str | int, ...]:
    """Keys of a dotted path: ``features[1].table`` is features, 1, table."""
    return tuple(int(step) if step.isdecimal() else step for step in re.findall(r"\w+", path))


class PopularityForm(FileModel):
    """How often each row is looked up, p(r) proportional to (r + shift)^-exponent."""

    exponent: Annotated[float, Field(strict=False, ge=0, le=10)] = 0.0
    """Steepness; 0: every row alike."""
    shift: Annotated[float, Field(strict=False, ge=0, le=1e12)] = 0.0
    """Ranks by which the head is flattened; 0: Zipf's law."""

    def made(self) -> Popularity:
        """The law."""
        return Popularity(self.exponent, self.shift)


class TableForm(FileModel):
    """An embedding table, or several alike."""

    name: Name
    """Name in reports; features name it."""
    rows: Count
    """Rows, the size of the vocabulary."""
    width: Count
    """Elements of a row."""
    dtype: Dtype = "fp32"
    """Data type of the elements."""
    optimizer: Literal["sgd", "rowwise_adagrad", "adagrad", "adam"] = "adagrad"
    """What updates its rows."""
    popularity: PopularityForm = PopularityForm()
    """How often each row is looked up."""
    count: Alike = 1
    """How many such tables there are."""

    def made(self) -> Table:
        """The table."""
        popularity = self.popularity.made()
        return Table(self.name, self.rows, self.width, self.dtype, self.optimizer, popularity, self.count)


class ValencyForm(FileModel):
    """How many rows a bag has: from least to most evenly, or log-normal with median and sigma."""

    most: Annotated[int, Field(ge=1, le=MOST_VALENCY)]
    """Rows of the largest bag."""
    least: Annotated[int, Field(ge=0, le=MOST_VALENCY)] = 1
    """Rows of the smallest bag."""
    median: Annotated[float, Field(strict=False, gt=0, le=MOST_VALENCY)] | None = None
    """Of a log-normal valency: its median before it is rounded and cut off; needs sigma."""
    sigma: Annotated[float, Field(strict=False, gt=0, le=10)] | None = None
    """Of a log-normal valency: standard deviation of its logarithm."""

    def made(self) -> Valency:
        """The distribution."""
        return Valency(self.most, self.least, self.median, self.sigma)


def _both_ends(value: Any) -> Any:
    """A whole number as the valency of bags that all have so many rows."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return {"least": value, "most": value} if whole and 1 <= value <= MOST_VALENCY else value


def _checked(form: ValencyForm) -> ValencyForm:
    placed(form.made)
    return form


class FeatureForm(FileModel):
    """A categorical feature, or several alike: a bag of rows of one table for each sample."""

    name: Name
    """Name in reports."""
    table: Name
    """Name of its table; features alike are dealt over tables alike, each table the same number."""
    valency: Annotated[
        ValencyForm,
        AfterValidator(_checked),
        BeforeValidator(_both_ends, json_schema_input_type=ValencyForm | Annotated[int, Field(ge=1, le=MOST_VALENCY)]),
        Wording(f"a whole number from 1 to {MOST_VALENCY}, or a mapping with the keys most, least, median, sigma"),
    ] = ValencyForm(most=1)
    """Rows of a bag: a number, or a distribution."""
    combiner: Literal["sum", "mean"] = "sum"
    """What makes one vector of the rows."""
    count: Alike = 1
    """How many such features there are."""

    def made(self) -> Feature:
        """The feature."""
        return Feature(self.name, self.table, self.valency.made(), self.combiner, self.count)


Tables = Annotated[tuple[TableForm, ...], Field(strict=False, min_length=1)]
Features = Annotated[tuple[FeatureForm, ...], Field(strict=False, min_length=1)]


def embedding_set(tables: Tables, features: Features) -> EmbeddingSet:
    """The tables and features of a file.

    Raises
    ------
    InputError
        If they do not fit together.
    """
    return EmbeddingSet(tuple(table.made() for table in tables), tuple(feature.made() for feature in features))
