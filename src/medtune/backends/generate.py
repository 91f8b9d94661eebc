"""Generates answers greedily with a transformers model: by slots where the model's family is known, else as it does."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from medtune.errors import SpecError, UnprovenAnswersError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import (
    AnswerRequest,
    Completion,
    GenerationRequest,
    Generator,
    Loaded,
    RequestFeed,
    TokenScores,
)
from medtune.plugins.hookspecs import hookimpl
from medtune.plugins.origin import told_of
from medtune.specs import EvalSpec

__all__ = ["TransformersGenerator", "completion", "provide_generators"]

_LOG = logging.getLogger(__name__)

Result = TypeVar("Result")


class TransformersGenerator:
    """Greedy decoding that keeps no logits.

    Mistral, Llama, Qwen2 and Qwen3 models, with or without a LoRA adapter, plain or 4-bit, decode many sequences
    together, each leaving as it ends; on CUDA a step is one captured graph. Any other model goes through transformers'
    own ``generate``, and the log says why. Both give the same answers up to rounding; before a model answers by either of them
    for the first time, that is tried on two short prompts against a plain loop without any cache.
    """

    name = "transformers"

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("transformers")

    @quiet_libraries()
    def generate(self, loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec) -> Sequence[Completion]:
        """Answer each prompt.

        Args:
            loaded: model and tokenizer.
            prompts: token ids and the most new tokens of each.
            spec: ``batch_size`` is the number of prompts decoded together, ``memory_gib`` bounds what that takes.

        Returns:
            One completion per prompt in the order of ``prompts``; ``truncated`` when no stop id came in time.

        Raises:
            ValueError: a prompt has no tokens.
            UnprovenAnswersError: neither way answers as the model does token by token.
        """
        if not all(prompt.input_ids for prompt in prompts):
            raise ValueError("a prompt has no tokens")
        if not prompts:
            return []
        counts: dict[int, tuple[int, int]] = {}
        ids = _by_first_proved(
            loaded, prompts, spec, lambda way: way.generate(loaded, prompts, way.spec, **way.counting(counts))
        )
        found = [completion(loaded, each) for each in ids]
        drafts = [counts.get(i, (0, 0)) for i in range(len(found))]
        return [
            replace(each, drafted_tokens=drafted, accepted_tokens=accepted)
            for each, (drafted, accepted) in zip(found, drafts, strict=True)
        ]

    @quiet_libraries()
    def generate_from(self, loaded: Loaded, feed: RequestFeed, spec: EvalSpec, longest: int) -> None:
        """Answer what a feed gives until it has no more, in the way in which ``generate`` answers."""
        _by_first_proved(loaded, _probes(loaded), spec, lambda way: way.generate_from(loaded, feed, way.spec, longest))

    @quiet_libraries()
    def generate_constrained(
        self, loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec
    ) -> Sequence[Completion]:
        """Answer each prompt in the form of its draft, in which only the choices are the model's.

        Raises:
            SpecError: the model is none that medtune's own decoder runs.
        """
        from medtune.accel.model.unsupported import UnsupportedError
        from medtune.backends.decode_proof import disagreement
        from medtune.backends.fast_generate import fast_generate

        try:
            wrong = disagreement(loaded, prompts, "medtune's decoder", partial(fast_generate, spec=spec))
            ids = [] if wrong else fast_generate(loaded, prompts, spec, constrained=True)
        except UnsupportedError as error:
            wrong, ids = str(error), []
        if wrong:
            raise SpecError(f"eval.constrained needs medtune's own decoder, which does not run this model: {wrong}")
        return [completion(loaded, each) for each in ids]

    @quiet_libraries()
    def log_probabilities(
        self, loaded: Loaded, requests: Sequence[AnswerRequest], spec: EvalSpec
    ) -> Sequence[Sequence[Sequence[float]]]:
        """Return for each request and each of its answers the log-probability of each token, in nats."""
        from medtune.backends.answer_scores import answer_log_probabilities

        return answer_log_probabilities(loaded, requests, spec)

    @quiet_libraries()
    def token_scores(self, loaded: Loaded, request: AnswerRequest, top: int) -> Sequence[Sequence[TokenScores]]:
        """Return for each answer the scores of each of its tokens, with the ``top`` most probable ones in its place."""
        from medtune.backends.answer_scores import token_scores

        return token_scores(loaded, request, top)


@hookimpl
def provide_generators() -> Sequence[Generator]:
    """Provide ``transformers``."""
    return [TransformersGenerator()]


@dataclass(frozen=True, slots=True)
class _Way:
    """A way of answering, and how it is asked."""

    name: str
    generate: Callable[..., list[list[int]]]
    generate_from: Callable[..., None]
    spec: EvalSpec
    drafts: bool = False

    def counting(self, counts: dict[int, tuple[int, int]]) -> dict[str, dict[int, tuple[int, int]]]:
        """Return the argument by which drafted tokens are counted, where there are any."""
        return {"counts": counts} if self.drafts else {}


def _ways(spec: EvalSpec) -> Iterator[_Way]:
    """Yield the ways, the fastest first."""
    from medtune.backends import fast_generate as own
    from medtune.backends import transformers_generate as theirs

    yield _Way("medtune's decoder", own.fast_generate, own.fast_generate_from, spec, drafts=True)
    # some models pass by the mask of a padded batch, and answer rightly one prompt at a time
    for name, chosen in (("generate", spec), ("generate one by one", spec.model_copy_with(batch_size=1))):
        yield _Way(name, theirs.generate_by_transformers, theirs.generate_from_by_transformers, chosen)


def _by_first_proved(
    loaded: Loaded, probes: Sequence[GenerationRequest], spec: EvalSpec, work: Callable[[_Way], Result]
) -> Result:
    """Return what ``work`` does with the fastest way that answers ``probes`` as the model does token by token."""
    from medtune.accel.model.unsupported import UnsupportedError
    from medtune.backends.decode_proof import disagreement

    said, wrong = "answering through transformers' own generate, which is slower: %s", ""
    for way in _ways(spec):
        try:
            wrong = disagreement(loaded, probes, way.name, partial(way.generate, spec=way.spec))
            if not wrong:
                return work(way)
        except UnsupportedError as error:
            wrong = str(error)
        _LOG.warning(said, wrong)
        said = "transformers' generate does not answer as the model does: %s"
    raise UnprovenAnswersError("transformers' own generate", wrong)


def _probes(loaded: Loaded) -> list[GenerationRequest]:
    """Return a short and a longer prompt by which a way is proved where none of the requests is known yet."""
    ids: list[int] = loaded.tokenizer("Label each token: fever helps .", add_special_tokens=False)["input_ids"]
    return [GenerationRequest(ids[:3], 1), GenerationRequest(ids, 1)]


def completion(loaded: Loaded, ids: Sequence[int]) -> Completion:
    """Return ids as an answer: cut at the first stop id, and decoded."""
    from medtune.data.answers import completion_of

    return completion_of(loaded.tokenizer, loaded.stop_ids, ids)
