"""Naive twin of flat-corrected: loops that load tensors one by one, and a search of seven nested loops.

Written from the words of the model (docs/flat_published.md), in plain Python, for small lengths that R divides.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

WORD = 2


@dataclass(frozen=True)
class Machine:
    side: int
    capacity: float
    bandwidth: float
    clock: float


@dataclass(frozen=True)
class Problem:
    batch: int
    heads: int
    length: int
    width: int


@dataclass(frozen=True)
class Choice:
    rows: int
    logit: str
    attend: str
    q: bool
    k: bool
    scores: bool
    v: bool
    o: bool


@dataclass(frozen=True)
class Result:
    traffic: float
    footprint: float
    spill: float
    latency: float


def loads(problem: Problem, machine: Machine, choice: Choice) -> dict[str, float]:
    """Words that one head moves to and from main memory without spill."""
    n, d, p = problem.length, problem.width, machine.side
    moved = dict.fromkeys("qkvlso", 0.0)
    for name, staged in (("q", choice.q), ("k", choice.k), ("v", choice.v)):
        if staged:
            moved[name] += n * d
    if not choice.q:
        for _ in range(0, n, p):  # Q passes by for every column tile of keys
            moved["q"] += n * d
    for name, staged, form in (("k", choice.k, choice.logit), ("v", choice.v, choice.attend)):
        step = p if form == "OS" else choice.rows  # with stationary weights a whole FLAT tile shares them
        if not staged:
            for _ in range(0, n, step):
                moved[name] += n * d
    if not choice.scores:
        moved["l"] += n * n
        for _ in range(0, d, p):  # the weights pass by for every column tile of the head
            moved["s"] += n * n
    moved["o"] += n * d
    return moved


def cycles(problem: Problem, machine: Machine, choice: Choice) -> int:
    """Cycles of the array, of one head."""
    n, d, p = problem.length, problem.width, machine.side
    total = 0
    for _, _ in itertools.product(range(0, n, p), range(0, n if choice.logit == "OS" else d, p)):
        total += d if choice.logit == "OS" else n
    for _, _ in itertools.product(range(0, n, p), range(0, d, p)):
        total += n
    return total


def tiles(problem: Problem, machine: Machine, choice: Choice) -> dict[str, int]:
    """Words of each tile in the buffer."""
    n, d, p, r = problem.length, problem.width, machine.side, choice.rows
    small = {"q": {"OS": p * d, "WS": r * p}, "k": {"OS": p * d, "WS": p * p}}
    small |= {"l": {"OS": p * p, "WS": r * p}}
    held = {
        "q": r * d if choice.q else small["q"][choice.logit],
        "k": n * d if choice.k else small["k"][choice.logit],
        "v": n * d if choice.v else small["k"][choice.attend],
        "o": r * d if choice.o else small["q"][choice.attend],
    }
    if not choice.scores:
        held |= {"l": small["l"][choice.logit], "s": p * p}
    return held


def spilled_words(problem: Problem, machine: Machine, choice: Choice) -> float:
    """Words that one head moves more if everything spills."""
    n, d, p = problem.length, problem.width, machine.side
    row_tiles, col_tiles = math.ceil(n / p), math.ceil(d / p)
    words = row_tiles * n * d + col_tiles * n * n
    if choice.logit == "OS":
        words += n * n
        words += row_tiles * n * d if choice.k else 0
    else:
        words += 2 * col_tiles * n * n
    if choice.attend == "WS":
        return words + 2 * row_tiles * n * d
    return words + (n * d if choice.o else 0) + (row_tiles * n * d if choice.v else 0)


def evaluate(problem: Problem, machine: Machine, choice: Choice) -> Result:
    """What the model says of one mapping."""
    heads = problem.batch * problem.heads
    held = tiles(problem, machine, choice)
    footprint = 2 * WORD * sum(held.values())
    if choice.scores:
        footprint += WORD * choice.rows * problem.length
    spill = 1 - machine.capacity / footprint if footprint > machine.capacity else 0.0
    start = WORD * (held["q"] + held["k"] + held["v"] + (1 if choice.o else 2) * held["o"])
    words = sum(loads(problem, machine, choice).values()) + spill * spilled_words(problem, machine, choice)
    traffic = WORD * heads * words + start
    busy = heads * cycles(problem, machine, choice) / machine.clock
    switches = 0
    for _ in range(0, problem.length, choice.rows):
        switches += {"OS": 3, "WS": 4}[choice.logit] + {"OS": 3, "WS": 4}[choice.attend]
    ends = heads * switches / machine.clock + start / machine.bandwidth
    return Result(traffic, footprint, spill, max(busy, traffic / machine.bandwidth) + ends)


def choices(problem: Problem, machine: Machine) -> list[Choice]:
    """The whole space."""
    found = []
    p = machine.side
    for rows in [problem.length, *(r for r in (p, 2 * p, 4 * p) if r < problem.length)]:
        for logit, attend in itertools.product(("OS", "WS"), repeat=2):
            for q, k, scores, v, o in itertools.product((False, True), repeat=5):
                found.append(Choice(rows, logit, attend, q, k, scores, v, o))
    return found


def search(problem: Problem, machine: Machine) -> tuple[Choice, Result]:
    """The first mapping of lowest latency."""
    best: tuple[Choice, Result] | None = None
    for choice in choices(problem, machine):
        result = evaluate(problem, machine, choice)
        if best is None or result.latency < best[1].latency:
            best = choice, result
    assert best is not None
    return best
