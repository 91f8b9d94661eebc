"""GGUF files and adapters answer in llama.cpp as the tuned model does."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tiny_families import STARLING, TEXTS, make_base
from transformers import AutoTokenizer

from medtune import MedTuner
from medtune.errors import SpecError
from medtune.export import smoke
from medtune.export.llama_cpp import splitting
from medtune.export.llama_cpp.server import LlamaServer
from medtune.export.llama_cpp.splitting import PROBES
from medtune.export.llama_cpp.vocabulary import read_vocabulary

pytest.importorskip("xllamacpp")


@pytest.mark.parametrize(
    ("to", "options"),
    [
        ("gguf", {}),
        ("gguf-adapter", {}),
        *(pytest.param("gguf", {"quant": quant}, marks=pytest.mark.proof) for quant in ("q8_0", "Q4_K_M")),
    ],
)
def test_llama_cpp_answers_as_the_tuned_model(trained, tmp_path, to, options):
    exported = trained().export(to, tmp_path / "out", **options)
    proof = exported.facts["proof"]
    assert proof["reader"].startswith("llama.cpp")
    assert proof["told_apart"]
    assert proof["equal"] + proof["near_ties"] >= proof["prompts"] - 1
    assert proof["prompts_equal"] == proof["conversations"] > 0
    assert not list((tmp_path / "out").glob("base-*.gguf"))


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory):
    """A run on a base whose rows the 256 weights of a K-quant's block divide."""
    folder = tmp_path_factory.mktemp("wide")
    base = make_base(
        "mistral", folder / "base", hidden_size=256, intermediate_size=512, head_dim=32, num_attention_heads=8
    )
    text = "Sentence 1: Patient {} has fever.\nSentence 2: Patient {} is ill."
    verdicts = ("Entailment", "Neutral", "Contradiction")
    rows = [
        {"instruction": "Relation?", "source": "MedNLI", "input": text.format(n, n), "output": verdicts[n % 3]}
        for n in range(48)
    ]
    spec = MedTuner.from_defaults(
        model=str(base), data={"source": "rows", "validation_fraction": 0.5}, quant={"scheme": "none"}, lora={"r": 8},
        train={"max_length": 192, "num_train_epochs": None, "max_steps": 12, "learning_rate": 5e-3},
        eval={"rows_per_source": 24, "max_new_tokens": 6, "enabled": False}, output_dir=str(folder / "run"),
    ).spec  # fmt: skip
    return MedTuner(spec, rows=rows).train(), rows


@pytest.mark.parametrize(
    "quant", ["Q4_K_M", pytest.param("Q4_0", marks=pytest.mark.proof), pytest.param("Q5_K_M", marks=pytest.mark.proof)]
)
def test_k_quants_are_written_proved_and_scored_with_the_difference_that_they_make(wide_run, tmp_path, quant):
    run, rows = wide_run
    exported = run.export("gguf", tmp_path / "out", quant=quant, score=True, rows=rows)
    assert exported.state == "proved"
    kinds = exported.facts["tensors"]
    if quant.endswith("_M"):
        assert kinds[quant.removesuffix("_M")] > kinds["Q6_K"] > 0
        assert set(kinds) == {quant.removesuffix("_M"), "Q6_K", "F32"}
    scores = json.loads((tmp_path / "out" / "export.json").read_text())["proof"]["scores"]
    difference = scores["difference"]["nli"]
    assert scores["rows"] == difference["rows"] == 24
    assert difference["interval"][0] <= difference["difference"] <= difference["interval"][1]
    assert (
        f"nli, artifact less adapter | {difference['difference']:+.3f} ["
        in (tmp_path / "out" / "README.md").read_text()
    )


def llama_tokens(folder, *, legacy, model_type):
    """Train a real SentencePiece model and return it as transformers has it."""
    import sentencepiece
    from transformers import LlamaTokenizer

    texts = folder / "texts.txt"
    texts.write_text("\n".join(line for text in TEXTS for line in text.splitlines()))
    sentencepiece.SentencePieceTrainer.train(
        input=str(texts), model_prefix=str(folder / "tokenizer"), vocab_size=540, model_type=model_type, byte_fallback=True,
        split_digits=True, normalization_rule_name="identity", add_dummy_prefix=True, remove_extra_whitespaces=False,
        character_coverage=0.99995, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, minloglevel=2,
    )  # fmt: skip
    return LlamaTokenizer.from_pretrained(folder, legacy=legacy, chat_template=STARLING, pad_token="</s>")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_real_sentencepiece_tokenizer_has_the_same_ids_in_llama_cpp(tmp_path, legacy):
    pytest.importorskip("sentencepiece")
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    tokenizer = llama_tokens(tokens, legacy=legacy, model_type="bpe")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|end_of_turn|>"]})
    kept = tmp_path / "kept"
    tokenizer.save_pretrained(kept)
    vocabulary = read_vocabulary(kept, len(tokenizer) + 3, (2,))
    assert vocabulary.model == "llama"
    texts = [*PROBES, "café 120/80 \x07 \U0001f9ec", *TEXTS[:5]]
    loaded = AutoTokenizer.from_pretrained(kept)
    wanted = [loaded(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert any(ids and "<0x" in loaded.convert_ids_to_tokens(ids)[0] for ids in ([i] for row in wanted for i in row))
    found = splitting._ids(tmp_path, vocabulary, "default", texts)
    differing = [text for text, one, other in zip(texts, wanted, found, strict=True) if one != other]
    assert differing == [" leading and trailing  "]  # which is told
    assert splitting.pieces_agree(kept, vocabulary).endswith("; 1 that differ begin with a space")


def test_a_splitting_that_llama_cpp_has_not_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(splitting, "_ids", lambda *_arguments: [[0]])
    with pytest.raises(SpecError, match="tokens_only"):
        trained().export("gguf", tmp_path / "out", prove=False)


class _Server:
    """Answers as ``which`` of the two models."""

    def __init__(self, samples, which):
        class Answer(BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = next(sample[which] for sample in samples if sample["messages"] == asked["messages"])
                body = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("to", ["vllm", pytest.param("sglang", marks=pytest.mark.proof)])
def test_the_smoke_script_fails_on_the_base_and_passes_on_the_adapter(trained, tmp_path, monkeypatch, to):
    exported = trained().export(to, tmp_path / "out")
    assert exported.state == "proved"
    samples = json.loads((tmp_path / "out" / "smoke.json").read_text())
    assert any(sample["tuned"] != sample["base"] for sample in samples)
    assert str(tmp_path) not in " ".join(exported.usage)
    monkeypatch.setattr(smoke, "__file__", str(tmp_path / "out" / "smoke.py"))
    for which, code in (("tuned", 0), ("base", 1)):
        server = _Server(samples, which)
        assert smoke.main([server.url, "tuned"]) == code
        server.server.shutdown()
        server.server.server_close()
    assert smoke.main([server.url, "tuned"]) == 2
    assert smoke.main([]) == 2


def test_probabilities_are_of_the_first_token_where_that_is_a_part_of_a_character(trained, tmp_path):
    base = make_base("qwen2", tmp_path / "base")
    file = next(trained(model=base).export("gguf", tmp_path / "out", prove=False).path.glob("*.gguf"))
    tokenizer = AutoTokenizer.from_pretrained(base)
    server, parts = LlamaServer(str(file)), 0
    for n in range(120):
        prompt = [5 + n, 7 + 2 * n]
        for limit in (1, 4):
            answer = server.answer(prompt, limit, len(tokenizer))
            assert len(answer["first"]) == len(tokenizer)
            assert max(answer["first"], key=answer["first"].get) == answer["ids"][0]
        parts += "\ufffd" in tokenizer.decode(answer["ids"][:1])
    assert parts
