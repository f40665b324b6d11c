"""Workloads by name, query, path and object."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.workload.catalogue import describe_workload, list_workloads, load_workload
from accsim.workload.ops import Gemm, Softmax
from accsim.workload.query import parse_query
from accsim.workload.trace import Entry, Workload

DESIGN_SAMPLE = """\
# workloads/bert_base.yaml
name: bert_base
architecture: encoder                   # expanded by code in accsim/workload/models
parameters: {batch: 1, seq: 512, dtype: bf16}       # overridable: bert_base?seq=4096
hyperparameters: {layers: 12, d_model: 768, heads: 12, d_ff: 3072, vocab: 30522}
source: Devlin et al., 2019
"""


def test_what_ships() -> None:
    assert list_workloads() == (
        "attention_layer",
        "bert_base",
        "bert_large",
        "deepseek_v2_lite_decode",
        "deepseek_v2_lite_prefill",
        "dlrm0_like",
        "dlrm_dcnv2",
        "dlrm_fig8_like",
        "dlrm_v1",
        "flaubert_base",
        "flaubert_large",
        "gpt2_xl_decode",
        "gpt2_xl_prefill",
        "gpt3_175b_decode",
        "gpt3_175b_prefill",
        "llama2_7b_decode",
        "llama2_7b_prefill",
        "llama3_70b_decode",
        "llama3_70b_prefill",
        "llama3_8b_decode",
        "llama3_8b_prefill",
        "lstm_ptb_large",
        "mistral_7b_decode",
        "mistral_7b_prefill",
        "resnet50",
        "t5_small",
        "transformer_xl_base",
        "transformer_xl_large",
        "vit_b16",
        "xlm",
    )


@pytest.mark.parametrize("name", list_workloads())
def test_shipped_files_load_and_pickle(name: str) -> None:
    work = load_workload(name)
    assert work.name == name
    assert work.source
    assert work.macs > 0
    assert pickle.loads(pickle.dumps(work)) == work
    assert hash(work) == hash(load_workload(name))


def test_sample_of_the_design_is_the_shipped_file(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(DESIGN_SAMPLE)
    assert load_workload(tmp_path / "b.yaml") == load_workload("bert_base")
    assert load_workload(f"{tmp_path / 'b.yaml'}?seq=64") == load_workload("bert_base?seq=64")


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("BERT base", "bert_base"),
        ("bert-base", "bert_base"),
        ("Llama3-8B prefill", "llama3_8b_prefill"),
        ("T5 small?batch=2", "t5_small?batch=2"),
        (" XLM ", "xlm"),
    ],
)
def test_names_in_other_spellings(spelled: str, name: str) -> None:
    assert load_workload(spelled) == load_workload(name)


def test_query_replaces_parameters() -> None:
    work = load_workload("bert_base?seq=4096&batch=64&dtype=half")
    assert work.parameters == {"batch": 64, "seq": 4096, "dtype": "fp16"}
    assert load_workload("bert_base?batch=64& seq = 4096&dtype=fp16") == work


def test_set_replaces_fields() -> None:
    deep = load_workload(
        "bert_base?seq=64", set={"hyperparameters.layers": 24, "batch": "2", "parameters.dtype": "fp16"}
    )
    assert deep.parameters == {"batch": 2, "seq": 64, "dtype": "fp16"}
    assert deep.hyperparameters["layers"] == 24
    assert next(e for e in deep.entries if e.name == "attention").repeat == 24


def test_objects_pass_through() -> None:
    work = load_workload("xlm")
    assert load_workload(work) is work
    op = Gemm(1, 2, 3, name="mine")
    assert load_workload(op) == Workload("mine", (Entry(op),))
    for object_ in (work, op):
        with pytest.raises(InputError, match="set replaces values"):
            load_workload(object_, set={"seq": 1})
    assert load_workload(Softmax(1, 1), set={}).op_count == 1


BAD_SPECS = [
    ("bert_bse", "", "Did you mean 'bert_base'?"),
    ("", "", "unknown workload ''"),
    ("?seq=1", "", "unknown workload ''"),
    ("bert_base?", "query", "nothing after '?'"),
    ("bert_base? ", "query", "nothing after '?'"),
    ("bert_base?seq", "query", "allowed is name?parameter=value"),
    ("bert_base?=1", "query", "read '=1'"),
    ("bert_base?seq=", "query", "read 'seq='"),
    ("bert_base?seq=1=2", "query", "read 'seq=1=2'"),
    ("bert_base?seq=1&", "query", "an empty parameter"),
    ("bert_base?seq=1&seq=2", "query:seq", "given twice, as '1' first"),
    ("bert_base?sqe=1", "query:sqe", "Did you mean 'seq'?"),
    ("bert_base?layers=1", "query:layers", "unknown key, allowed are batch, dtype, seq"),
    ("bert_base?seq=0", "query:seq", "from 1 to 2^40 - 1"),
    ("bert_base?seq=-1", "query:seq", "read -1"),
    ("bert_base?seq=4k", "query:seq", "read '4k'"),
    ("bert_base?seq=1e4", "query:seq", "read 10000.0"),
    ("bert_base?seq=~", "query:seq", "read nothing"),
    ("bert_base?seq=true", "query:seq", "read true"),
    ("bert_base?dtype=bf17", "query:dtype", "Did you mean 'bf16'?"),
    ("bert_base?dtype=16", "query:dtype", "read 16"),
    ("t5_small?position_bias=seperate", "query:position_bias", "Did you mean 'separate'?"),
    ("t5_small?target=1", "query:target", "Did you mean 'target_seq'?"),
    ("llama3_8b_decode?seq=4", "query:seq", "Did you mean 'kv_len'?"),
    ("llama3_8b_prefill?kv_len=4", "query:kv_len", "at least seq = 2048"),
    ("llama3_8b_prefill?phase=train", "query:phase", "'prefill' or 'decode'"),
    ("attention_layer?seq=4", "query:seq", "a trace of ops has no parameters"),
    ("none/such.yaml", "none/such.yaml", "cannot read the file"),
]


@pytest.mark.parametrize(("spec", "where", "remedy"), BAD_SPECS)
def test_spec_refused(spec: str, where: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        load_workload(spec)
    (problem,) = caught.value.problems
    assert problem.where == where
    assert remedy in str(problem)


def test_problems_of_query_and_set_come_together() -> None:
    with pytest.raises(InputError) as caught:
        load_workload("bert_base?sqe=1&batch=0", set={"hyperparameters.layrs": 2, "a.b.c": 1, "batch": 2, "": 3})
    assert sorted((p.where, p.path) for p in caught.value.problems) == [
        ("query:batch", "parameters.batch"),
        ("query:sqe", "parameters.sqe"),
        ("set:", ""),
        ("set:a.b.c", ""),
        ("set:batch", "parameters.batch"),
        ("set:hyperparameters.layrs", "hyperparameters.layrs"),
    ]


@pytest.mark.parametrize("spec", [3, None, b"bert_base", ["bert_base"]])
def test_other_types_refused(spec: object) -> None:
    with pytest.raises(InputError, match="allowed is a name, a path, a Workload or an op"):
        load_workload(spec)  # type: ignore[arg-type]


def test_sizes_that_multiply_too_far() -> None:
    with pytest.raises(InputError, match="these sizes multiply to an op that is too large"):
        load_workload("bert_base?seq=999999999&batch=999999999")


MODEL_BAD = [
    ("heads: 12", "heads: §7", "hyperparameters.heads", "a divisor of d_model = 768"),
    ("{layers: 12, ", "§{", "hyperparameters.layers", "missing, needed is a whole number"),
    ("vocab: 30522", "vocab: §many", "hyperparameters.vocab", "read 'many'"),
    ("vocab: 30522", "vocab: 1, §poler: no", "hyperparameters.poler", "Did you mean 'pooler'?"),
    ("parameters: {batch: 1", "parameters: {§bath: 1", "parameters.bath", "Did you mean 'batch'?"),
    ("bf16", "§fp61", "parameters.dtype", "Did you mean 'fp16'?"),
    ("source:", "estimated: {§hyperparameters.hed: why}\nsource:", "estimated.hyperparameters.hed", "heads"),
    ("source: D", "source: §[a]\n# D", "source", "read a list"),
]


@pytest.mark.parametrize(("old", "new", "path", "remedy"), MODEL_BAD)
def test_model_file_refused(tmp_path: Path, old: str, new: str, path: str, remedy: str) -> None:
    file = tmp_path / "m.yaml"
    assert old in DESIGN_SAMPLE
    before, _, after = DESIGN_SAMPLE.replace(old, new, 1).partition("§")
    file.write_text(before + after)
    with pytest.raises(InputError) as caught:
        load_workload(file)
    (problem,) = caught.value.problems
    assert problem.where == f"{file}:{len(before.splitlines())}:{len(before) - before.rfind(chr(10))}"
    assert problem.path == path
    assert remedy in str(problem)


def test_model_file_needs_a_source(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(DESIGN_SAMPLE.partition("source:")[0])
    with pytest.raises(InputError, match="source: missing, needed is text"):
        load_workload(file)


def test_decoder_lengths_and_heads(tmp_path: Path) -> None:
    file = tmp_path / "d.yaml"
    shape = "{layers: 1, d_model: 8, heads: 4, kv_heads: 3, d_ff: 8, vocab: 8}"
    file.write_text(
        f"name: d\narchitecture: decoder\nparameters: {{phase: decode, seq: 4}}\nhyperparameters: {shape}\nsource: s\n"
    )
    with pytest.raises(InputError) as caught:
        load_workload(file)
    assert [p.path for p in caught.value.problems] == [
        "parameters.kv_len",
        "parameters.seq",
        "hyperparameters.kv_heads",
    ]
    with pytest.raises(InputError, match=r"parameters\.seq: missing, needed for the phase prefill"):
        load_workload("llama3_8b_decode?phase=prefill")


def outcome(spec: str) -> str:
    """Name of the workload, or what is wrong; no other error passes."""
    try:
        return load_workload(spec).name
    except InputError as error:
        return str(error)


@given(st.text())
@example("bert_base?seq=\x00")
@example("\x00.yaml")
@example("\ud800.yaml")
@example("a/?b=c")
@example("bert_base?seq=" + "9" * 5000)
def test_any_text_is_a_workload_or_refused(spec: str) -> None:
    assert outcome(spec)


@given(
    st.sampled_from(list_workloads()), st.lists(st.tuples(st.sampled_from(["seq", "batch", "dtype", "x"]), st.text()))
)
def test_any_query_is_a_workload_or_refused(name: str, query: list[tuple[str, str]]) -> None:
    assert outcome(name + "?" + "&".join(f"{k}={v}" for k, v in query))


@given(
    st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), st.from_regex(r"[a-z0-9]+", fullmatch=True), min_size=1)
)
def test_query_round_trip(values: dict[str, str]) -> None:
    assert parse_query("n?" + "&".join(f"{k}={v}" for k, v in values.items())) == ("n", values)


@pytest.mark.parametrize("name", list_workloads())
def test_description_is_plain_data_that_adds_up(name: str) -> None:
    described = describe_workload(name)
    work = load_workload(name)
    assert json.loads(json.dumps(described)) == described
    assert described["name"] == name
    assert described["macs"] == sum(row["macs"] * row["repeat"] for row in described["ops"]) == work.macs
    assert [row["name"] for row in described["ops"]] == [entry.name for entry in work.entries]
    assert described["kind"] == ("model" if work.architecture else "trace")


def test_description_of_a_model() -> None:
    described = describe_workload("xlm?batch=3")
    assert described["parameters"]["batch"] == {"value": 3, "description": "Sequences at a time."}
    assert described["hyperparameters"]["d_ff"] == 8192
    assert described["parameter_count"] > 6e8
    assert set(described["estimated"]) == {"hyperparameters.layers", "hyperparameters.vocab"}
