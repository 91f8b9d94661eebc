"""What processes do that answer together: the victim that ``test_together`` gives to the laboratory, and no test itself."""

import os
import signal

from medtune.backends.generate import TransformersGenerator
from medtune.testing import tuned_run


def warm_up():
    tuned_run.warm_up()


def act(folder, options):
    """Train a whole run; each process notes what it is asked, and one may be killed or fail at its so-manieth question."""
    rank, generate, questions = os.environ.get("RANK", "0"), TransformersGenerator.generate, []
    victim, number, how = options.get("trouble") or (None, 0, "")

    def noting(self, loaded, requests, spec):
        questions.append(len(requests))
        (folder / f"asked-{rank}").write_text(" ".join(map(str, questions)))
        if (rank, len(questions)) == (str(victim), number):
            if how == "SIGKILL":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("in a test")
        return generate(self, loaded, requests, spec)

    TransformersGenerator.generate = noting
    try:
        return tuned_run.tuned_run(folder, options)
    finally:
        TransformersGenerator.generate = generate
