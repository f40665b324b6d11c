"""The figures by paper and name."""

from __future__ import annotations

from accsim.errors import check_choice
from accsim.figures.flat import (
    bandwidth,
    buffer,
    family,
    footprint,
    intensity,
    share,
    softmax,
    space,
    sparse,
    speedup,
    validation,
)
from accsim.figures.paper_figure import PaperFigure
from accsim.figures.sparse import (
    clustering,
    crossover,
    formats,
    gating,
    imbalance,
    legality,
    measured,
    stc,
    storage,
    tpu,
    two_four,
    venom,
)
from accsim.figures.tpuv4 import (
    balance,
    beyond,
    bisection,
    collectives,
    dedup,
    embeddings,
    goodput,
    heatmap,
    infiniband,
    lookups,
    scaling,
    slices,
    sparsecore,
    twist,
)

FIGURES: tuple[PaperFigure, ...] = (
    validation.FIGURE,
    footprint.FIGURE,
    intensity.FIGURE,
    share.FIGURE,
    buffer.FIGURE,
    bandwidth.FIGURE,
    speedup.FIGURE,
    space.FIGURE,
    sparse.FIGURE,
    softmax.FIGURE,
    family.FIGURE,
    stc.FIGURE,
    storage.FIGURE,
    crossover.FIGURE,
    legality.FIGURE,
    imbalance.FIGURE,
    clustering.FIGURE,
    formats.FIGURE,
    two_four.FIGURE,
    measured.FIGURE,
    venom.FIGURE,
    gating.FIGURE,
    tpu.FIGURE,
    goodput.FIGURE,
    twist.FIGURE,
    bisection.FIGURE,
    slices.FIGURE,
    infiniband.FIGURE,
    heatmap.FIGURE,
    collectives.FIGURE,
    beyond.FIGURE,
    embeddings.FIGURE,
    sparsecore.FIGURE,
    scaling.FIGURE,
    balance.FIGURE,
    dedup.FIGURE,
    lookups.FIGURE,
)
"""All figures, in the order in which they are listed."""

_LONGEST = 60


def list_figures(paper: str | None = None) -> tuple[PaperFigure, ...]:
    """The figures of a paper, or of all.

    Raises
    ------
    InputError
        If there is no such paper.
    """
    if paper is None:
        return FIGURES
    check_choice("paper", paper[:_LONGEST], tuple(dict.fromkeys(figure.paper for figure in FIGURES)))
    return tuple(figure for figure in FIGURES if figure.paper == paper)


def find_figure(paper: str, name: str) -> PaperFigure:
    """The figure of a paper.

    Raises
    ------
    InputError
        If there is no such paper, or it has no such figure.
    """
    of_paper = {figure.name: figure for figure in list_figures(paper)}
    check_choice(f"figure of {paper}", name[:_LONGEST], tuple(of_paper))
    return of_paper[name]
