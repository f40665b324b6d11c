"""Traces as files: a list of ops, with groups that repeat, to a workload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic import SkipValidation

from accsim.config.checks import MAX_SIZE, shown
from accsim.config.fields import Name
from accsim.config.reader import FileModel, MarkedDocument, dotted, validate
from accsim.config.yaml_marks import KeyPath
from accsim.errors import InputError, Problem, nearest
from accsim.workload.models.base import Count
from accsim.workload.op_form import (
    FORMS,
    AttentionForm,
    Conv2dForm,
    ElementwiseForm,
    EmbeddingBagForm,
    EmbeddingForm,
    GemmForm,
    LstmCellForm,
    NormForm,
    OpForm,
    Pool2dForm,
    SoftmaxForm,
    read_form,
)
from accsim.workload.ops import Op
from accsim.workload.trace import Entry, Workload, order_problems


class GroupForm(FileModel):
    """Steps that are done one after the other, several times."""

    repeat: Count
    """How often."""
    ops: SkipValidation[list[StepForm]]
    """Ops and further groups."""


StepForm = (
    GemmForm
    | AttentionForm
    | SoftmaxForm
    | NormForm
    | ElementwiseForm
    | Conv2dForm
    | Pool2dForm
    | EmbeddingForm
    | EmbeddingBagForm
    | LstmCellForm
    | GroupForm
)


class TraceFile(FileModel):
    """A workload as a list of ops."""

    name: Name
    """Name in reports."""
    source: str = ""
    """Where it comes from."""
    ops: SkipValidation[list[StepForm]]
    """Ops in the order in which they are issued; a group repeats a list of them."""


def read_trace(document: MarkedDocument) -> Workload:
    """The workload of a file with the key ``ops``.

    Raises
    ------
    InputError
        With every problem of the file, each at its place.
    """
    reader = _Reader(document)
    reader.steps(("ops",), document.data.get("ops"), 1)
    entries = reader.entries()
    file = validate(TraceFile, document, also=reader.problems)
    return Workload(name=file.name, entries=tuple(entries), source=file.source)


@dataclass(frozen=True, kw_only=True)
class _Part(MarkedDocument):
    """A mapping inside a document, as a document of its own."""

    whole: MarkedDocument
    prefix: KeyPath

    def where(self, path: KeyPath, *, key: bool = False) -> str:
        return self.whole.where((*self.prefix, *path), key=key)


class _Step(NamedTuple):
    path: KeyPath
    form: OpForm
    op: Op
    repeat: int

    @property
    def weight_sets(self) -> int:
        """Repeats with parameters of their own: where the op's own repeats share them, one a round of the groups."""
        return self.repeat // self.form.repeat * self.form.weight_sets


class _Reader:
    """Walks the ops of a trace, noting steps and problems."""

    def __init__(self, document: MarkedDocument) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self._steps: list[_Step] = []

    def _fail(self, path: KeyPath, message: str, suggestion: str | None = None) -> None:
        self.problems.append(Problem(self.document.where(path), dotted(path), message, suggestion))

    def steps(self, path: KeyPath, steps: Any, times: int) -> None:
        """Note the steps of a list that is done `times` times."""
        if not isinstance(steps, list) or not steps:
            read = "an empty list" if steps == [] else shown(steps)
            self._fail(path, f"read {read}, allowed is a list of at least one op")
            return
        for i, step in enumerate(steps):
            self._step((*path, i), step, times)

    def _step(self, path: KeyPath, step: Any, times: int) -> None:
        kinds = ", ".join(FORMS)
        if not isinstance(step, Mapping):
            self._fail(path, f"read {shown(step)}, allowed is a mapping with the key op ({kinds}) or ops")
        elif "op" not in step and "ops" in step:
            self._group(path, step, times)
        elif "op" not in step:
            near = next((key for key in step if nearest(key, ("op", "ops"))), None)
            hint = "" if near is None else f"; the key '{near}' is unknown"
            self._fail(path, f"missing the key op (allowed are {kinds}) or, for a group, ops{hint}")
        elif step["op"] not in list(FORMS):
            read = step["op"]
            near = nearest(read, FORMS) if isinstance(read, str) else None
            self._fail((*path, "op"), f"read {shown(read)}, allowed are {kinds}", near)
        else:
            self._op(path, step, times)

    def _group(self, path: KeyPath, group: Mapping[str, Any], times: int) -> None:
        try:
            form = validate(GroupForm, self._part(path, group))
        except InputError as error:
            self._note(path, error)
        else:
            times = self._times(path, form.repeat, times)
        self.steps((*path, "ops"), group["ops"], times)

    def _op(self, path: KeyPath, step: Mapping[str, Any], times: int) -> None:
        try:
            form, op = read_form(self._part(path, step))
        except InputError as error:
            self._note(path, error)
        else:
            self._steps.append(_Step(path, form, op, self._times(path, form.repeat, times)))

    def _times(self, path: KeyPath, repeat: int, times: int) -> int:
        if repeat * times > MAX_SIZE:
            message = f"read {repeat} inside groups that repeat {times} times, allowed are 2^40 - 1 repeats in all"
            self._fail((*path, "repeat"), message)
            return 1
        return repeat * times

    def _part(self, path: KeyPath, data: Mapping[str, Any]) -> _Part:
        return _Part(self.document.name, dict(data), {}, whole=self.document, prefix=path)

    def _note(self, path: KeyPath, error: InputError) -> None:
        """Note the problems of a part under their paths in the whole document."""
        head = dotted(path)
        for problem in error.problems:
            self.problems.append(replace(problem, path=f"{head}.{problem.path}" if problem.path else head))

    def entries(self) -> list[Entry]:
        """The entries, if there was no problem; notes those of names."""
        names = list(self._names())
        ordered = [(name, step.form.after) for name, step in zip(names, self._steps, strict=True)]
        for wrong in order_problems(ordered):
            path = self._steps[wrong.entry].path
            place = (*path, "name") if wrong.after is None else (*path, "after", wrong.after)
            message = wrong.message
            if wrong.first is not None:
                message += f", first at {self.document.where(self._steps[wrong.first].path)}"
            self._fail(place, message, wrong.suggestion)
        if self.problems:
            return []
        return [
            Entry(replace(step.op, name=name), step.repeat, name, tuple(step.form.after), step.weight_sets)
            for name, step in zip(names, self._steps, strict=True)
        ]

    def _names(self) -> Iterator[str]:
        taken = {step.form.name for step in self._steps}
        numbers: dict[str, int] = {}
        for step in self._steps:
            name, kind = step.form.name, step.op.kind
            while name is None:
                number = numbers[kind] = numbers.get(kind, 0) + 1
                candidate = kind if number == 1 else f"{kind}_{number}"
                name = None if candidate in taken else candidate
            yield name
