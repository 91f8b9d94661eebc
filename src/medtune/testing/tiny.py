"""A tiny random model with random packed rows: what a trainer backend can be tried on in a second, on a CPU."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import Loaded, PackedRow

__all__ = ["RandomRows", "tiny_base"]

_PAD, _END = 0, 1
_FIRST_BYTE = 2
_VOCABULARY = _FIRST_BYTE + 256
_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<end>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


@dataclass(frozen=True)
class RandomRows:
    """Packed rows of random ids, the same for the same arguments; satisfies ``PackedRows``.

    Args:
        count: number of packed rows.
        max_length: tokens per row, at most, besides common prefixes.
        packed: whether rows hold three samples, or one.
        seed: of the ids.
        prefix: tokens, the same in all samples and without loss, that each begins with.
    """

    count: int = 13
    max_length: int = 24
    packed: bool = True
    seed: int = 0
    prefix: int = 0

    @property
    def fingerprint(self) -> str:
        """Identity of the rows."""
        return f"random-{self.count}-{self.max_length}-{self.packed}-{self.seed}-{self.prefix}"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> PackedRow:
        if not 0 <= index < self.count:
            raise IndexError(index)
        draw = random.Random(f"{self.seed}-{index}")
        per_row = 3 if self.packed else 1
        lengths = [draw.randint(4, self.max_length // per_row) for _ in range(per_row)]
        first, common = [0] * self.prefix, list(range(_FIRST_BYTE, _FIRST_BYTE + self.prefix))
        ids, supervised = list[int](), list[int]()
        for length in lengths:
            ids += common + [draw.randrange(_FIRST_BYTE, _VOCABULARY) for _ in range(length)]
            supervised += first + [int(position >= length // 2) for position in range(length)]
        samples = [index * per_row + n for n in range(per_row)]
        return PackedRow(ids, supervised, [self.prefix + length for length in lengths], samples)

    def row_id(self, sample: int) -> str:
        """Return the id of a sample."""
        return f"row-{sample}"

    def source(self, sample: int) -> str:
        """Return the source of a sample: one of two."""
        return ("NCBI-disease", "MedNLI")[sample % 2]


@quiet_libraries()
def tiny_base(
    folder: Path, scheme: Literal["none", "nf4"] = "none", device: str = "cpu", attention_dropout: float = 0.0
) -> Loaded:
    """Return a random two-layer Mistral with a tokenizer of bytes, in fp32.

    Args:
        folder: where its files are kept; made on the first call, so that later calls load the same weights.
        scheme: storage of its linear layers.
        device: where it is put, such as "cuda:0".
        attention_dropout: probability that a base which is made drops with by itself.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if not (folder / "config.json").exists():
        _make_base(folder, attention_dropout)
    quantization: Any = None
    if scheme == "nf4":
        quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    base = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="sdpa",
        quantization_config=quantization,
        device_map={"": device},
        use_safetensors=True,
    )
    base.requires_grad_(requires_grad=False)
    base.eval()
    return Loaded(base, _tokenizer(), device, "fp32", (_END,), scheme)


def _make_base(folder: Path, attention_dropout: float) -> None:
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=_VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        pad_token_id=_PAD,
        bos_token_id=None,
        eos_token_id=_END,
        attention_dropout=attention_dropout,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MistralForCausalLM(config).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)


def _tokenizer() -> Any:
    """Return a tokenizer of bytes, which can write down any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # noqa: S106 - a token of text
        eos_token="<end>",  # noqa: S106 - as above
        chat_template=_TEMPLATE,
    )
