from importlib.resources import files
from itertools import islice

import pytest

from demo_base.batches import drill_batches, text_batch


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(files("medtune.demo").joinpath("base")), local_files_only=True)


def test_a_drill_carries_loss_on_the_copy_of_its_random_words_alone():
    batch = next(drill_batches(tokens=400, vocab_size=2048, seed=0))
    words = batch.ids[:, 1:17]
    assert batch.ids[:, 17:].equal(words)
    assert batch.weights[:, 17:].eq(1).all()
    assert batch.weights[:, :17].eq(0).all()


def test_later_drills_put_the_same_ids_between_the_words():
    batch = next(islice(drill_batches(tokens=400, vocab_size=2048, seed=0), 153, None))
    words, copy = batch.ids[:, 1:25], batch.ids[:, 25:].unflatten(1, (24, 2))
    assert copy[:, :, 0].equal(words)
    assert copy[:, :, 1].eq(copy[:, :1, 1]).all()


def test_packed_documents_begin_with_bos_at_position_nought_and_no_loss(tokenizer):
    batch = text_batch(tokenizer, tokens=1024, seed=0, index=0)
    starts = batch.ids.eq(tokenizer.bos_token_id)
    assert starts.sum() > len(batch.ids)
    assert batch.positions[starts].eq(0).all()
    assert batch.weights[starts].eq(0).all()
    assert batch.weights[batch.ids.eq(tokenizer.pad_token_id)].eq(0).all()


def test_a_one_word_verdict_weighs_more_than_a_word_of_a_long_answer(tokenizer):
    weights = text_batch(tokenizer, tokens=4096, seed=0, index=0).weights
    assert weights[weights > 0].min().item() == pytest.approx(0.1)
    assert weights.max() > 1.5
    assert weights[weights > 0.11].min() < 0.8


def test_a_batch_of_text_depends_on_its_number_alone(tokenizer):
    first, again, second = (text_batch(tokenizer, tokens=512, seed=0, index=i) for i in (0, 0, 1))
    assert first.ids.equal(again.ids)
    assert not first.ids.equal(second.ids)
