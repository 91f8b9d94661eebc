"""Counts what a server did, in Prometheus' text form: numbers and names of models, no text."""

from collections import Counter

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Metrics:
    """Counters of one server; touched by the thread of its event loop only."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._buckets: Counter[float] = Counter()
        self._sum, self._count = 0.0, 0

    def answered(self, path: str, status: int) -> None:
        """Count a response."""
        self._requests[path, status] += 1

    def used(self, model: str, prompt: int, answer: int, seconds: float) -> None:
        """Count an answer: its tokens, and the seconds since it was asked for."""
        self._tokens[model, "prompt"] += prompt
        self._tokens[model, "answer"] += answer
        self._sum, self._count = self._sum + seconds, self._count + 1
        self._buckets.update(bucket for bucket in _BUCKETS if seconds <= bucket)

    def text(self, waiting: int, running: int) -> str:
        """Return all figures; ``waiting`` and ``running`` are the requests of this moment."""
        lines = ["# TYPE medtune_requests_total counter"]
        lines += [
            f'medtune_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(self._requests.items())
        ]
        lines += ["# TYPE medtune_tokens_total counter"]
        lines += [
            f'medtune_tokens_total{{model="{_escaped(model)}",kind="{kind}"}} {count}'
            for (model, kind), count in sorted(self._tokens.items())
        ]
        lines += ["# TYPE medtune_answer_seconds histogram"]
        lines += [f'medtune_answer_seconds_bucket{{le="{le}"}} {self._buckets[le]}' for le in _BUCKETS]
        lines += [f'medtune_answer_seconds_bucket{{le="+Inf"}} {self._count}']
        lines += [f"medtune_answer_seconds_sum {self._sum:.6f}", f"medtune_answer_seconds_count {self._count}"]
        lines += ["# TYPE medtune_requests_waiting gauge", f"medtune_requests_waiting {waiting}"]
        lines += ["# TYPE medtune_requests_running gauge", f"medtune_requests_running {running}"]
        return "\n".join(lines) + "\n"


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
