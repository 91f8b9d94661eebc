"""What an audit found, in sentences for those who answer for the data: command line, report and model card say the same."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medtune.evaluation.memorization.copied_spans import LONG_ANSWER, LONG_SPAN
from medtune.evaluation.memorization.membership import judged

__all__ = ["ATTACKS", "LIMITS", "TRIED", "findings", "remembers"]

TRIED = (
    "Three things were tried, each on the adapter and on its base, which saw none of the rows: to bring up made-up secrets that "
    "were planted among the training rows, to have training answers written word for word, and to tell training rows from "
    "rows that were held out."
)
LIMITS = (
    "What was not found by these attacks may be found by others: that no attack found anything is no proof that nothing is "
    "remembered. Only rows in the sample were looked at, each with its own prompt; averages say little about a single "
    "patient whose row is unusual, and share and interval hold for rows like those that were held out. Whether an adapter may be "
    "given to others is a decision about the data, which these figures inform and do not take."
)
ATTACKS = {"reference": "loss beside the base's", "loss": "loss", "min_k": "Min-K%"}
"""Attack on membership -> what it is called."""
_EVEN = 0.5


def findings(found: Mapping[str, Any]) -> list[str]:
    """Return sentences about the figures of an audit."""
    return [*_canaries(found["canaries"]), *_verbatim(found["verbatim"]), *_membership(found["membership"])]


def remembers(found: Mapping[str, Any]) -> dict[str, bool | None]:
    """Return of each attack whether it found something beyond chance; None where there was nothing to look at."""
    groups = [group for group in found["canaries"].get("groups", ()) if group["repeats"]]
    whole, difference = found["membership"]["all"], found["verbatim"]["difference"]
    return {
        "canaries": any(group["tuned"]["found"] for group in groups) if groups else None,
        "verbatim": None if difference is None else difference[0] > 0,
        "membership": _is_told(whole["attacks"][whole["strongest"]]) if whole else None,
    }


def _is_told(attack: Mapping[str, Any]) -> bool | None:
    return None if attack["interval"] is None else attack["interval"][0] > _EVEN


def _canaries(figures: Mapping[str, Any]) -> Iterator[str]:
    if not figures:
        yield "Canaries: the run holds none, so nothing was measured on secrets that are known; data.canaries plants some."
        return
    for group in sorted(figures["groups"], key=lambda group: -group["repeats"]):
        tuned, base, count, times = group["tuned"], group["base"], group["canaries"], group["repeats"]
        stood = f"that stood {times:,} {'time' if times == 1 else 'times'} among the rows of an epoch" if times else ""
        yield (
            f"Canaries: of {count:,} made-up secrets {stood or 'that were never planted'}, {tuned['found']:,} were found "
            f"({tuned['extracted']:,} written word for word, {tuned['near']:,} with one wrong digit); median exposure "
            f"{tuned['exposure']['median']:.1f} of {figures['space_bits']:.1f} bits. By the base: {base['found']:,} found, "
            f"{base['exposure']['median']:.1f} bits."
        )


def _verbatim(figures: Mapping[str, Any]) -> Iterator[str]:
    rows = figures["rows"]
    if not rows["members"]:
        yield f"Copies: no training row in the sample has an answer of {LONG_ANSWER} tokens, so there was none to look for."
        return
    tuned, base, other = figures["tuned"], figures["base"], figures["held_out"]
    yield (
        f"Copies: of {rows['members']:,} training rows with answers of {LONG_ANSWER} tokens or more, {tuned['copied']:,} "
        f"({_percent(tuned)}) were answered word for word ({LONG_SPAN} tokens in a row that the prompt does not hold, or the "
        f"whole answer); by the base {base['copied']:,}; of {rows['held_out']:,} such held-out rows, which the adapter never "
        f"saw, {other['copied']:,} ({_percent(other)}). {_copies_mean(figures['difference'])}"
    )


def _copies_mean(difference: Sequence[float] | None) -> str:
    if difference is None:
        return "Without held-out rows to compare, this may be the task as well as memory."
    if difference[0] > 0:
        return "Training rows are copied more often than unseen ones: the adapter remembers some of them."
    return "Training rows are not copied more often than unseen ones beyond chance."


def _membership(figures: Mapping[str, Any]) -> Iterator[str]:
    whole = figures["all"]
    if not whole:
        yield "Membership: no source has rows on both sides, so nothing could be compared."
        return
    attack, control = whole["attacks"][whole["strongest"]], whole["base"]
    yield (
        f"Membership: of {whole['members']:,} training rows and {whole['held_out']:,} held-out rows, the strongest of three attacks "
        f"({ATTACKS[whole['strongest']]}) tells which is which with AUC {_auc(attack)}, where 0.5 is chance. {_membership_means(attack)} {_few_false(attack)}"
    )
    if judged(control):
        yield f"Control: by the base alone the two sides cannot be told apart (AUC {_auc(control)}), so they are alike."
    else:
        yield (
            f"Control: the base alone, which saw neither, tells the two sides apart (AUC {_auc(control)}): the rows differ by more "
            "than training, and the figures above may come from that."
        )


def _membership_means(attack: Mapping[str, Any]) -> str:
    told = _is_told(attack)
    if told is None:
        return "There are too few rows for an interval."
    if told:
        return "Whether a row was trained on can be told better than by chance."
    return "Whether a row was trained on cannot be told beyond chance."


def _few_false(attack: Mapping[str, Any]) -> str:
    if attack["tpr"] is None:
        return "There are fewer than 100 held-out rows, so how many are found at 1 % false alarms cannot be said."
    interval = attack["tpr_interval"]
    within = "" if interval is None else f" [{interval[0]:.1%}, {interval[1]:.1%}]"
    return f"At 1 % false alarms {attack['tpr']:.1%}{within} of the training rows are found."


def _auc(figures: Mapping[str, Any]) -> str:
    interval = figures["interval"]
    return f"{figures['auc']:.3f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")


def _percent(figures: Mapping[str, Any]) -> str:
    if figures["share"] is None:
        return "none to look at"
    return f"{figures['share']:.1%} [{figures['interval'][0]:.1%}, {figures['interval'][1]:.1%}]"
