"""Proves that a server answers with the tuned model and not with its base; the standard library alone.

``python smoke.py URL MODEL [TOKEN]`` asks the conversations of smoke.json, which lies beside this file, of an OpenAI-compatible
endpoint. Exit code 0: the tuned model answers. 1: the base, or something else, does. 2: nothing could be told.
"""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Ask and judge; return the exit code."""
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    url, model, token = (*arguments, "")[:3]
    samples: list[dict[str, Any]] = json.loads(Path(__file__).with_name("smoke.json").read_text("utf-8"))
    telling = [sample for sample in samples if sample["tuned"].strip() != sample["base"].strip()]
    if not telling:
        print("base and tuned model answer the samples alike, so these cannot tell them apart")
        return 2
    wrong = 0
    for sample in telling:
        try:
            found = _ask(url, model, token, sample)
        except (urllib.error.URLError, KeyError, ValueError, IndexError, OSError) as error:
            print(f"the server does not answer: {type(error).__name__}")
            return 2
        wrong += _shared(found, sample["tuned"]) <= _shared(found, sample["base"])
    print(f"{len(telling) - wrong} of {len(telling)} samples are answered as by the tuned model")
    return 1 if wrong else 0


def _ask(url: str, model: str, token: str, sample: dict[str, Any]) -> str:
    body = {"model": model, "messages": sample["messages"], "temperature": 0, "max_tokens": sample["max_tokens"]}
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    place = f"{url.rstrip('/').removesuffix('/v1')}/v1/chat/completions"
    request = urllib.request.Request(place, json.dumps(body).encode(), headers)  # noqa: S310 - the user's own server
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310 - as above
        return str(json.load(answer)["choices"][0]["message"]["content"])


def _shared(one: str, other: str) -> int:
    """Return how many characters two answers begin with alike, one more where they are the same."""
    one, other = one.strip(), other.strip()
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return same + (one == other)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
