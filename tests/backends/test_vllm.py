"""The vLLM generator gives vLLM the base's files, the adapter as it is, and greedy limits; vLLM itself is played."""

import contextlib
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from medtune import EvalSpec, LoraSpec
from medtune.backends import vllm_proof
from medtune.backends.peft import PeftAdapter
from medtune.backends.vllm import VllmGenerator
from medtune.errors import SpecError, UnprovenAnswersError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import GenerationRequest, Loaded
from medtune.testing.tiny import tiny_base

PROMPTS = [GenerationRequest([5, 6, 7], 4), GenerationRequest([8], 2)]


@pytest.fixture
def loaded(tmp_path):
    with quiet_libraries():
        return PeftAdapter().attach(tiny_base(tmp_path / "base"), LoraSpec(r=12))


@pytest.fixture
def calls(monkeypatch):
    """Play vLLM: note what it is given, and answer [20, 21, 22, stop] cut to each limit."""
    seen = SimpleNamespace(engines=[], requests=[])

    class Llm:
        def __init__(self, **options):
            seen.engines.append(options)

        def generate(self, prompts, sampling, lora_request, use_tqdm):
            files = None
            if lora_request:
                files = {path.name for path in lora_request.path_of()}
            seen.requests.append((prompts, sampling, files))
            answers = [[20, 21, 22, 1][: each.max_tokens] for each in sampling]
            return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=answer)]) for answer in answers]

    class Request(SimpleNamespace):
        def __init__(self, name, number, path):
            super().__init__(name=name, number=number, path=path)

        def path_of(self):
            from pathlib import Path

            return Path(self.path).iterdir()

    vllm, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    vllm.LLM, vllm.SamplingParams, request.LoRARequest = Llm, SimpleNamespace, Request
    for module in (vllm, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return seen


@pytest.fixture(autouse=True)
def believed(request, monkeypatch):
    """Let canned answers pass, but in the tests of the proof itself."""
    if "proof" not in request.node.name:
        monkeypatch.setattr(vllm_proof, "require_proved", lambda *_given, **_named: None)


def generate(loaded, **spec):
    return VllmGenerator().generate(loaded, PROMPTS, EvalSpec(backend="vllm", **spec))


def test_answers_are_greedy_end_at_stop_ids_and_keep_their_limits(loaded, calls):
    first, second = generate(loaded)
    assert (list(first.token_ids), first.truncated) == ([20, 21, 22], False)
    assert (list(second.token_ids), second.truncated) == ([20, 21], True)
    assert first.text == loaded.tokenizer.decode([20, 21, 22])
    prompts, sampling, _ = calls.requests[0]
    assert prompts == [{"prompt_token_ids": [5, 6, 7]}, {"prompt_token_ids": [8]}]
    assert [s.max_tokens for s in sampling] == [4, 2]
    assert all(s.temperature == 0 and s.ignore_eos and s.stop_token_ids == [1] for s in sampling)


def test_the_base_comes_from_its_files_without_code_of_its_own(loaded, calls, tmp_path):
    generate(loaded, batch_size=3)
    options = calls.engines[0]
    assert options["model"] == str(tmp_path / "base")
    assert options["dtype"] == "float32"
    assert options["quantization"] is None
    assert options["trust_remote_code"] is False
    assert options["max_num_seqs"] == 3
    assert options["max_model_len"] == 3 + 6  # the longest prompt, and the answer that is tried


def test_the_adapter_is_given_as_peft_saves_it_with_room_for_its_rank(loaded, calls):
    generate(loaded)
    assert calls.requests[0][2] >= {"adapter_config.json", "adapter_model.safetensors"}
    assert (calls.engines[0]["enable_lora"], calls.engines[0]["max_lora_rank"]) == (True, 16)


def test_the_base_alone_answers_without_an_adapter(loaded, calls):
    with loaded.base_only():
        generate(loaded)
    assert calls.requests[0][2] is None
    assert calls.engines[0]["enable_lora"] is False


def test_a_share_of_the_gpu_s_free_memory_is_taken(loaded, calls, monkeypatch):
    gib = 2**30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (40 * gib, 80 * gib))
    on_gpu = Loaded(loaded.model, loaded.tokenizer, "cuda:0", "bf16", (1,), "nf4")
    generate(on_gpu)
    generate(on_gpu, memory_gib=20)
    assert [round(options["gpu_memory_utilization"], 3) for options in calls.engines] == [0.45, 0.25]
    assert calls.engines[0]["quantization"] == "bitsandbytes"


def test_a_storage_that_vllm_lacks_is_refused(loaded, calls):
    with pytest.raises(SpecError, match=r"takes bases of quant\.scheme none and nf4, not 'int8'"):
        generate(Loaded(loaded.model, loaded.tokenizer, "cpu", "fp32", (1,), "int8"))


def test_a_rank_that_vllm_lacks_is_refused(tmp_path, calls):
    with quiet_libraries():
        large = PeftAdapter().attach(tiny_base(tmp_path / "base"), LoraSpec(r=513, target_modules=("q_proj",)))
    with pytest.raises(SpecError, match="up to rank 512, and this one has 513"):
        generate(large)


def test_without_vllm_one_sentence_says_what_to_install(loaded, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(SpecError, match=r"needs vLLM, which is not installed: pip install 'medtune\[vllm\]'"):
        generate(loaded)


def test_no_prompts_have_no_answers(loaded):
    assert VllmGenerator().generate(loaded, [], EvalSpec()) == []


@pytest.fixture
def played(loaded, monkeypatch):
    """Play vLLM by the model itself, token by token; ``mistake`` is what it does wrong."""
    seen = SimpleNamespace(mistake="", asked=0)
    loaded.model.eval()
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.002)

    class Llm:
        def __init__(self, **options):
            seen.options = options

        def generate(self, prompts, sampling, lora_request, use_tqdm):
            seen.asked += 1
            alone = lora_request is None or seen.mistake == "no adapter"
            with loaded.base_only() if alone else contextlib.nullcontext():
                pairs = zip(prompts, sampling, strict=True)
                return [self.answer(prompt["prompt_token_ids"], each.max_tokens) for prompt, each in pairs]

        def answer(self, prompt, most):
            ids, logs = [], []
            for _ in range(most):
                with torch.no_grad():
                    logits = loaded.model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0, -1]
                best = int(logits.argsort()[-2 if seen.mistake == "second best" and len(ids) == 2 else -1])
                ids.append(best)
                logs.append({best: SimpleNamespace(logprob=float(logits.log_softmax(-1)[best]))})
            return SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, logprobs=logs)])

    vllm, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    vllm.LLM, vllm.SamplingParams, request.LoRARequest = Llm, SimpleNamespace, lambda *given: given
    for module in (vllm, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return seen


def test_the_proof_passes_what_answers_as_the_model_does_with_its_adapter_and_without(loaded, played):
    assert len(generate(loaded)) == 2
    assert played.options["max_model_len"] >= 3 + 6
    with loaded.base_only():
        assert len(generate(loaded)) == 2
    assert played.asked == 4  # two prompts each time, before all of them


def test_the_proof_refuses_another_token(loaded, played):
    played.mistake = "second best"
    with pytest.raises(UnprovenAnswersError, match=r"vLLM does not answer as this model does .* token 3 of an answer"):
        generate(loaded)


def test_the_proof_refuses_a_base_that_is_served_in_the_place_of_the_adapter(loaded, played):
    played.mistake = "no adapter"
    with torch.no_grad():
        same = [int(loaded.model(input_ids=torch.tensor([list(p.input_ids)])).logits[0, -1].argmax()) for p in PROMPTS]
        with loaded.base_only():
            alone = [
                int(loaded.model(input_ids=torch.tensor([list(p.input_ids)])).logits[0, -1].argmax()) for p in PROMPTS
            ]
    assert same == alone  # so that tokens cannot tell
    with pytest.raises(UnprovenAnswersError, match="it serves the base without the adapter"):
        generate(loaded)


def test_the_proof_asks_nothing_of_an_adapter_that_changes_nothing(loaded, played):
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
    played.mistake = "no adapter"
    assert len(generate(loaded)) == 2
