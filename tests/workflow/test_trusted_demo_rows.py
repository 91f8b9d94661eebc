"""On rows of the demo, answers that are trusted are wrong as seldom as was asked for."""

import numpy as np
import pytest

from demo_base.generator import generate_rows
from medtune import MedTuner
from medtune.data.examples import read_examples
from medtune.data.quarantine import Quarantine
from medtune.data.rows import read_rows
from medtune.evaluation.scoring import group_by_task
from medtune.evaluation.selective import Judged, judge
from medtune.evaluation.tasks import provide_tasks
from medtune.evaluation.trust import right_answers
from medtune.plugins.host import create_host
from medtune.workflow.scoring import answers_by


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_the_error_is_at_most_alpha_in_95_percent_of_200_splits_of_demo_rows(tmp_path):
    """A model that is trained for a while only, so that there are mistakes: a hundred rows of each source."""
    run = MedTuner.from_bundle(
        "demo", train={"max_steps": 150}, eval={"enabled": False}, output_dir=str(tmp_path / "run")
    ).train()
    host, rows = create_host(), read_rows(list(generate_rows("test", 100, 1234)))
    examples = list(read_examples(rows, run.spec.data, host, Quarantine(None, 0.0)))
    answers = answers_by(run.answering.answer_surely, run.answering.encoder, examples, run.spec, host)
    tasks = {task.name: task for task in provide_tasks()}
    for name, places in group_by_task(answers, list(tasks.values())).items():
        own = [answers[i] for i in places]
        right = right_answers(tasks[name].tally(own))
        judged = Judged(np.array([answer.confidence for answer in own]), right, range(len(own)))
        for alpha in (0.1, 0.2, 0.3):
            told = [judge(judged, alpha, seed)["abstention"] for seed in range(200)]
            kept = np.mean([each["error"] is None or each["error"] <= alpha for each in told])
            print(name, alpha, f"{100 * kept:.1f}", f"{np.mean([each['answered'] for each in told]):.2f}", sep=" | ")
            assert kept >= 0.95
