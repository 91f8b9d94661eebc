"""How a loaded model is asked: one way for scoring a run, ``Run.generate`` and serving."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from medtune.data.prepare import encoder_of
from medtune.data.system_turns import with_system
from medtune.errors import SpecError, UnsafeArtifactError
from medtune.plugins.contracts import (
    AnswerRequest,
    AnswerScorer,
    Completion,
    ContinuousGenerator,
    GenerationRequest,
    Loaded,
    Message,
    RequestFeed,
    TokenScorer,
    TokenScores,
)
from medtune.plugins.host import PluginHost
from medtune.specs import RunSpec
from medtune.workflow.together import asked

__all__ = ["Answering"]

_BATCH = 64
_MAY_BE_REASONING = re.compile(r"\s*($|[<\[]|a\w*$|c\w*$|f\w*$|analysis|assistant|commentary|final)")
"""How an answer begins that may not be the answer yet: a tag, or the bare name of a channel, whole or in part."""


class Answering:
    """Asks a model through its run's own encoder and generator.

    Args:
        loaded: model, tokenizer and stop ids.
        spec: the run's; ``spec.eval`` is what the generator gets.
        host: finds the generator.
    """

    def __init__(self, loaded: Loaded, spec: RunSpec, host: PluginHost) -> None:
        self.loaded, self._spec = loaded, spec
        self.encoder = encoder_of(spec, loaded.tokenizer)
        self._generator = host.find("generator", spec.eval.backend)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of a conversation; one without a system turn gets what ``data.system`` gives to all rows.

        Raises:
            DataError: the turns have no place in the chat template.
            UnsafeArtifactError: the chat template refuses them.
        """
        system = self._spec.data.system
        return self.encoder.prompt_ids(with_system(messages, system) if isinstance(system, str) else messages)

    def text_ids(self, text: str) -> list[int]:
        """Return the ids of a text as it is, control tokens read as such, with what the tokenizer puts before a text, once."""
        ids: list[int] = self.loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        whole: list[int] = self.loaded.tokenizer(text)["input_ids"]
        begin = self.loaded.tokenizer.bos_token_id
        return ids if ids[:1] == [begin] or whole[:1] != [begin] else [begin, *ids]

    def answer(self, requests: Sequence[GenerationRequest]) -> Sequence[Completion]:
        """Answer prompts greedily, in order."""
        return asked(self._generator, "generate", self.loaded, requests, self._spec.eval)

    def answer_constrained(self, requests: Sequence[GenerationRequest]) -> Sequence[Completion]:
        """Answer prompts in the form of their drafts.

        Raises:
            SpecError: the generator cannot, or not with this model.
        """
        if not hasattr(self._generator, "generate_constrained"):
            raise SpecError(f"eval.backend '{self._spec.eval.backend}' cannot constrain answers; use transformers")
        return asked(self._generator, "generate_constrained", self.loaded, requests, self._spec.eval)

    def answer_surely(self, requests: Sequence[GenerationRequest]) -> list[Completion]:
        """Answer prompts greedily, each with its confidence: the probability of the whole answer, its end included.

        It comes out of a pass over the answers, unless the generator gives it; where it can do neither there is none.
        """
        found = list(self.answer(requests))
        unsure = [i for i, completion in enumerate(found) if completion.confidence is None]
        if not self.gives_probabilities:
            return found
        end = self.loaded.stop_ids[:1]
        answers = {i: [*found[i].token_ids, *(() if found[i].truncated else end)] for i in unsure}
        given = {i: AnswerRequest(requests[i].input_ids, [ids]) for i, ids in answers.items() if ids}
        scores = self.log_probabilities([*given.values()])
        for i, (tokens,) in zip(given, scores, strict=True):
            found[i] = replace(found[i], confidence=math.exp(min(math.fsum(tokens), 0.0)))
        return found

    @property
    def gives_probabilities(self) -> bool:
        """Whether the generator can say how probable given answers are."""
        return isinstance(self._generator, AnswerScorer)

    def log_probabilities(self, requests: Sequence[AnswerRequest]) -> Sequence[Sequence[Sequence[float]]]:
        """Return for each request and each of its answers the log-probability of each token, in nats.

        Raises:
            UnsafeArtifactError: one is no number, as where weights of base or adapter are broken.
        """
        found: Sequence[Sequence[Sequence[float]]] = asked(
            self._generator, "log_probabilities", self.loaded, requests, self._spec.eval
        )
        if any(math.isnan(token) for answers in found for tokens in answers for token in tokens):
            raise UnsafeArtifactError(
                "the model answers with probabilities that are no numbers, so nothing can be measured of it; its base or adapter "
                "is broken: `medtune verify RUN` says whether it is what was trained"
            )
        return found

    def answer_from(self, feed: RequestFeed, longest: int) -> None:
        """Answer what a feed gives until it has no more.

        Args:
            feed: requests, and where their answers go.
            longest: most tokens of a request, prompt and answer.
        """
        if isinstance(self._generator, ContinuousGenerator):
            self._generator.generate_from(self.loaded, feed, self._spec.eval, longest)
            return
        size = self._spec.eval.batch_size
        while new := feed.take(_BATCH if size == "auto" else size, wait=True):
            for key, found in zip(new, self.answer(list(new.values())), strict=True):
                ends = () if found.truncated else self.loaded.stop_ids[:1]
                feed.finish(key, [*found.token_ids, *ends])

    def token_scores(self, prompt: Sequence[int], answer: Sequence[int], top: int) -> Sequence[TokenScores]:
        """Return how probable each token of an answer was after those before, and the ``top`` most probable ones.

        Raises:
            SpecError: the generator cannot say.
        """
        if not isinstance(self._generator, TokenScorer):
            raise SpecError(f"eval.backend '{self._spec.eval.backend}' gives no log-probabilities; use transformers")
        if not answer:
            return []
        return self._generator.token_scores(self.loaded, AnswerRequest(prompt, [answer]), top)[0]

    @property
    def vocabulary(self) -> int:
        """How many ids the model has; a greater one is no token."""
        return int(self.loaded.model.get_input_embeddings().weight.shape[0])

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Return each token as text by itself."""
        return [str(self.loaded.tokenizer.decode([token])) for token in ids]

    def completion(self, ids: Sequence[int]) -> Completion:
        """Return generated ids as an answer: cut at the first stop id, and decoded."""
        from medtune.data.answers import completion_of

        return completion_of(self.loaded.tokenizer, self.loaded.stop_ids, ids)

    def text(self, completion: Completion) -> str:
        """Return what a completion answers; what it thought, where it came to no answer."""
        return str(self.encoder.read(completion).text or completion.text).strip()

    def text_so_far(self, ids: Sequence[int]) -> str:
        """Return what more tokens cannot change of an answer that begins with ``ids``; empty while that is unknown.

        An answer that may come after reasoning, or after what the template puts before answers, is known when it ends.
        """
        found = self.completion(ids)
        lead = self.encoder.lead
        if lead.text or lead.ids or lead.opened or _MAY_BE_REASONING.match(found.text):
            return ""
        text = self.text(found)
        return text if text in found.text else ""
