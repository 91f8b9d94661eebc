"""How an encoder is fine-tuned beside a run, as the model that a user would pick instead."""

from typing import Annotated, Literal

from pydantic import Field

from medtune.specs.values import Fraction, Positive, Spec

__all__ = ["EncoderSpec"]


class EncoderSpec(Spec):
    """Fine-tuning of an encoder with a head for labels; the defaults are those that BERT's authors recommend."""

    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    """Peak learning rate of AdamW; 2e-5 to 5e-5 are usual."""
    batch_size: Positive = 16
    """Windows per update."""
    epochs: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Passes over the rows; "auto" is as many as give 1,500 updates, at least 3 and at most 10."""
    warmup_ratio: Fraction = 0.1
    """Share of the updates over which the learning rate rises; it falls linearly after that."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Of AdamW."""
    max_length: Annotated[int, Field(ge=8)] | Literal["auto"] = "auto"
    """Tokens of a window; "auto" is what the encoder takes, 512 at most. Longer inputs are read in several windows."""
    overlap: Annotated[float, Field(ge=0, le=0.5)] = 0.25
    """Share of a window that the next one reads too; a word is labelled where more of its surroundings are seen."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of training; "auto" is bf16 where the GPU has it, else fp32."""
    backend: str = "transformers"
    """Name of the registered trainer of encoders."""
