"""The main job: one BERT-base layer on a 128 x 128 array inside Python, and whole commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import accsim


def bert_layer() -> accsim.Workload:
    """The ops of one BERT-base layer at 512 tokens."""
    whole = accsim.load_workload("bert_base?seq=512")
    names = {"q_proj", "k_proj", "v_proj", "attention", "o_proj", "attention_residual", "attention_norm", "ffn_up"}
    names |= {"ffn_act", "ffn_down", "ffn_residual", "ffn_norm"}
    entries = tuple(
        type(entry)(entry.op, 1, entry.name) for entry in whole.entries if entry.name.rpartition(".")[2] in names
    )
    return accsim.Workload("bert_layer", entries)


def test_searched_layer(benchmark: BenchmarkFixture, figure: Callable[[str], None]) -> None:
    layer, machine = bert_layer(), accsim.load_accelerator("systolic_128")
    benchmark(lambda: accsim.simulate(layer, machine))
    figure(f"BERT-base layer, every mapping searched: {benchmark.stats['median'] * 1e3:.1f} ms")


def test_mapped_layer(benchmark: BenchmarkFixture, figure: Callable[[str], None]) -> None:
    layer, machine = bert_layer(), accsim.load_accelerator("systolic_128")
    report = accsim.simulate(layer, machine)
    benchmark(lambda: report.what_if({"matrix": 1.0}))
    figure(f"BERT-base layer, mappings given: {benchmark.stats['median'] * 1e3:.1f} ms")


@pytest.mark.parametrize("command", ["--help", "run flat_cloud bert_base", "run systolic_128 bert_base"])
def test_command(benchmark: BenchmarkFixture, figure: Callable[[str], None], command: str) -> None:
    line = [sys.executable, "-m", "accsim.cli", *command.split()]
    benchmark.pedantic(lambda: subprocess.run(line, check=True, capture_output=True), rounds=5, warmup_rounds=1)
    figure(f"accsim {command}, warm cache: {benchmark.stats['median']:.2f} s wall")


def test_import(benchmark: BenchmarkFixture, figure: Callable[[str], None]) -> None:
    line = [sys.executable, "-c", "import accsim"]
    benchmark.pedantic(lambda: subprocess.run(line, check=True), rounds=5, warmup_rounds=1)
    figure(f"python -c 'import accsim': {benchmark.stats['median']:.3f} s wall")
