"""Asks llama.cpp's own server, in this process and on loopback only; imports no medtune, so that proofs can run it alone."""

import json
import os
import secrets
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["LlamaServer"]


class LlamaServer:
    """A GGUF file served by xllamacpp, with caches in fp32.

    Args:
        file: a model.
        adapter: a GGUF adapter to put on it.
        context: tokens of the longest prompt and its answer.
    """

    def __init__(self, file: str, adapter: str = "", context: int = 2048) -> None:
        import xllamacpp as library

        xllamacpp: Any = library  # compiled, without types
        settings: Any = xllamacpp.CommonParams()
        self._key = secrets.token_hex(16)
        settings.model.path, settings.n_ctx = file, context
        settings.n_gpu_layers, settings.warmup, settings.verbosity, settings.port = 0, False, 0, 0
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = _threads()
        settings.api_keys, settings.fit_params = [self._key], False
        if adapter:
            settings.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(adapter, 1.0)]
        self._server: Any = xllamacpp.Server(settings)
        self._address = str(self._server.listening_address)

    def ask(self, place: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post JSON to an endpoint and return what it answers."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self._address}{place}", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310 - as above
            return dict(json.load(answer))

    def tokens(self, text: str, *, special: bool = False, begins: bool = False) -> list[int]:
        """Return the ids of a text; with ``begins`` after the token that begins texts, where the file says that there is one."""
        found = self.ask("/tokenize", {"content": text, "add_special": begins, "parse_special": special})
        return [int(token) for token in found["tokens"]]

    def rendered(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return a conversation as the file's chat template writes it, up to the next answer."""
        return str(self.ask("/apply-template", {"messages": [dict(message) for message in messages]})["prompt"])

    def answer(self, prompt: Sequence[int], limit: int, probabilities: int) -> dict[str, Any]:
        """Continue a prompt greedily.

        Returns:
            ``ids``, with the one that ends it where there is one, ``ended``, and ``first``: id -> log-probability after the prompt.
        """
        body = {
            "prompt": list(prompt),
            "n_predict": max(1, limit),
            "temperature": 0,
            "n_probs": probabilities,
            "return_tokens": True,
            "cache_prompt": False,
        }
        found = self.ask("/completion", body)
        ids = [int(token) for token in found["tokens"]]
        listed = found.get("completion_probabilities") or []
        # llama.cpp lists no token that is a part of a character: the first listed may be of a later one.
        if len(listed) != len(ids):
            whole = self.tokens("a")[-1]  # the probabilities listed are those before the bias
            bias = {"logit_bias": [[whole, 1e9]], "n_predict": 1}
            listed = self.ask("/completion", {**body, **bias}).get("completion_probabilities") or []
        first = {int(each["id"]): float(each["logprob"]) for each in listed[0]["top_logprobs"]} if listed else {}
        return {"ids": ids if limit else [], "ended": found.get("stop_type") == "eos", "first": first}


def _threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS", "0")) or (os.cpu_count() or 1)
