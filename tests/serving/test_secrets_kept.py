"""A server tells no secret of its environment, no token and nothing of what it was asked in any reply but an answer."""

import pytest
from serving_client import TOKEN, served

ROW = "Quillfeather-4711 coughs"
SECRETS = {"HF_TOKEN": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789", "WARD_PASSWORD": "correct4horse"}
HELLO = [{"role": "user", "content": ROW}]
REFUSED = (
    {"model": "https://ward:Pa55word@host/alpha?sig=5ignature", "messages": HELLO},
    {"model": "correct4horse", "messages": HELLO},
    {"model": "alpha", "messages": [{"role": "user", "content": ROW * 9999}]},
    {"model": "alpha", "messages": [{"role": ROW, "content": ROW}]},
    {"model": "alpha", "messages": HELLO, "temperature": ROW},
    {"model": "alpha", "messages": HELLO, "api_key": "Pa55word"},
    {"model": "alpha", "messages": HELLO, ROW: "Pa55word"},
)


@pytest.mark.parametrize("is_known", [True, False])
def test_replies_tell_no_secret_and_no_prompt(runs, monkeypatch, is_known):
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    with served({"alpha": runs["alpha"]}) as client:
        client.token = client.token if is_known else "correct4horse"
        replies = [client.send("/v1/chat/completions", body) for body in REFUSED]
        replies += [client.send(path) for path in ("/v1/models", "/health", "/v1/none?token=Pa55word")]
    assert all(status >= 400 for status, _reply in replies[: len(REFUSED)])
    told = repr(replies)
    for secret in (*SECRETS.values(), TOKEN, "Pa55word", "5ignature", ROW):
        assert secret not in told
