"""Architectures that code expands into ops; a new one is one file here and one line of `ARCHITECTURES`."""

from __future__ import annotations

from collections.abc import Mapping

from accsim.errors import InputError
from accsim.workload.models.base import Hyperparameters, ModelFile
from accsim.workload.models.decoder import Decoder
from accsim.workload.models.dlrm import Dlrm
from accsim.workload.models.encoder import Encoder
from accsim.workload.models.encoder_decoder import EncoderDecoder
from accsim.workload.models.gpt import Gpt
from accsim.workload.models.latent_decoder import LatentDecoder
from accsim.workload.models.lstm import LstmModel
from accsim.workload.models.resnet import Resnet
from accsim.workload.models.transformer_xl import TransformerXl
from accsim.workload.models.vision_transformer import VisionTransformer
from accsim.workload.trace import Workload

__all__ = ["ARCHITECTURES", "Hyperparameters", "ModelFile", "parameter_count"]

ARCHITECTURES: Mapping[str, type[ModelFile]] = {
    "encoder": Encoder,
    "encoder_decoder": EncoderDecoder,
    "decoder": Decoder,
    "latent_decoder": LatentDecoder,
    "gpt": Gpt,
    "transformer_xl": TransformerXl,
    "vision_transformer": VisionTransformer,
    "resnet": Resnet,
    "lstm": LstmModel,
    "dlrm": Dlrm,
}
"""Model file of each architecture."""


def parameter_count(model: Workload | Hyperparameters) -> int:
    """Learned parameters of a model: embeddings, weights, biases and norms.

    Parameters
    ----------
    model
        A workload expanded from a model file, or the hyperparameters of one.

    Raises
    ------
    InputError
        If the workload is a trace, which says nothing of a model.

    Examples
    --------
    >>> from accsim.workload.catalogue import load_workload
    >>> parameter_count(load_workload("llama3_8b_decode"))
    8030261248
    """
    if isinstance(model, Hyperparameters):
        return model.parameter_count()
    if model.architecture not in ARCHITECTURES:
        raise InputError(f"the workload '{model.name}' is a trace of ops, which has no parameter count")
    shape = ARCHITECTURES[model.architecture].shape
    count = shape.model_validate(dict(model.hyperparameters)).parameter_count()
    return count if model.embeddings is None else count + model.embeddings.parameter_count
