"""What the evaluation tests share: predictions made in one line."""

import pytest

from medtune.evaluation.tasks import provide_tasks
from medtune.plugins.contracts import Example, Prediction


@pytest.fixture
def predict_of():
    """Return a function that makes a prediction."""

    def make(text, gold, *, question="a question", truncated=False, **facts):
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": gold}]
        return Prediction(Example(messages, **facts), text, truncated)

    return make


@pytest.fixture
def tasks():
    return provide_tasks()
