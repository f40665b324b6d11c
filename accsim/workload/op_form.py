"""Keys of each kind of op in files, and the op that they stand for."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import fields, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from accsim.config.checks import MAX_LIST, MAX_NAME, MAX_SIZE, shown
from accsim.config.reader import FileModel, MarkedDocument, PlacedError, Wrong, validate
from accsim.errors import InputError, Problem, nearest
from accsim.sparsity.base import Pattern
from accsim.sparsity.spelling import read_pattern
from accsim.workload.models.base import Count, Dtype
from accsim.workload.ops import OPS, Op
from accsim.workload.ops_vector import MAX_INPUTS
from accsim.workload.vector_counts import ELEMENTWISE, NORMS, POOLS


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


def _lengths(value: object) -> object:
    """A text of lengths as a list of them; any other value as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, str):
        return list(value) if isinstance(value, tuple) else value
    found: list[int] = []
    for part in value.strip("[]() ").replace(",", ";").split(";"):
        length, _, times = part.partition("x")
        if not length.strip().isdecimal() or not (times.strip() or "1").isdecimal():
            raise ValueError(f"read {shown(value)}, allowed are whole numbers, as in '4096x8; 1024'")
        found += [int(length)] * min(int(times or 1), MAX_LIST + 1)
    return found


EntryName = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_printable)]
Lengths = Annotated[
    list[Count] | None, BeforeValidator(_lengths, json_schema_input_type=list[Count] | str | Count | None)
]
"""Lengths, also as a text with how often each occurs: ``4096x8; 1024``."""
Padding = Annotated[int, Field(ge=0, le=MAX_SIZE)]
PoolFunction = Annotated[str, _one_of(POOLS), _enum(POOLS)]
NormFunction = Annotated[str, _one_of(NORMS), _enum(NORMS)]
ElementwiseFunction = Annotated[str, _one_of(ELEMENTWISE), _enum(ELEMENTWISE)]


def _pattern(value: object) -> Pattern | None:
    try:
        return None if value is None else read_pattern(value)
    except InputError as error:
        raise PlacedError(
            [Wrong((), str(replace(p, suggestion=None)), p.suggestion) for p in error.problems]
        ) from error


PatternSpec = Annotated[
    Any,
    AfterValidator(_pattern),
    WithJsonSchema(
        {"type": ["string", "object", "null"], "examples": ["2:4", "nm(2, 4, axis=n)", "block(16, 16, 1/4)"]}
    ),
]
"""Pattern in any spelling."""


class OpForm(FileModel):
    """Keys that every op of a trace may have."""

    not_of_the_op: ClassVar[Container[str]] = ("op", "name", "repeat", "after", "shared_weights")
    usual: ClassVar[Container[str]] = ()
    """Keys that may be left out where others stand in for them; an example has them."""

    name: EntryName | None = None
    """Name within the trace; default: its kind, numbered where needed."""
    dtype: Dtype = "bf16"
    """Data type."""
    repeat: Count = 1
    """How often it is done."""
    after: list[EntryName] = Field(default_factory=list)
    """Names of earlier ops whose results it needs; empty: the op before."""
    shared_weights: bool = False
    """True if its repeats use the same parameters; those of a group around it do not."""

    @property
    def weight_sets(self) -> int:
        """Repeats with parameters of their own."""
        return 1 if self.shared_weights else self.repeat


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
    grouped: bool = False
    """True if each batch element has a parameter B of its own."""
    sparsity: PatternSpec = None
    """Pattern of the nonzero values of an operand, such as 2:4; default: dense."""
    sparse_operand: Literal["A", "B"] | None = None
    """Operand that has the pattern; default: B."""
    other_sparsity: PatternSpec = None
    """Pattern of the other operand; default: dense."""
    weight_dtype: Dtype | None = None
    """Data type of B; default: dtype."""
    out_dtype: Dtype | None = None
    """Data type of C; default: dtype."""
    out_sparsity: PatternSpec = None
    """Pattern of C as the next product's A, along k where its own axis is n; default: dense."""


class AttentionForm(OpForm):
    """Attention, softmax included."""

    usual: ClassVar[Container[str]] = ("batch", "q_len", "kv_len")

    op: Literal["attention"]
    """Kind."""
    batch: Count | None = None
    """Sequences; default: the number of lengths."""
    heads: Count
    """Query heads."""
    q_len: Count | None = None
    """Queries of each sequence; default: the most of q_lens."""
    kv_len: Count | None = None
    """Keys of each sequence; default: the most of kv_lens."""
    head_dim: Count
    """Width of a head."""
    kv_heads: Count | None = None
    """Heads of keys and values, a divisor of heads; default: heads."""
    causal: bool = False
    """True if a query sees no later key."""
    window: Count | None = None
    """With causal: most keys that a query sees, its own and those before it; default: all."""
    v_dim: Count | None = None
    """Width of a head of values; default: head_dim."""
    shared_kv: bool = False
    """True if the values are the first columns of the keys, which are stored once."""
    latent_dim: Count | None = None
    """Columns of what a cache keeps of a position in place of keys and values; default: keys and values."""
    q_lens: Lengths = None
    """Queries of one sequence after the other, where they differ; without keys: as many of each."""
    kv_lens: Lengths = None
    """Keys of one sequence after the other, where they differ."""
    kv_dtype: Dtype | None = None
    """Data type of keys and values in memory; default: dtype."""


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
    out_dtype: Dtype | None = None
    """Data type of the output; default: dtype."""


class _WindowForm(OpForm):
    """Keys of a window that slides over feature maps."""

    height: Count
    """Rows of the input map."""
    width: Count | None = None
    """Columns of the input map; default: height."""
    kernel: Count
    """Rows of a window."""
    kernel_w: Count | None = None
    """Columns of a window; default: kernel."""
    batch: Count = 1
    """Images."""
    stride: Count = 1
    """Pixels from one window to the next."""
    padding: Padding = 0
    """Rows added above and below."""
    padding_w: Padding | None = None
    """Columns added on the left and the right; default: padding."""
    dilation: Count = 1
    """Pixels from one tap of a window to the next."""


class Conv2dForm(_WindowForm):
    """A convolution with learned filters."""

    op: Literal["conv2d"]
    """Kind."""
    in_channels: Count
    """Channels of the input."""
    out_channels: Count
    """Channels of the output."""
    groups: Count = 1
    """Parts of the channels that do not meet, a divisor of both."""
    weight_dtype: Dtype | None = None
    """Data type of the filters; default: dtype."""
    out_dtype: Dtype | None = None
    """Data type of the output; default: dtype."""


class Pool2dForm(_WindowForm):
    """The largest element, or the mean, of each window."""

    op: Literal["pool2d"]
    """Kind."""
    channels: Count
    """Channels of input and output."""
    function: PoolFunction = "max"
    """max or average."""


class EmbeddingForm(OpForm):
    """A row of a table for each token."""

    op: Literal["embedding"]
    """Kind."""
    tokens: Count
    """Rows fetched."""
    dim: Count
    """Elements of a row."""
    vocab: Count
    """Rows of the table."""
    tied: bool = False
    """Whether the table is also the weight of a product of the trace, and lies in memory once."""


class EmbeddingBagForm(OpForm):
    """The sum of rows of a table for each bag."""

    op: Literal["embedding_bag"]
    """Kind."""
    bags: Count
    """Sums made."""
    lookups: Count
    """Rows fetched for all bags together, at least one a bag."""
    dim: Count
    """Elements of a row."""
    vocab: Count
    """Rows of the table."""


class LstmCellForm(OpForm):
    """One step of an LSTM layer."""

    op: Literal["lstm_cell"]
    """Kind."""
    batch: Count
    """Sequences."""
    input_size: Count
    """Width of the step's input."""
    hidden_size: Count
    """Width of state and output."""
    weight_dtype: Dtype | None = None
    """Data type of the weight; default: dtype."""
    out_dtype: Dtype | None = None
    """Data type of the output and the state that are written; default: dtype."""


FORMS: Mapping[str, type[OpForm]] = {
    "gemm": GemmForm,
    "attention": AttentionForm,
    "softmax": SoftmaxForm,
    "norm": NormForm,
    "elementwise": ElementwiseForm,
    "conv2d": Conv2dForm,
    "pool2d": Pool2dForm,
    "embedding": EmbeddingForm,
    "embedding_bag": EmbeddingBagForm,
    "lstm_cell": LstmCellForm,
}
"""Form of each kind of op."""


class ReadOp(NamedTuple):
    """An op as a file gives it: its keys, and the op, named by its kind if it has no name."""

    form: OpForm
    op: Op


def read_form(document: MarkedDocument, also: Sequence[Problem] = ()) -> ReadOp:
    """The op of a document whose keys are those of one op; `also` are problems already found, reported with its own.

    Raises
    ------
    InputError
        With every problem, each at its place in the document.
    """
    kind = document.data["op"]
    form = validate(FORMS[kind], document, also=also)
    given = {f.name: getattr(form, f.name) for f in fields(OPS[kind]) if f.name not in form.not_of_the_op}
    try:
        return ReadOp(form, OPS[kind](name=form.name or kind, **given))
    except InputError as error:
        paths = [problem.path.rpartition(".")[2] for problem in error.problems]
        placed = [replace(p, where=document.where((q,)), path=q) for p, q in zip(error.problems, paths, strict=True)]
        raise InputError(placed) from error
