"""Generates answers through vLLM, which loads the base a second time and applies the adapter as saved."""

import gc
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from medtune.backends.generate import completion
from medtune.errors import SpecError
from medtune.plugins.contracts import Completion, GenerationRequest, Generator, Loaded
from medtune.plugins.hookspecs import hookimpl
from medtune.plugins.origin import told_of
from medtune.specs import EvalSpec

__all__ = ["VllmGenerator", "provide_generators"]

_STORED = {"none": None, "nf4": "bitsandbytes"}
"""Scheme -> vLLM's name for it; its bitsandbytes is nf4 with double quantization."""
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM reserves memory for."""
_GIB = 2**30
_USABLE = 0.9
"""Share of a GPU's free memory that vLLM may take."""


class VllmGenerator:
    """Greedy decoding by vLLM (extra ``vllm``): worth its start of a minute or two for many thousand answers.

    vLLM takes the base from its files, so the GPU holds it twice while answers are made, and the adapter as it is now.
    """

    name = "vllm"
    loads_own_base = True

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("vllm")

    def generate(self, loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec) -> Sequence[Completion]:
        """Answer each prompt.

        Args:
            loaded: model and tokenizer; inside ``base_only`` the base answers alone.
            prompts: token ids and the most new tokens of each.
            spec: ``batch_size`` is the most prompts decoded together, ``memory_gib`` bounds the memory taken.

        Returns:
            One completion per prompt in the order of ``prompts``; ``truncated`` when no stop id came in time.

        Raises:
            SpecError: vLLM is not installed, or does not know the base's storage.
            UnprovenAnswersError: vLLM answers otherwise than the model, or leaves the adapter out.
        """
        if not prompts:
            return []
        vllm = _import_vllm()
        if loaded.scheme not in _STORED:
            known = " and ".join(_STORED)
            raise SpecError(f"eval.backend 'vllm' takes bases of quant.scheme {known}, not '{loaded.scheme}'")
        with tempfile.TemporaryDirectory(prefix="medtune-vllm-") as folder:
            adapter = _save_adapter(loaded, Path(folder))
            engine: Any = vllm.LLM(**_options(loaded, prompts, spec, adapter))
            try:
                outputs = _proved(partial(_asked, vllm, engine, loaded, adapter), loaded, prompts, adapter)
            finally:
                del engine
                gc.collect()  # the engine's process ends with it, and training finds the memory free
        return [completion(loaded, output.outputs[0].token_ids) for output in outputs]


@hookimpl
def provide_generators() -> Sequence[Generator]:
    """Provide ``vllm``."""
    return [VllmGenerator()]


def _proved(ask: Any, loaded: Loaded, prompts: Sequence[GenerationRequest], adapter: Path | None) -> Any:
    """Return vLLM's outputs, once what it answers to two of the prompts is proved."""
    from medtune.backends.vllm_proof import require_proved

    require_proved(loaded, prompts, lambda tried: _with_logs(ask(tried, logs=True)), adapts=adapter is not None)
    return ask(prompts)


def _asked(
    vllm: Any,
    engine: Any,
    loaded: Loaded,
    adapter: Path | None,
    prompts: Sequence[GenerationRequest],
    *,
    logs: bool = False,
) -> Any:
    """Return vLLM's outputs, with the logarithms of the probabilities of their tokens where these are asked for."""
    return engine.generate(
        [{"prompt_token_ids": list(prompt.input_ids)} for prompt in prompts],
        [_sampling(vllm, loaded, prompt, logs=logs) for prompt in prompts],
        lora_request=None if adapter is None else _lora_request(adapter),
        use_tqdm=False,
    )


def _with_logs(outputs: Any) -> list[tuple[list[int], list[float]]]:
    """Return ids and logarithms of probabilities of each output."""
    answers = [output.outputs[0] for output in outputs]
    return [
        (list(a.token_ids), [float(of[token].logprob) for token, of in zip(a.token_ids, a.logprobs, strict=True)])
        for a in answers
    ]


def _import_vllm() -> Any:
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    try:
        import vllm  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise SpecError("eval.backend 'vllm' needs vLLM, which is not installed: pip install 'medtune[vllm]'") from None
    return vllm


def _save_adapter(loaded: Loaded, folder: Path) -> Path | None:
    """Save the adapter for vLLM and return its folder; None where the base answers alone."""
    layers = [module for module in loaded.model.modules() if hasattr(module, "lora_A")]
    if loaded.save_adapter is None or not layers or all(layer.disable_adapters for layer in layers):
        return None
    loaded.save_adapter(folder)
    return folder


def _options(
    loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec, adapter: Path | None
) -> dict[str, Any]:
    from medtune.backends.decode_proof import TRIED_TOKENS

    base = loaded.model.get_base_model() if hasattr(loaded.model, "get_base_model") else loaded.model
    options: dict[str, Any] = {
        "model": base.name_or_path,
        "dtype": _DTYPES[loaded.compute_dtype],
        "quantization": _STORED[loaded.scheme],
        "trust_remote_code": False,
        "max_model_len": max(len(prompt.input_ids) + max(prompt.max_new_tokens, TRIED_TOKENS) for prompt in prompts),
        "enable_lora": adapter is not None,
        "seed": 0,
    }
    if not Path(base.name_or_path).exists():
        options["revision"] = getattr(base.config, "_commit_hash", None)
    if adapter is not None:
        options["max_lora_rank"] = _rank(loaded.model)
    if spec.batch_size != "auto":
        options["max_num_seqs"] = spec.batch_size
    share = _memory_share(loaded.device, spec.memory_gib)
    return options if share is None else options | {"gpu_memory_utilization": share}


def _rank(model: Any) -> int:
    """Return the least rank of vLLM's that holds every adapter layer."""
    needed = max(
        max((int(down.weight.shape[0]) for down in module.lora_A.values()), default=0)
        for module in model.modules()
        if hasattr(module, "lora_A")
    )
    found = next((rank for rank in _RANKS if rank >= needed), None)
    if found is None:
        raise SpecError(f"eval.backend 'vllm' takes adapters up to rank {_RANKS[-1]}, and this one has {needed}")
    return found


def _memory_share(device: str, memory_gib: float | None) -> float | None:
    """Return the share of the whole GPU's memory that vLLM may take, None off a GPU."""
    import torch

    if not device.startswith("cuda"):
        return None
    torch.cuda.empty_cache()
    free, whole = torch.cuda.mem_get_info(device)
    wanted = free * _USABLE if memory_gib is None else min(free * _USABLE, memory_gib * _GIB)
    return wanted / whole


def _sampling(vllm: Any, loaded: Loaded, prompt: GenerationRequest, *, logs: bool) -> Any:
    return vllm.SamplingParams(
        temperature=0.0,
        max_tokens=prompt.max_new_tokens,
        stop_token_ids=list(loaded.stop_ids),
        ignore_eos=True,  # the stop ids hold it; another of the model's own must not end an answer
        detokenize=False,
        logprobs=1 if logs else None,
    )


def _lora_request(adapter: Path) -> Any:
    from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]

    return LoRARequest("adapter", 1, str(adapter))
