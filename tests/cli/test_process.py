"""The command line as a process: pipes, terminals, interrupts, start-up."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "accsim.cli")
OP = "gemm?m=64&n=64&k=64"
HEAVY = {"matplotlib", "numba", "numpy", "pandas", "pyarrow", "pydantic", "scipy"}


def done(*arguments: str, code: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    command = COMMAND if code is None else (sys.executable, "-c", code)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([*command, *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


def test_help_and_start_are_light() -> None:
    result = done("--help")
    assert result.returncode == 0
    for command in ("run", "machines", "workloads", "describe", "validate", "schema", "sweep"):
        assert f"\n  {command} " in result.stdout
    loaded = done(code="import sys, accsim.cli; print(*sorted({m.partition('.')[0] for m in sys.modules}))")
    assert not set(loaded.stdout.split()) & HEAVY


def test_pipe_has_no_colour_even_where_it_is_forced_on() -> None:
    result = done("run", "flat_edge", OP, COLUMNS="40", TERM="xterm-256color")
    assert result.returncode == 0
    assert "\x1b" not in result.stdout
    assert "vector" not in result.stderr
    assert "..." not in result.stdout.partition("Ops (")[0]


def test_ascii_terminal_can_show_everything(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("name: mine\nops:\n  - {op: gemm, name: größe, m: 4, n: 4, k: 4}\n", encoding="utf-8")
    for arguments in (("run", "flat_edge", str(file)), ("describe", "flat_edge", str(file), "--program")):
        result = done(*arguments, PYTHONIOENCODING="ascii")
        assert result.returncode == 0, result.stderr
        result.stdout.encode("ascii")


def test_exit_codes_of_a_process() -> None:
    assert done("run", "flat_edg", OP).returncode == 2
    assert done("run", "flat_edge", "norm?rows=1&cols=1000000000").returncode == 3
    assert done().returncode == 2


def test_cache_folder_that_cannot_be_made_is_told() -> None:
    result = done("run", "flat_edge", OP, ACCSIM_CACHE_DIR="/dev/null/cache")
    assert result.returncode == 2
    assert "the kernel cache folder /dev/null/cache cannot be made" in result.stderr
    assert "Traceback" not in result.stderr


INTERRUPTED = """
import sys, time
import accsim.cli, accsim.report.simulate

def simulate(*args, **options):
    print("started", file=sys.stderr, flush=True)
    time.sleep(60)

accsim.report.simulate.simulate = simulate
sys.argv = ["accsim", "run", "flat_edge", "bert_base"]
accsim.cli.main()
"""


def test_interrupt_is_clean() -> None:
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED], env=variables, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        assert run.stderr.readline() == "started\n"
        run.send_signal(signal.SIGINT)
        rest = run.stderr.read()
    assert (run.returncode, rest) == (130, "accsim: interrupted\n")


def test_closed_pipe_is_quiet() -> None:
    command = " ".join([*COMMAND, "describe", "h100_sxm", "|", "head", "-1"])
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, shell=True, cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
    assert result.stdout == "h100_sxm\n"
    assert "Traceback" not in result.stderr


def test_progress_goes_to_a_terminal_on_stderr_and_never_to_stdout() -> None:
    ours, theirs = pty.openpty()
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    with subprocess.Popen(
        [*COMMAND, "run", "flat_edge", "bert_base?seq=128", "--json"],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as run:
        os.close(theirs)
        shown = _read_all(ours)
        assert run.stdout is not None
        printed = run.stdout.read()
    os.close(ours)
    assert run.returncode == 0
    assert json.loads(printed)["total_cycles"] > 0
    assert "reading" in shown or "attention" in shown


def _read_all(terminal: int) -> str:
    """Return what a terminal shows until its other side is closed."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux tells the end of a terminal as an error
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)
