"""Traces as files: a list of ops, with groups that repeat, to a workload."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, SkipValidation

from accsim.config.fields import Name
from accsim.config.reader import FileModel, MarkedDocument, PlacedError, Wrong, dotted, validate
from accsim.config.yaml_marks import KeyPath
from accsim.errors import InputError, Problem, nearest
from accsim.workload.checks import MAX_NAME, MAX_SIZE, shown
from accsim.workload.models.base import Count, Dtype
from accsim.workload.ops import OPS, Op
from accsim.workload.ops_vector import MAX_INPUTS
from accsim.workload.trace import Entry, Workload, order_problems
from accsim.workload.vector_counts import ELEMENTWISE, NORMS

F = TypeVar("F", bound=FileModel)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"read {shown(text)}, allowed are printable characters")
    return text


def _one_of(allowed: Mapping[str, object]) -> AfterValidator:
    def check(text: str) -> str:
        if text not in allowed:
            message = f"read {shown(text)}, allowed are {', '.join(sorted(allowed))}"
            raise PlacedError([Wrong((), message, nearest(text, allowed))])
        return text

    return AfterValidator(check)


def _enum(allowed: Mapping[str, object]) -> Any:
    return Field(json_schema_extra={"enum": [*sorted(allowed)]})


EntryName = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_printable)]
NormFunction = Annotated[str, _one_of(NORMS), _enum(NORMS)]
ElementwiseFunction = Annotated[str, _one_of(ELEMENTWISE), _enum(ELEMENTWISE)]


class OpForm(FileModel):
    """Keys that every op of a trace may have."""

    not_of_the_op: ClassVar[Container[str]] = ("op", "name", "repeat", "after")

    name: EntryName | None = None
    """Name within the trace; default: its kind, numbered where needed."""
    dtype: Dtype = "bf16"
    """Data type."""
    repeat: Count = 1
    """How often it is done."""
    after: list[EntryName] = Field(default_factory=list)
    """Names of earlier ops whose results it needs; empty: the op before."""


class GemmForm(OpForm):
    """A product C[m,n] = A[m,k] B[k,n]."""

    op: Literal["gemm"]
    """Kind."""
    m: Count
    """Rows of A and C."""
    n: Count
    """Columns of B and C."""
    k: Count
    """Columns of A, rows of B."""
    batch: Count = 1
    """Number of products."""
    weights: bool = True
    """True if B is a parameter, one for the whole batch."""


class AttentionForm(OpForm):
    """Attention, softmax included."""

    op: Literal["attention"]
    """Kind."""
    batch: Count
    """Sequences."""
    heads: Count
    """Query heads."""
    q_len: Count
    """Queries of each sequence."""
    kv_len: Count
    """Keys of each sequence."""
    head_dim: Count
    """Width of a head."""
    kv_heads: Count | None = None
    """Heads of keys and values, a divisor of heads; default: heads."""
    causal: bool = False
    """True if a query sees no later key."""


class SoftmaxForm(OpForm):
    """Softmax of each row."""

    op: Literal["softmax"]
    """Kind."""
    rows: Count
    """Rows."""
    cols: Count
    """Scores of a row."""


class NormForm(OpForm):
    """Normalization of each row."""

    op: Literal["norm"]
    """Kind."""
    rows: Count
    """Rows."""
    cols: Count
    """Elements of a row."""
    function: NormFunction = "layer"
    """layer or rms."""


class ElementwiseForm(OpForm):
    """A function of each element."""

    op: Literal["elementwise"]
    """Kind."""
    elements: Count
    """Elements of the output."""
    function: ElementwiseFunction
    """What is done to each."""
    inputs: Annotated[int, Field(ge=1, le=MAX_INPUTS)] | None = None
    """Tensors read; default: what the function needs."""


class GroupForm(FileModel):
    """Steps that are done one after the other, several times."""

    repeat: Count
    """How often."""
    ops: SkipValidation[list[StepForm]]
    """Ops and further groups."""


StepForm = GemmForm | AttentionForm | SoftmaxForm | NormForm | ElementwiseForm | GroupForm

FORMS: Mapping[str, type[OpForm]] = {
    "gemm": GemmForm,
    "attention": AttentionForm,
    "softmax": SoftmaxForm,
    "norm": NormForm,
    "elementwise": ElementwiseForm,
}
"""Form of each kind of op."""


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
        form = self._checked(GroupForm, path, group)
        self.steps((*path, "ops"), group["ops"], times if form is None else self._times(path, form.repeat, times))

    def _op(self, path: KeyPath, step: Mapping[str, Any], times: int) -> None:
        form = self._checked(FORMS[step["op"]], path, step)
        if form is None:
            return
        op_type = OPS[step["op"]]
        given = {f.name: getattr(form, f.name) for f in fields(op_type) if f.name not in form.not_of_the_op}
        try:
            op = op_type(name=form.name or op_type.kind, **given)
        except InputError as error:
            for problem in error.problems:
                self._fail((*path, problem.path.rpartition(".")[2]), problem.message, problem.suggestion)
        else:
            self._steps.append(_Step(path, form, op, self._times(path, form.repeat, times)))

    def _times(self, path: KeyPath, repeat: int, times: int) -> int:
        if repeat * times > MAX_SIZE:
            message = f"read {repeat} inside groups that repeat {times} times, allowed are 2^40 - 1 repeats in all"
            self._fail((*path, "repeat"), message)
            return 1
        return repeat * times

    def _checked(self, form: type[F], path: KeyPath, data: Mapping[str, Any]) -> F | None:
        part = _Part(self.document.name, dict(data), {}, whole=self.document, prefix=path)
        try:
            return validate(form, part)
        except InputError as error:
            head = dotted(path)
            for problem in error.problems:
                full = f"{head}.{problem.path}" if problem.path else head
                self.problems.append(replace(problem, path=full))
            return None

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
            Entry(replace(step.op, name=name), step.repeat, name, tuple(step.form.after))
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
