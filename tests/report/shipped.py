"""Shipped workloads, made small, on shipped machines: some with their reports, and the pairs of all with all."""

from __future__ import annotations

from functools import cache

import accsim

SMALL = {
    "attention_layer": "attention_layer",
    "bert_base": "bert_base?seq=64",
    "deepseek_v2_lite_decode": "deepseek_v2_lite_decode?batch=2&kv_len=64",
    "dlrm_dcnv2": "dlrm_dcnv2?batch=16",
    "gpt2_xl_decode": "gpt2_xl_decode?batch=2&kv_len=64",
    "llama3_8b_decode": "llama3_8b_decode?batch=4&kv_len=256",
    "llama3_8b_prefill": "llama3_8b_prefill?seq=64",
    "lstm_ptb_large": "lstm_ptb_large?seq=3",
    "mistral_7b_decode": "mistral_7b_decode?batch=2&kv_len=4200",
    "resnet50": "resnet50?image=64",
    "t5_small": "t5_small?seq=64&target_seq=32",
    "transformer_xl_base": "transformer_xl_base?seq=16&memory=32",
    "vit_b16": "vit_b16?image=64",
    "xlm": "xlm?seq=64",
}
KINDS = ("flat_cloud", "flat_edge", "h100_sxm", "systolic_128", "tpu_v4")
"""A machine of each kind: one array or many, two memories or three, a clock list and a cap or none."""
PAIRS = [(machine, workload) for machine in KINDS for workload in SMALL]


@cache
def report(machine: str, workload: str, fidelity: str = "tile") -> accsim.Report:
    """The report of a pair, simulated once."""
    return accsim.simulate(SMALL[workload], machine, fidelity=fidelity)


def _small(name: str) -> str:
    """Any shipped workload with the smallest sizes that still do all it does: keys beyond the window, if it has one."""
    work = accsim.load_workload(name)
    keys = 104 + work.hyperparameters.get("window", 152)
    sizes = {"batch": 1, "seq": 64, "target_seq": 64, "memory": 64, "kv_len": keys, "image": 64}
    chosen = "&".join(f"{key}={size}" for key, size in sizes.items() if key in work.parameters)
    return f"{name}?{chosen}" if chosen else name


def _families() -> list[list[str]]:
    """The shipped workloads by architecture and phase: what one of a family runs, the others run in other sizes."""
    families: dict[tuple[object, ...], list[str]] = {}
    for name in accsim.list_workloads():
        work = accsim.load_workload(name)
        families.setdefault((work.architecture, work.parameters.get("phase")), []).append(name)
    return list(families.values())


EVERY_SMALL = {name: _small(name) for name in accsim.list_workloads()}
EVERY_PAIR = [(machine, workload) for machine in accsim.list_accelerators() for workload in EVERY_SMALL]
COVERING = {
    (machine, family[turn % len(family)])
    for turn, machine in enumerate(accsim.list_accelerators())
    for family in _families()
}
"""One of each family on every machine, in turn, so that each workload has its machines: pairs of the quick tests."""
