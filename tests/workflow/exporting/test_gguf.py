"""GGUF files and adapters answer in llama.cpp as the tuned model does."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from medtune.errors import SpecError
from medtune.export import smoke
from medtune.export.llama_cpp import splitting

pytest.importorskip("xllamacpp")


@pytest.mark.parametrize(
    ("to", "options"), [("gguf", {}), ("gguf", {"quant": "q8_0"}), ("gguf", {"quant": "Q4_K_M"}), ("gguf-adapter", {})]
)
def test_llama_cpp_answers_as_the_tuned_model(trained, tmp_path, to, options):
    exported = trained().export(to, tmp_path / "out", **options)
    proof = exported.facts["proof"]
    assert proof["reader"].startswith("llama.cpp")
    assert proof["told_apart"]
    assert proof["equal"] + proof["near_ties"] >= proof["prompts"] - 1
    assert proof["prompts_equal"] == proof["conversations"] > 0
    assert not list((tmp_path / "out").glob("base-*.gguf"))


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


@pytest.mark.parametrize("to", ["vllm", "sglang"])
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
