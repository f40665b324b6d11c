"""The door to the kernels: runs a checked program and turns what stopped it into a named error."""

from __future__ import annotations

import numpy as np

from accsim.engine.arrays import Flat, flatten
from accsim.engine.counters import Counters, Event, read_counters, read_events
from accsim.engine.merge import with_inner
from accsim.engine.program import MAX_PROGRAM_TICKS, Program
from accsim.engine.tables import IntArray
from accsim.errors import MappingError, TooLongError
from accsim.kernels import layout as k
from accsim.kernels.engine import run_attributed, run_plain


def run_program(program: Program, *, jump: bool = True, attribution: bool = True, most_events: int = 0) -> Counters:
    """Run a tile program.

    Parameters
    ----------
    jump : add whole periods by multiplication once the state repeats (bit-identical to playing them).
    attribution : carry the critical path (about half the speed).
    most_events : room of the event list; with any, nothing is jumped.

    Raises
    ------
    MappingError
        When issue order shows a later firing, a broken slot or release rule, disagreeing counts, a dependence that is
        void at every firing, more than ``most_events`` events, or a shared resource that inner programs overload.
    TooLongError
        When the program takes more than 2**62 ticks, or its ticks times its slots or servers exceed 2**63.
    """
    flat = flatten(program)
    windows = np.ones(len(program.stages), np.int64)
    depths = np.ones(len(flat.arrays.mark), np.int64)
    jump = jump and most_events == 0
    if attribution:
        code, state, events, vectors = run_attributed(flat.arrays, windows, depths, jump, most_events, len(flat.names))
    else:
        code, state, events = run_plain(flat.arrays, windows, depths, jump, most_events)
        vectors = None
    total = int(state.times[k.TOTAL_AT])
    if code == k.OVERFLOW:
        raise _too_long(program, MAX_PROGRAM_TICKS, MAX_PROGRAM_TICKS)
    problems = _stopped(program, code, state.error) or _unbalanced(program, flat, state)
    if problems:
        raise MappingError(f"program '{program.name}' cannot run", problems)
    widest = max([b.slots for b in program.buffers] + [r.servers for r in program.resources])
    if total * widest >= 2**63:
        raise _too_long(program, total, (2**63 - 1) // widest, f", since it has {widest} slots or servers of a kind")
    counters = with_inner(program, read_counters(program, flat, state, events, vectors))
    problems = [f"'{name}' lacks {-ticks} ticks of {total}" for name, ticks in counters.done.items() if ticks < 0]
    if problems:
        raise MappingError(f"inner programs of '{program.name}' have too large a share of a resource", problems)
    return counters


def _too_long(program: Program, ticks: int, most: int, reason: str = "") -> TooLongError:
    return TooLongError(
        f"the program '{program.name}' takes {ticks} ticks or more; allowed are {most}{reason}", ticks, most
    )


def first_events(program: Program, most: int) -> tuple[Event, ...]:
    """The first ``most`` firings in issue order, or all when there are fewer; those after them are not played.

    Raises
    ------
    MappingError
        As :func:`run_program`, for what goes wrong among them.
    """
    flat = flatten(program)
    windows = np.ones(len(program.stages), np.int64)
    depths = np.ones(len(flat.arrays.mark), np.int64)
    code, state, events = run_plain(flat.arrays, windows, depths, False, most)
    problems = [] if code == k.EVENTS_FULL else _stopped(program, code, state.error)
    if problems:
        raise MappingError(f"program '{program.name}' cannot run", problems)
    return read_events(program, events)


def _stopped(program: Program, code: int, error: IntArray) -> list[str]:
    if code == k.OK:
        return []
    stage = program.stages[int(error[k.E_STAGE])].name
    index = int(error[k.E_INDEX])
    if code == k.LATER_FIRING:
        source = program.stages[index].name
        return [
            f"stage '{stage}' depends on a later firing of '{source}': list '{source}' before it, give '{stage}' a "
            f"larger shift or the dependence a lag"
        ]
    if code == k.SLOT_RULE:
        buffer = program.buffers[index]
        return [
            f"stage '{stage}' takes a slot of '{buffer.name}' whose release comes later in issue order: "
            f"give it more than {buffer.slots} slots, or its releasing stage a smaller shift"
        ]
    if code == k.RELEASE_RULE:
        return [f"stage '{stage}' gives back a slot of '{program.buffers[index].name}' before it is taken"]
    return ["more events than asked for: raise most_events"]


def _unbalanced(program: Program, flat: Flat, state: k.State) -> list[str]:
    problems = []
    for i, buffer in enumerate(program.buffers):
        taken, given = int(state.buffer[i, k.N_ACQ]), int(state.buffer[i, k.N_REL])
        if taken != given:
            problems.append(f"buffer '{buffer.name}': {taken} slots are taken and {given} given back by the end")
    for s, stage in enumerate(program.stages):
        if not state.ring[s, k.PLAYED]:
            continue
        first = int(flat.arrays.stage[s, k.DEP0])
        for i, after in enumerate(stage.after):
            if not state.dep[first + i, k.HITS]:
                problems.append(
                    f"stage '{stage.name}': its dependence on '{after.stage}' (level '{after.level}', lag "
                    f"{after.lag}) is void at every firing"
                )
    return problems
