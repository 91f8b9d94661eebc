"""Times ``medtune serve``'s endpoint against the offline generator: 64 requests at once, the same prompts.

    python benchmarks/serve.py serve.json             # on a CUDA GPU of 60 GiB or more, about two minutes
    python benchmarks/serve.py serve.json --tiny      # to try the script out, on a CPU too

Base and adapter are those of ``generate.py``: Starling's shape, random weights, bf16, and nothing stops an answer early. The
clients are threads of another process, each with one connection, and send token ids to ``/v1/completions``; so the figure
holds HTTP, JSON, queue and decoding, and not the chat template. Tokens per second count answer tokens over the whole time.
"""

import argparse
import http.client
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
TOKEN = "a-token-for-the-benchmark"  # noqa: S105 - of a server that lives for a minute
GOAL = 0.85


def main():
    """Measure, or be the clients."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="a shape for trying the script out")
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--url", help="used inside: be the clients of this server; OUT holds the prompts")
    options = parser.parse_args()
    if options.url:
        be_clients(options.url, json.loads(options.out.read_text()), options.clients)
    else:
        measure(options)


def measure(options):
    """Time both and write the figures."""
    import torch
    from generate import CUDA, DEVICE, NEVER, STARLING, TINY, adapted, build, requests
    from transformers import AutoTokenizer

    from medtune.backends.fast_generate import fast_generate
    from medtune.plugins.contracts import Loaded
    from medtune.specs import EvalSpec

    tokenizer = AutoTokenizer.from_pretrained(ROOT / "src" / "medtune" / "demo" / "base")
    dtype = torch.bfloat16 if CUDA else torch.float32
    model = build("Mistral", TINY if options.tiny else STARLING, dtype)
    loaded = adapted(Loaded(model, tokenizer, DEVICE, "bf16" if CUDA else "fp32", NEVER))
    spec = EvalSpec(batch_size=options.clients)
    figures = {"device": torch.cuda.get_device_name() if CUDA else "cpu", "goal": GOAL, "clients": options.clients}
    for name, alike in (("unlike", False), ("alike", True)):
        prompts = requests(options.prompts, options.new, alike=alike)
        fast_generate(loaded, prompts[: options.clients], spec)  # compiles kernels
        began = time.perf_counter()
        answers = fast_generate(loaded, prompts, spec)
        offline = sum(map(len, answers)) / (time.perf_counter() - began)
        with serving(loaded, spec, options.clients) as url:
            found = asked_by_clients(url, prompts, options)
        figures[name] = {
            "prompts": len(prompts),
            "offline_tokens_per_second": round(offline, 1),
            "served_tokens_per_second": round(found["tokens"] / found["seconds"], 1),
            "share": round(found["tokens"] / found["seconds"] / offline, 4),
            "seconds_of_a_request": found["request_seconds"],
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1) if CUDA else None,
        }
        print(json.dumps({name: figures[name]}), flush=True)
        options.out.write_text(json.dumps(figures, indent=1))


@contextmanager
def serving(loaded, spec, slots):
    """Serve a model in a thread of this process; yields the URL."""
    from medtune.serving.limits import Limits
    from medtune.serving.server import Address, serve

    found, is_ready = [], threading.Event()

    def tell(running):
        found.append(running)
        is_ready.set()

    limits = Limits(slots=slots, tokens=1024)
    models = OneModel(loaded, spec)
    thread = threading.Thread(target=serve, args=(lambda: models, Address(port=0), TOKEN, limits, tell), daemon=True)
    thread.start()
    if not is_ready.wait(60):
        raise TimeoutError
    try:
        yield found[0].url
    finally:
        found[0].stop()
        thread.join(60)


class OneModel:
    """Stands for ``ServedRuns``: a model that no run folder holds."""

    context = 0

    def __init__(self, loaded, spec):
        from medtune.plugins.host import create_host
        from medtune.specs import RunSpec
        from medtune.workflow.answering import Answering
        from medtune.workflow.served import ServedModel

        answering = Answering(loaded, RunSpec(eval=spec), create_host(autoload=False))
        self.models = {"tuned": ServedModel("tuned", answering)}

    @contextmanager
    def active(self, _model):
        """It is the only one."""
        yield


def asked_by_clients(url, prompts, options):
    """Return what clients in another process measured; the first pass, which captures graphs, does not count."""
    file = options.out.with_suffix(".prompts.json")
    command = [sys.executable, __file__, str(file), "--url", url, "--clients", str(options.clients)]
    try:
        for part in (prompts[: options.clients], prompts):
            file.write_text(json.dumps([[list(p.input_ids), p.max_new_tokens] for p in part]))
            done = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        file.unlink()
    return json.loads(done.stdout)


def be_clients(url, prompts, clients):
    """Ask all prompts, so many at once, and print tokens and seconds."""
    place = urlsplit(url)
    own = threading.local()

    def ask(prompt):
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(place.hostname, place.port, timeout=600)
        ids, new = prompt
        body = json.dumps({"model": "tuned", "prompt": ids, "max_tokens": new})
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        began = time.perf_counter()
        own.connection.request("POST", f"{place.path}/completions", body, headers)
        answer = own.connection.getresponse()
        found = json.loads(answer.read())
        if answer.status != http.client.OK:
            raise RuntimeError(found)
        return found["usage"]["completion_tokens"], time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        done = list(pool.map(ask, prompts))
    seconds = time.perf_counter() - began
    each = sorted(one for _tokens, one in done)
    median, most = each[len(each) // 2], each[-1]
    told = {"tokens": sum(tokens for tokens, _one in done), "seconds": seconds}
    print(json.dumps(told | {"request_seconds": {"median": round(median, 3), "most": round(most, 3)}}))


if __name__ == "__main__":
    main()
