"""Tiny models for checks on backends, and what is compared of them."""

import hashlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.plugins.contracts import Loaded
from medtune.specs import LoraSpec
from medtune.testing.conformance.bench import Bench
from medtune.testing.conformance.checks import NotTriedError
from medtune.testing.tiny import tiny_base

__all__ = [
    "adapted",
    "base_of",
    "disturb",
    "files_below",
    "frozen_digest",
    "greedy",
    "kept",
    "logits",
    "or_not_tried",
    "short_disk",
    "trainable",
]

_IDS = ((5, 9, 77, 30, 12, 101), (200, 17, 3, 44, 90, 8))
_MOST_BYTES = 256


def base_of(bench: Bench) -> Loaded:
    """Return a fresh tiny base, the same whenever it is asked for."""
    return tiny_base(bench.folder / "tiny-base")


def adapted(bench: Bench) -> Loaded:
    """Return a tiny base with medtune's own adapter, which does something."""
    import torch

    from medtune.backends.peft import PeftAdapter

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        loaded = PeftAdapter().attach(base_of(bench), LoraSpec(r=4, dropout=0.0))
    disturb(loaded.model)
    loaded.model.eval()
    return loaded


def logits(model: Any) -> Any:
    """Return the logits [2, 6, vocabulary] of fixed ids."""
    import torch

    was_training = model.training
    model.eval()
    with torch.no_grad():
        found = model(input_ids=torch.tensor(_IDS)).logits.float()
    model.train(was_training)
    return found


def trainable(model: Any) -> list[tuple[str, Any]]:
    """Return the trainable parameters by name."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def disturb(model: Any) -> None:
    """Change every trainable parameter, the same way each time."""
    import torch

    draw = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for _name, parameter in trainable(model):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))


def frozen_digest(model: Any) -> str:
    """Return the SHA-256 of all values that are not trained, whatever their names."""
    parts = [
        hashlib.sha256(parameter.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        for parameter in model.parameters()
        if not parameter.requires_grad
    ]
    return hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()


@contextmanager
def or_not_tried() -> Generator[None]:
    """Let a refusal of this machine or of these options, or a library that is missing, count as not tried."""
    try:
        yield
    except (SpecError, ImportError) as error:
        sentence = (
            str(error) if isinstance(error, SpecError) else f"{type(error).__name__}: {error.name or 'a library'}"
        )
        raise NotTriedError(f"it says that it cannot be tried here: {sentence}") from error


@contextmanager
def short_disk() -> Generator[None]:
    """Let no file grow beyond a few bytes inside, as on a full disk."""
    try:
        import resource
    except ImportError as error:  # Windows
        raise NotTriedError("this system cannot limit the size of files") from error
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def greedy(loaded: Loaded, ids: Sequence[int], most: int, stops: Sequence[int]) -> list[int]:
    """Return the greedy answer of a model token by token, without any cache and without the stop id."""
    import torch

    found: list[int] = []
    with torch.no_grad():
        while len(found) < most:
            chosen = int(loaded.model(input_ids=torch.tensor([[*ids, *found]])).logits[0, -1].argmax())
            if chosen in stops:
                break
            found.append(chosen)
    return found


def files_below(folder: Path) -> dict[str, str]:
    """Return the files below a folder with the SHA-256 of their content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def kept(bench: Bench, key: tuple[str, str], make: Callable[[], Any]) -> Any:
    """Return what was made under a key before, made on the first call; a reason for not trying is kept too."""
    if key not in bench.kept:
        try:
            bench.kept[key] = make()
        except NotTriedError as reason:
            bench.kept[key] = reason
    found = bench.kept[key]
    if isinstance(found, NotTriedError):
        raise found
    return found
