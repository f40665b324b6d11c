"""Reports of shipped workloads, made small, one of each architecture at least, on shipped machines."""

from __future__ import annotations

from functools import cache

import accsim

SMALL = {
    "attention_layer": "attention_layer",
    "bert_base": "bert_base?seq=64",
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
ALL_PAIRS = [(machine, workload) for machine in accsim.list_accelerators() for workload in SMALL]


@cache
def report(machine: str, workload: str, fidelity: str = "tile") -> accsim.Report:
    """The report of a pair, simulated once."""
    return accsim.simulate(SMALL[workload], machine, fidelity=fidelity)
