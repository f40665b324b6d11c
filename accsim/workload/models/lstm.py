"""Language models of stacked LSTM layers."""

from __future__ import annotations

from typing import Literal

from accsim.workload.models.base import Block, Count, Hyperparameters, ModelFile, Parameters
from accsim.workload.ops import LstmCell
from accsim.workload.trace import Entry


class LstmHyperparameters(Hyperparameters):
    """The shape of a stack of LSTM layers; source: Zaremba et al., arXiv 1409.2329, sections 3 and 4.1."""

    layers: Count
    """LSTM layers."""
    hidden: Count
    """Width of the embedding, of each layer's state and of its output."""
    vocab: Count
    """Tokens of the embedding table, and outputs of the output product."""

    def parameter_count(self) -> int:
        """Parameters; each layer has one bias for each gate, the output product has a table and a bias of its own."""
        layer = 4 * self.hidden * 2 * self.hidden + 4 * self.hidden
        return 2 * self.vocab * self.hidden + self.layers * layer + self.vocab


class LstmParameters(Parameters):
    """What a stack of LSTM layers is run with."""

    seq: Count = 35
    """Tokens of each sequence, taken one after the other."""


class LstmModel(ModelFile):
    """One forward pass over whole sequences, with the output product for every token."""

    shape = LstmHyperparameters

    architecture: Literal["lstm"]
    """Key of the code that expands it."""
    parameters: LstmParameters = LstmParameters()
    """Defaults of what it is run with; each may be set by a query."""
    hyperparameters: LstmHyperparameters
    """Its shape."""

    def entries(self) -> tuple[Entry, ...]:
        """Embedding, layers one after the other with their steps as repeats, output product."""
        p, h = self.parameters, self.hyperparameters
        rows, once = p.batch * p.seq, Block(p.dtype)
        cells = [LstmCell(p.batch, h.hidden, h.hidden, p.dtype, name=f"layer{layer + 1}") for layer in range(h.layers)]
        return (
            once.embedding("token_embedding", rows, h.vocab, h.hidden),
            *(Entry(cell, p.seq, weight_sets=1) for cell in cells),
            once.linear("lm_head", rows, h.vocab, h.hidden),
        )
