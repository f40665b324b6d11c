"""What a step on a slice is asked with: read and checked before anything is simulated, all problems at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from accsim.embedding.model_trace import Trace, model_batch
from accsim.embedding.trace import TraceBatch
from accsim.errors import InputError, Problem, read_all
from accsim.mapping.embedding_place import Place
from accsim.mapping.sparse_core import place_of
from accsim.system.choices import check_choices
from accsim.system.dense import model_tables
from accsim.system.slices import Slice, read_slice
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.query import parse_query
from accsim.workload.trace import Workload

WHOLE: Final = ("part", "phase")
"""Parameters of a model that a step on a slice has no choice of."""


@dataclass(frozen=True, eq=False)
class Model:
    """A recommendation model, and the batch of a trace if that is what is looked up.

    Attributes
    ----------
    name, settings
        Of its file, and values of the file that are replaced.
    """

    name: str
    settings: Mapping[str, object]
    workload: Workload
    tables: EmbeddingSet
    batch: TraceBatch | None

    @property
    def samples(self) -> int:
        """Of all chips."""
        return int(self.workload.parameters["batch"])

    def on_each(self, chips: int) -> int:
        """Samples of a chip, of the one that has most.

        Raises
        ------
        InputError
            For fewer samples than chips, and a trace that does not give all of them as many.
        """
        if self.samples < chips:
            raise InputError(
                f"read a batch of {self.samples} samples, allowed is at least one for each of {chips} chips"
            )
        if self.batch is not None and self.samples % chips:
            message = f"read {self.samples} samples, allowed is a multiple of the {chips} chips"
            raise InputError(Problem("trace", "samples", message))
        return -(-self.samples // chips)


def read_model(spec: str, changes: Mapping[str, object], given: EmbeddingSet | None, trace: Trace | None) -> Model:
    """A model by its name with parameters; the batch of a trace is the model's.

    Raises
    ------
    InputError
        With all that is wrong with name and parameters, or with the trace.
    """
    name, query = parse_query(spec)
    settings = {**query, **changes}
    whole = "a step on a slice is a training step of the whole model"
    problems = [Problem("", key, f"read {settings[key]!r}, {whole}") for key in WHOLE if key in settings]
    parts = "&".join(f"{key}={value}" for key, value in query.items() if key not in WHOLE)
    loaded = {key: value for key, value in changes.items() if key not in WHOLE}
    work, _ = read_all(
        lambda: load_workload(f"{name}?{parts}" if parts else name, set=loaded), lambda: _refuse(problems)
    )
    tables = model_tables(work, given)
    if trace is None:
        return Model(name, settings, work, tables, None)
    batch = model_batch(trace, tables)
    if "batch" not in settings:
        settings["batch"] = batch.samples
        work = load_workload(name, set=settings)
    elif int(work.parameters["batch"]) != batch.samples:
        message = f"read {settings['batch']}, allowed with this trace are its {batch.samples} samples"
        raise InputError(Problem("", "batch", message))
    return Model(name, settings, work, tables, batch)


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise InputError(problems)


def read_place(slice_: Slice | str, changes: Mapping[str, object], where: str) -> tuple[Slice, Place]:
    """A slice, by name with changes of its machine, and its place for embeddings.

    Raises
    ------
    InputError
        For a wrong name of either, and a machine without such a place.
    """
    on, _ = read_all(
        lambda: read_slice(slice_, set=changes) if isinstance(slice_, str) else slice_,
        lambda: check_choices({"where": where}),
    )
    return on, place_of(on.chip, where)
