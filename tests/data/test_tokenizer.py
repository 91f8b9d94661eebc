"""A tokenizer is loaded so that the same conversation is the same ids tomorrow."""

import hashlib
import json
from datetime import datetime

import pytest
from chat_templates import TEMPLATES, make_tokenizer

from medtune import Example, ModelSpec
from medtune.data.contract import check_contract, write_contract
from medtune.data.encode import Encoder
from medtune.data.tokenizer import _FORMER_DATE, load_tokenizer, save_tokenizer, undated
from medtune.errors import UnsafeAdapterError

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


@pytest.mark.parametrize(
    "form",
    [
        "%d %b %Y",
        "%Y-%m-%d",
        "%B %d, %Y",
        "%A, %-d %B %y at %H:%M:%S",
        "%m/%d/%Y",
        "100 %% on %a",
        "week %V, day %j",
        "%c",
    ],
)
def test_the_pinned_day_is_written_in_the_format_that_the_template_asks_for(tmp_path, form):
    tokenizer = loaded(tmp_path, DATED.replace("%d %b %Y", form))
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Label."}], tokenize=False)
    assert text.startswith(f"<s>Today Date: {datetime(2024, 7, 26).strftime(form)}\n")  # noqa: DTZ001 - a day


def test_the_contract_records_the_day_and_an_adapter_of_an_earlier_release_is_still_known(tmp_path):
    tokenizer = loaded(tmp_path, DATED)
    write_contract(tmp_path, Encoder(tokenizer))
    kept = json.loads((tmp_path / "prompt_contract.json").read_text())
    assert kept["day"] == "2024-07-26"
    former = _FORMER_DATE + undated(kept.pop("chat_template"))
    del kept["day"]
    digest = hashlib.sha256(former.encode()).hexdigest()
    (tmp_path / "prompt_contract.json").write_text(
        json.dumps({**kept, "chat_template": former, "template_sha256": digest})
    )
    assert check_contract(tmp_path, Encoder(tokenizer)) == []
    other = former.replace("26 Jul 2024", "27 Jul 2024")
    (tmp_path / "prompt_contract.json").write_text(json.dumps({**kept, "chat_template": other, "template_sha256": ""}))
    with pytest.raises(UnsafeAdapterError, match="chat_template, template_sha256, day differ"):
        check_contract(tmp_path, Encoder(tokenizer))


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
