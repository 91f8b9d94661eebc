"""A tokenizer is loaded so that the same conversation is the same ids tomorrow."""

import pytest
from chat_templates import TEMPLATES, make_tokenizer

from medtune import Example, ModelSpec
from medtune.data.encode import Encoder
from medtune.data.tokenizer import load_tokenizer, save_tokenizer

DATED = "{{ bos_token }}{{ 'Today Date: ' + strftime_now('%d %b %Y') + '\n' }}" + TEMPLATES["llama-3"].removeprefix(
    "{{ bos_token }}"
)


def loaded(tmp_path, template):
    make_tokenizer(template).save_pretrained(tmp_path)
    return load_tokenizer(ModelSpec(path=str(tmp_path)))


@pytest.mark.parametrize("template", [DATED, {"default": DATED, "tool_use": TEMPLATES["chatml"]}])
def test_a_template_that_writes_today_s_date_writes_the_same_day_always(tmp_path, template):
    tokenizer = loaded(tmp_path, template)
    messages = [{"role": "user", "content": "Label."}, {"role": "assistant", "content": "None"}]
    text = tokenizer.decode(Encoder(tokenizer).encode(Example(messages)).input_ids)
    assert text.startswith("<s>Today Date: 26 Jul 2024\n<|start_header_id|>user")


def test_the_pinned_date_is_kept_once_with_a_saved_tokenizer(tmp_path):
    tokenizer = loaded(tmp_path, DATED)
    (tmp_path / "saved").mkdir()
    save_tokenizer(tokenizer, tmp_path / "saved")
    assert load_tokenizer(ModelSpec(path=str(tmp_path / "saved"))).chat_template == tokenizer.chat_template


def test_a_template_without_a_date_is_left_alone(tmp_path):
    assert loaded(tmp_path, TEMPLATES["llama-3"]).chat_template == TEMPLATES["llama-3"]


def test_a_character_of_several_tokens_is_shown_once_and_every_row_joins_to_its_text(tokenizer):
    from medtune.data.preview import token_texts

    text = "Größe ≥ 5 µg, 心臓 🫀 — and so on."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids)
    assert "".join(texts).strip() == text
    assert not any("\ufffd" in shown for shown in texts)
    assert any(shown == "" for shown in texts)  # the tokenizer has no token for some of these
