"""Whether a tokenizer rewrites a text is found out by what it does, not by its name."""

import pytest
from chat_templates import TEMPLATES, make_tokenizer
from tokenizers import normalizers

from medtune.data.rewriting import rewriting_of

DECOMPOSED, LIGATURE = "cafe\u0301", "\ufb01ne"
CASES = {
    "none": (None, set()),
    "NFC": (normalizers.NFC(), {DECOMPOSED}),
    "NFKC": (normalizers.NFKC(), {DECOMPOSED, LIGATURE}),
    "lower case": (normalizers.Lowercase(), {"Fever"}),
    "spaces": (normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]), set()),
}


@pytest.mark.parametrize("case", CASES)
def test_texts_that_come_out_otherwise_are_told(case):
    normalizer, changed = CASES[case]
    tokenizer = make_tokenizer(TEMPLATES["starling"])
    tokenizer.backend_tokenizer.normalizer = normalizer
    rewrites = rewriting_of(tokenizer)
    texts = ("no fever today", "Fever", DECOMPOSED, LIGATURE, "caf\u00e9")
    assert {text for text in texts if rewrites is not None and rewrites(text)} == changed
