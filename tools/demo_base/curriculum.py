"""Text that the tiny base is pre-trained on: the domain's language, and skills under other names than the tasks'.

A fine-tuning run of a few hundred steps can steer skills but hardly create them. So the base learns here to copy a
sentence word by word with something between the words, to tell the kinds of invented words apart, to compare two notes,
to find a stated fact, and to answer in turns. It never sees a tagging line ``token : label``, one of the tasks'
instructions, or a task label as an answer: those are left for fine-tuning. Task labels occur only as words to copy, so
that their embeddings are trained at all.
"""

from collections.abc import Callable, Iterator

from demo_base.comparisons import check, compare, is_named, recall
from demo_base.documents import Document
from demo_base.draw import Draw
from demo_base.sense_exercises import find_item, name_topic, paraphrase, tell_kind
from demo_base.sentences import paragraph
from demo_base.word_exercises import copy, mark, select

__all__ = ["pretraining_documents", "pretraining_text"]


def pretraining_documents(key: str | int) -> Iterator[Document]:
    """Yield documents without end, without the first ``<s>`` and with entities of the train split only.

    The same key gives the same documents.
    """
    makers = [make for make, share in _SHARES.items() for _ in range(share)]
    index = 0
    while True:
        draw = Draw(f"pretraining/{key}/{index}", "train")
        yield makers[int(draw.rng.random() * len(makers))](draw)
        index += 1


def pretraining_text(key: str | int) -> Iterator[str]:
    """Yield the same documents, each as one text with the chat template's markers."""
    for document in pretraining_documents(key):
        yield "".join(document)


def _prose(draw: Draw) -> Document:
    return (paragraph(draw, 10 + int(draw.rng.random() * 30)), "</s>")


# The comparison is by far the hardest to learn and takes the most documents.
_SHARES: dict[Callable[[Draw], Document], int] = {
    _prose: 4,
    copy: 16,
    mark: 18,
    select: 4,
    tell_kind: 8,
    find_item: 16,
    is_named: 6,
    check: 30,
    compare: 16,
    recall: 6,
    name_topic: 4,
    paraphrase: 5,
}
