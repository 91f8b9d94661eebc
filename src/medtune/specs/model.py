"""The base model, its storage and the adapter, as a user writes them."""

import re
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from medtune.specs.values import Names, Options, Positive, Spec, drop_foreign_pin

__all__ = ["QUANT_SCHEMES", "LoraSpec", "ModelSpec", "QuantSpec", "base_label"]

QUANT_SCHEMES = ("nf4", "fp4", "int8", "fp8", "none")
"""Storage schemes that medtune's own quantizers have, and whose memory and speed the plan knows."""

STARLING = "berkeley-nest/Starling-LM-7B-alpha"
STARLING_REVISION = "1dddf3b95bc1391f6307299eb1c162c194bde9bd"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def base_label(name: str, path: str | None) -> str:
    """Return what a base is called where people read it: its repository, else its folder without what lies above."""
    return name if name != path else PurePath(name).name or name


class ModelSpec(Spec):
    """The base model, frozen during training."""

    name: str = STARLING
    """Hub repository of the base model, or of what lies in ``path``; a path without a name is its own. Source: the
    tutorial."""
    revision: str | None = STARLING_REVISION
    """Commit of the repository; None follows its main branch, which makes a run irreproducible."""
    path: str | None = None
    """Local folder with the same files; when set, nothing is downloaded."""
    attn_implementation: Literal["auto", "sdpa", "eager"] = "auto"
    """Attention of transformers; "auto" is sdpa, which isolates packed samples on CPU and CUDA."""
    fingerprint: Literal["blocks", "full"] = "blocks"
    """What of a local base's weights identifies it: headers and evenly spread blocks, or every byte."""
    system_turns: Literal["fold", "refuse"] = "fold"
    """What to do with a system turn when the chat template has none: put it before the first user turn, or refuse."""
    chat_template: str | None = None
    """Chat template instead of the tokenizer's own: a Jinja file, or one of alpaca, chatml, gemma, llama-2, llama-3,
    mistral, phi, vicuna and zephyr; None takes the tokenizer's."""
    template_options: dict[str, Any] = Field(default_factory=dict)
    """What the chat template is handed, such as enable_thinking = false; an option that it does not read is refused."""
    pad_token: str | None = None
    """Token that pads, one of the tokenizer's and not its end token; None takes its own pad token or a fitting one."""

    @model_validator(mode="before")
    @classmethod
    def _unpin_other_models(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("path") is not None and "name" not in values:
            values = {**values, "name": str(values["path"]), "revision": None}  # what lies there is not the default
        return drop_foreign_pin(values, "name", STARLING)

    @property
    def label(self) -> str:
        """What the base is called where people read it; see ``base_label``."""
        return base_label(self.name, self.path)

    @property
    def repository(self) -> str | None:
        """The hub repository of the base: as named, else as the hub's cache says of ``path``; None where it is unknown."""
        is_named = self.path is None or (self.name != self.path and _REPOSITORY.fullmatch(self.name))
        return self.name if is_named else self._cached()[0]

    @property
    def commit(self) -> str | None:
        """The commit of that repository, None where it is unknown."""
        return self.revision or self._cached()[1]

    def at(self, path: str) -> Self:
        """Return the same base in another folder; one that was called by its path is called by the new one."""
        return self.model_copy_with(path=path, name=path if self.name == self.path else self.name)

    def _cached(self) -> tuple[str | None, str | None]:
        """Return repository and commit of a snapshot in the hub's cache, models--OWNER--NAME/snapshots/COMMIT."""
        parts = PurePath(self.path or "").parts[-3:]
        if len(parts) < 3 or parts[1] != "snapshots" or not parts[0].startswith("models--"):  # noqa: PLR2004 - as above
            return None, None
        return "/".join(parts[0].split("--", 2)[1:]), parts[2]


class QuantSpec(Spec):
    """How the frozen base is stored."""

    scheme: Annotated[
        str, StringConstraints(pattern=r"^[a-z0-9][\w.-]*$"), Field(examples=[*QUANT_SCHEMES, "auto"])
    ] = "nf4"
    """Storage of the linear layers: nf4, fp4, int8, fp8 or none, or a scheme of a registered quantizer's own; "auto" is fp8,
    none or nf4 by memory and hardware, as the plan says. Source: the tutorial, arXiv 2305.14314 for NF4."""
    double_quant: bool = True
    """Whether the scales of a 4-bit scheme are quantized too (saves 0.4 bit per parameter). Source: the tutorial."""
    compute_dtype: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Type of the matrix products: "auto" is bf16 where the hardware has it, else fp16, on a CPU fp32."""
    backend: str = "bitsandbytes"
    """Name of the registered quantizer; the default leaves the scheme "fp8" to the quantizer of that name."""
    options: Options = Field(default_factory=dict)
    """What this quantizer takes besides, by its own names; ``medtune schema`` lists them. medtune's own take none."""

    @property
    def quantizer(self) -> str:
        """Name of the quantizer that loads the base."""
        return "fp8" if (self.scheme, self.backend) == ("fp8", "bitsandbytes") else self.backend


class LoraSpec(Spec):
    """The trainable adapter, kept in fp32 whatever the base."""

    r: Positive = 8
    """Rank of the update. Source: the tutorial."""
    alpha: Annotated[float, Field(gt=0)] = 16
    """Scale: the update is multiplied by alpha / r (alpha / sqrt(r) with rsLoRA). Source: the tutorial."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Probability of dropping an input of the update. Source: the tutorial."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which bias vectors are trained. Source: the tutorial."""
    target_modules: Literal["all-linear"] | Names = "all-linear"
    """Linear layers that get an adapter, by the end of their names; "all-linear" leaves out the head."""
    use_rslora: bool = False
    """Whether the scale is alpha / sqrt(r) (arXiv 2312.03732)."""
    use_dora: bool = False
    """Whether magnitude and direction are trained apart (arXiv 2402.09353)."""
    init: Literal["default", "gaussian", "pissa", "loftq", "olora", "orthogonal"] = "default"
    """Initialisation that peft offers; "pissa" and "olora" need scheme "none", and neither biases nor DoRA; "orthogonal"
    needs scheme "none", and an even r; "loftq" needs scheme "nf4" or "fp4", a CUDA GPU, and no DoRA."""
    backend: str = "peft"
    """Name of the registered adapter."""
    options: Options = Field(default_factory=dict)
    """What this adapter takes besides, by its own names; ``medtune schema`` lists them. medtune's own takes none."""
