"""Credentials are taken out of whatever is told or recorded, and nothing else is."""

import pickle
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune import DataSpec, LoraSpec, ModelSpec, RunSpec
from medtune.errors import DataError, DiskFullError, SpecError
from medtune.errors.masking import holds_credential, masked, masked_values

SECRETS = {
    "a URL's user and password": "https://ward:{}@host.example/rows.jsonl",
    "a password with an @": "https://ward:x@{}@host.example/rows",
    "a key with a slash": "s3://AKIAIOSFODNN7EXAMPLE:a/{}@bucket/rows",
    "a URL that became a path": str(Path("https://ward:{}@host.example/rows")),
    "a query's token": "https://host/rows?a=1&token={}&b=2",
    "a signature": "https://host/rows?sig={}",
    "a cloud's signature": "https://host/rows?X-Amz-Signature={}&x=1",
    "a signature in HTML": "https://host/rows?a=1&amp;sig={}",
    "a signature inside a URL": "https://host/?next=https%3A%2F%2Fh%3Fsig%3D{}",
    "a header": "Authorization: Bearer {}",
    "a header in a mapping": "{{'Authorization': 'Basic {}'}}",
    "an argument": "call(password='{}', n=1)",
    "an argument of a name": "HF_API_KEY={}",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_a_credential_is_masked_and_what_surrounds_it_is_not(text):
    told = masked("before " + text.format("Va1ueValue99") + " after")
    assert "Va1ueValue99" not in told
    assert "***" in told
    assert (told[:7], told[-6:]) == ("before ", " after")
    assert masked(told) == told


@pytest.mark.parametrize(
    "key",
    [
        "hf_abcdefghijKLMNOPQRST0123456789wxyz",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_0123456789abcdefghijABCDEFGHIJ",
        "glpat-0123456789abcdefghij",
        "sk-proj-0123456789abcdefghij",
        "AIzaSyA0123456789abcdefghijklmnopqrstuv",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    ],
)
def test_a_key_is_known_by_its_form(key):
    assert masked(f"refused ({key})") == "refused (***)"


@pytest.mark.parametrize(
    "text",
    [
        "https://host.example:8080/rows?page=2&limit=10",
        "pad_token='<|end_of_turn|>' and eos_token=endoftext",
        "hf_hub_download of hf_transformers gave 12345678 tokens",
        "tokenizer=abcdefghijkl max_new_tokens=123456789",
        "error : O\ntoken : B\nnurse@ward.example : O",
        "the run folder '/data/runs/first' is not one",
        "C:/Users/nurse@ward/rows.jsonl",
        "",
    ],
)
def test_what_is_no_credential_stays_as_it_is(text):
    assert masked(text) == text
    assert not holds_credential(text)


def test_secrets_of_the_environment_are_masked_wherever_they_stand(monkeypatch):
    monkeypatch.setenv("WARD_API_KEY", "correct4horse")
    monkeypatch.setenv("DATABASE_PASSWORD", "postgres")  # a word that stands in paths
    monkeypatch.setenv("SOME_TOKEN_PATH", "/home/nurse/.token9")
    assert masked("x correct4horse y") == "x *** y"
    assert masked("/data/postgres/rows /home/nurse/.token9") == "/data/postgres/rows /home/nurse/.token9"
    assert holds_credential("correct4horse")


def test_values_are_masked_through_and_through_and_by_their_key():
    values = {
        "options": {"api_key": "short", "hf_token": "x", "deep": [{"password": "p"}], "url": ("https://a:b@c",)},
        "pad_token": "<pad>",
        "token": "",
        "tokens": 3,
        "secret": None,
    }
    assert masked_values(values) == {
        "options": {"api_key": "***", "hf_token": "***", "deep": [{"password": "***"}], "url": ["https://***@c"]},
        "pad_token": "<pad>",
        "token": "",
        "tokens": 3,
        "secret": None,
    }


@given(st.text(alphabet="abz_=?&:/@'\" Aa09%-;", max_size=60))
def test_masking_twice_is_masking_once(text):
    assert masked(masked(text)) == masked(text)


def test_errors_tell_no_credential_in_sentence_facts_or_copy():
    error = DiskFullError("https://ward:Va1ue@host/rows", 10, 5, "set HF_HOME to hf_abcdefghijKLMN")
    for each in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301
        told = f"{each} {each.args} {vars(each)}"
        assert "Va1ue" not in told
        assert "hf_abc" not in told
    assert "Va1ue" not in repr(DataError("'https://ward:Va1ue@host' is not there"))


@pytest.mark.parametrize(
    "make",
    [
        lambda place: DataSpec(source=place),
        lambda place: DataSpec(validation=place),
        lambda place: ModelSpec(name=place),
        lambda place: ModelSpec(path=Path(place)),
    ],
)
def test_a_spec_takes_no_credential(make):
    with pytest.raises(SpecError, match="holds a credential") as caught:
        make("https://ward:Va1ue@host.example/rows")
    assert "Va1ue" not in str(caught.value)


def test_a_spec_takes_the_options_that_a_plugin_s_backend_needs():
    options = {"api_key": "k", "url": "https://ward:Va1ue@host.example"}
    assert LoraSpec(backend="theirs", options=options).options == options


@pytest.mark.parametrize(
    "part", ["sk-", "-eyJ", "eyJa", "token=", "?x-", "a://", "bearer ", "authorization ", "password-"]
)
def test_a_long_text_is_masked_in_the_time_of_its_length(part):
    text = part * (400_000 // len(part))
    began = time.process_time()
    masked(text)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("secret", ["/aB3d/eFgh1234567890==", "~aB3dEfgh12345", ".aB3dEfgh12345"])
def test_a_secret_may_begin_as_a_path_does(monkeypatch, secret):
    monkeypatch.setenv("WARD_PASSWORD", secret)
    assert masked(f"cannot log in with {secret}") == "cannot log in with ***"


@pytest.mark.parametrize("place", [str(Path(__file__)), "~/tokens/hub1", "./secrets/hub1", "../secrets/hub1"])
def test_a_file_that_holds_a_secret_is_none(monkeypatch, place):
    monkeypatch.setenv("HUB_TOKEN", place)
    assert masked(f"read {place}") == f"read {place}"


def test_a_spec_that_holds_a_secret_of_the_environment_is_refused_not_rewritten(monkeypatch):
    monkeypatch.setenv("API_TOKEN", "tok-abcdefgh12345678")
    with pytest.raises(SpecError, match="holds a credential"):
        RunSpec.model_validate({"data": {"system": "you are tok-abcdefgh12345678"}})
