"""Attention as one op."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import repeat
from typing import ClassVar

from accsim.config.checks import COUNT_TEXT, ArgumentChecks
from accsim.workload.ops_base import FROM_OTHERS, Counted, check_own_dtypes, tensor_bytes


@dataclass(frozen=True, slots=True)
class Attention(Counted):
    """Attention softmax(Q Kᵀ / √d) V: FLAT's Logit, the softmax, and Attend, as one op.

    Parameters
    ----------
    batch, heads
        Sequences, and query heads of each.
    q_len, kv_len
        Queries and keys of each sequence; where they differ, the most of one.
    head_dim
        Width of one head of queries and keys, and of values and outputs unless `v_dim` is given.
    kv_heads
        Heads of keys and values, a divisor of `heads`: fewer is grouped-query, 1 is multi-query attention.
        Default: `heads`.
    causal
        True: query i sees the keys 0 to kv_len - q_len + i. Needs q_len <= kv_len.
    window
        With `causal` alone: of these keys, query i sees the last `window`, its own included (a sliding window). One of
        at least kv_len hides nothing and becomes None, the default.
    v_dim
        Width of one head of values and outputs where it is another (`value_dim` has it in any case); one of head_dim
        becomes None, the default.
    shared_kv
        True: the values are the first columns of the keys, so that there is one tensor of head_dim columns, as in the
        latent attention of DeepSeek-V2 (arXiv 2405.04434, section 2.1). Needs a value width of at most head_dim.
    latent_dim
        Columns of what a KV cache keeps of each position in place of keys and values, where these are made from it
        before this op. Counts in `cached_bytes` alone.
    q_lens, kv_lens
        Queries and keys of one sequence after the other, where sequences differ; `batch`, `q_len` and `kv_len` may then
        be left out. `q_lens` without keys: as many of each. Kept from the longest keys to the shortest; of equal
        lengths they become None, the default.
    dtype
        Data type of Q, the weights after the softmax, the output, and of K and V unless they have their own, in any
        spelling.
    name
        Name in reports.
    kv_dtype
        Data type of keys and values as they lie in memory, None for `dtype`; with `latent_dim` of what the KV cache
        keeps in their place alone.

    Raises
    ------
    InputError
        With every field that is out of range.

    Notes
    -----
    The factor 1/√d is folded into the queries, and costs nothing.

    Examples
    --------
    >>> Attention(batch=1, heads=2, q_len=3, kv_len=3, head_dim=8, causal=True).scores
    12
    """

    kind: ClassVar[str] = "attention"
    batch: int = FROM_OTHERS
    heads: int = FROM_OTHERS
    q_len: int = FROM_OTHERS
    kv_len: int = FROM_OTHERS
    head_dim: int = FROM_OTHERS
    kv_heads: int = FROM_OTHERS
    causal: bool = False
    dtype: str = "bf16"
    name: str = "attention"
    window: int | None = None
    v_dim: int | None = None
    shared_kv: bool = False
    latent_dim: int | None = None
    q_lens: tuple[int, ...] | None = None
    kv_lens: tuple[int, ...] | None = None
    kv_dtype: str | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        several = self._take_lengths(check) and check.count("batch", "q_len", "kv_len")
        sized = check.count("heads", "head_dim") and several
        given = not check.fill("kv_heads", self.heads)
        if given and check.count("kv_heads") and sized and self.heads % self.kv_heads:
            check.fail("kv_heads", f"read {self.kv_heads}, allowed is a divisor of the {self.heads} heads")
        check.flag("causal")
        for queries, keys in self._lengths() if sized and self.causal is True else ():
            if queries > keys:
                check.fail("q_len", f"read {queries}, allowed with a causal mask is at most kv_len = {keys}")
                break
        if self.window is not None and check.count("window") and sized:
            if self.causal is False:
                check.fail("window", f"read {self.window}, allowed without causal is none")
            elif self.window >= self.kv_len:
                object.__setattr__(self, "window", None)
        check.flag("shared_kv")
        if self.latent_dim is not None:
            check.count("latent_dim")
        if self.v_dim is not None and check.count("v_dim") and sized:
            if self.shared_kv is True and self.v_dim > self.head_dim:
                check.fail("v_dim", f"read {self.v_dim}, allowed with shared_kv is at most head_dim = {self.head_dim}")
            elif self.v_dim == self.head_dim:
                object.__setattr__(self, "v_dim", None)
        check.dtype()
        check_own_dtypes(self, check, "kv_dtype")
        check.name()
        check.finish()

    def _take_lengths(self, check: ArgumentChecks) -> bool:
        """Put sequences of different lengths in order, and fill in how many they are and their longest.

        False if the lists are not of use, so that there is no more to be said about what they leave out.
        """
        given = [name for name in ("q_lens", "kv_lens") if getattr(self, name) is not None]
        missing = [name for name in ("q_len", "kv_len") if getattr(self, name) is None]
        good = [check.counts(name) for name in given]
        if not all(good):
            return False
        if given == ["q_lens"] and "kv_len" in missing:
            object.__setattr__(self, "kv_lens", self.q_lens)
        if not given:
            return True
        count = len(getattr(self, given[0]))
        if len(given) == 2 and len(self.kv_lens or ()) != count:
            check.fail("kv_lens", f"read {len(self.kv_lens or ())} sequences, allowed are the {count} of q_lens")
            return False
        if self.q_lens is None and "q_len" in missing:
            check.fail("q_len", f"read nothing, allowed beside kv_lens is {COUNT_TEXT}")
            return False
        queries, keys = self.q_lens or (self.q_len,) * count, self.kv_lens or (self.kv_len,) * count
        pairs = sorted(zip(keys, queries, strict=True), reverse=True)
        for name, lengths in (("kv_len", [pair[0] for pair in pairs]), ("q_len", [pair[1] for pair in pairs])):
            if not check.fill(name, max(lengths)) and getattr(self, name) != max(lengths):
                check.fail(name, f"read {getattr(self, name)}, allowed is the longest, {max(lengths)}")
            object.__setattr__(self, f"{name}s", tuple(lengths) if len(set(lengths)) > 1 else None)
        if not check.fill("batch", count) and self.batch != count:
            check.fail("batch", f"read {self.batch}, allowed is the number of lengths, {count}")
        return True

    def _lengths(self) -> Iterator[tuple[int, int]]:
        """(queries, keys) of each sequence, once where all are alike."""
        if self.q_lens is None and self.kv_lens is None:
            return iter([(self.q_len, self.kv_len)])
        return zip(self.q_lens or repeat(self.q_len), self.kv_lens or repeat(self.kv_len), strict=False)

    @property
    def runs(self) -> tuple[Attention, ...]:
        """The op as ops of equal lengths, one for each pair of lengths; itself where all are alike."""
        return _runs(self)

    @property
    def scores(self) -> int:
        """Visible scores over all sequences and heads.

        Of each q_len x kv_len, a causal mask hides the upper corner, and a window the lower one.
        """
        return sum(_scores(run) for run in self.runs)

    @property
    def seen_keys(self) -> int:
        """Keys of the longest sequence that any query sees: under a window, those from the first query's on."""
        return self.kv_len if self.window is None else min(self.kv_len, self.q_len + self.window - 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of Logit and Attend over the visible scores."""
        return self.scores * (self.head_dim + self.value_dim)

    @property
    def value_dim(self) -> int:
        """Width of one head of values and outputs."""
        return self.head_dim if self.v_dim is None else self.v_dim

    @property
    def kv_width(self) -> int:
        """Elements of a key and its value, stored once where they are shared."""
        return self.head_dim if self.shared_kv else self.head_dim + self.value_dim

    @property
    def cache_dtype(self) -> str:
        """Data type of what a KV cache keeps."""
        return self.kv_dtype or self.dtype

    @property
    def read_dtype(self) -> str:
        """Data type in which keys and values lie in memory: that of the cache, unless they are made from it."""
        return self.cache_dtype if self.latent_dim is None else self.dtype

    @property
    def kv_bytes(self) -> int:
        """Bytes of the keys and values that any query sees."""
        return tensor_bytes(self.kv_heads * self._all_keys * self.kv_width, self.read_dtype)

    @property
    def _all_keys(self) -> int:
        """Keys that any query sees, of all sequences."""
        return sum(run.batch * run.seen_keys for run in self.runs)

    @property
    def _all_queries(self) -> int:
        return sum(run.batch * run.q_len for run in self.runs)

    @property
    def cached_bytes(self) -> int:
        """Bytes that a KV cache keeps of the keys and values that any query sees."""
        if self.latent_dim is None:
            return self.kv_bytes
        return tensor_bytes(self._all_keys * self.latent_dim, self.cache_dtype)

    @property
    def input_bytes(self) -> int:
        """Bytes of queries, keys and values."""
        return tensor_bytes(self.heads * self._all_queries * self.head_dim, self.dtype) + self.kv_bytes

    @property
    def output_bytes(self) -> int:
        """Bytes of the output."""
        return tensor_bytes(self.heads * self._all_queries * self.value_dim, self.dtype)

    @property
    def vector_ops(self) -> Mapping[str, int]:
        """Operations of a three-pass softmax over the visible scores; an online softmax, a mapping's, has its own."""
        return dict.fromkeys(("max", "exp", "add", "divide"), self.scores)


@lru_cache(maxsize=1024)
def _runs(op: Attention) -> tuple[Attention, ...]:
    if op.q_lens is None and op.kv_lens is None:
        return (op,)
    counts = Counter(op._lengths())
    alike = replace(op, batch=1, q_len=1, q_lens=None, kv_lens=None)
    return tuple(replace(alike, batch=n, q_len=queries, kv_len=keys) for (queries, keys), n in counts.items())


def _scores(op: Attention) -> int:
    """Visible scores of an op of equal lengths."""
    each = op.q_len * op.kv_len
    if op.causal:
        each -= op.q_len * (op.q_len - 1) // 2
    if op.window is not None:
        past = min(op.q_len, op.kv_len - op.window)  # queries with more keys behind them than the window has
        most = op.kv_len - op.window
        each -= past * most - past * (past - 1) // 2
    return op.batch * op.heads * each
