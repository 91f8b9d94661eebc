"""Packed rows have the loss of the same samples in rows of their own, whatever stands in them."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medtune import Example
from medtune.data.encode import Encoder
from medtune.data.pack import best_fit, to_batch
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import PackedRow
from medtune.testing.tiny import tiny_base

WIDTH = 128
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(["<end>", "<pad>", "\n", "\x00", "🩺", "مرض", "user: ", "assistant:", " : O\n"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    ),
    min_size=1,
    max_size=4,
).map(lambda parts: "".join(parts).strip() or "x")
TURNS = st.lists(HOSTILE, min_size=2, max_size=4).filter(lambda turns: len(turns) % 2 == 0)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    with quiet_libraries():
        return tiny_base(tmp_path_factory.mktemp("base"))


def rows_of(encoded, packing):
    """Return packed rows of encoded examples, shared out by ``packing`` (sample numbers per row)."""
    return [
        PackedRow(
            [i for s in row for i in encoded[s].input_ids],
            [i for s in row for i in encoded[s].supervised],
            [len(encoded[s].input_ids) for s in row],
            row,
        )
        for row in packing
    ]


def loss_of(base, rows):
    """Return mean loss per supervised token, and their number, through the trainer's own forward."""
    from medtune.backends.losses import supervised_loss

    batch = {name: torch.from_numpy(array) for name, array in to_batch(rows, WIDTH, 0).items()}
    count = int((batch["labels"][:, 1:] != -100).sum())
    with torch.no_grad():
        return float(supervised_loss(base.model, **batch)["loss_sum"]) / count, count


@pytest.mark.parametrize(("attention", "supervise"), [("sdpa", "last"), ("sdpa", "all"), ("eager", "all")])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conversations=st.lists(TURNS, min_size=1, max_size=6))
def test_packed_rows_have_the_loss_of_unpacked_ones(base, attention, supervise, conversations):
    base.model.set_attn_implementation(attention)
    roles = ("user", "assistant")
    examples = [Example([{"role": roles[i % 2], "content": c} for i, c in enumerate(t)]) for t in conversations]
    encoded = [
        e for e in Encoder(base.tokenizer, supervise=supervise).encode_batch(examples) if len(e.input_ids) <= WIDTH
    ]
    if not encoded:
        return
    packing = best_fit([len(e.input_ids) for e in encoded], WIDTH, 0)
    packed, packed_tokens = loss_of(base, rows_of(encoded, packing))
    alone, tokens = loss_of(base, rows_of(encoded, [[i] for i in range(len(encoded))]))
    assert packed_tokens == tokens == sum(sum(e.supervised) for e in encoded)
    assert packed == pytest.approx(alone, rel=1e-6)  # fp32 itself rounds at 1e-7


def test_samples_that_see_each_other_would_have_another_loss(base):
    base.model.set_attn_implementation("sdpa")
    texts = ["one", "another answer", "three"]
    examples = [Example([{"role": "user", "content": t}, {"role": "assistant", "content": t[::-1]}]) for t in texts]
    (row,) = rows_of(Encoder(base.tokenizer).encode_batch(examples), [[0, 1, 2]])
    joined = PackedRow(row.input_ids, row.supervised, [len(row.input_ids)], [0])
    assert abs(loss_of(base, [row])[0] - loss_of(base, [joined])[0]) > 1e-5
