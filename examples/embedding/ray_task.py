"""Trains and asks as Ray tasks: specs, runs and errors travel between processes whole."""

from medtune import MedTuner, Run, RunSpec
from medtune.errors import RunInterruptedError


def tune(spec: RunSpec) -> Run:
    """Train; one training per process, so let Ray give each its own worker (`max_calls=1`)."""
    try:
        return MedTuner(spec).train(quiet=True)
    except RunInterruptedError as stopped:  # the node was drained: the run was saved, the next try goes on with it
        stopped.add_note("run the task again")
        raise


def ask(run: Run, question: str) -> str:
    """Answer; the run came by its path, and its model is loaded here on first use."""
    return run.generate([{"role": "user", "content": question}], max_new_tokens=16)


def main(spec: RunSpec, question: str) -> str:
    """Do both on a cluster whose workers share the run folder."""
    import ray

    ray.init(ignore_reinit_error=True)
    tuned = ray.remote(max_calls=1, max_retries=3, retry_exceptions=[RunInterruptedError])(tune).remote(spec)
    return ray.get(ray.remote(ask).remote(tuned, question))
