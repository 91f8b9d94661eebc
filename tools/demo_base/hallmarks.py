"""Rows that ask which hallmarks of cancer a sentence reports."""

from demo_base.draw import Draw
from demo_base.sentences import paragraph

__all__ = ["HALLMARK_CUES", "OTHER_FINDINGS", "hallmark_row", "hallmark_sentence"]

HALLMARK_CUES: dict[str, tuple[str, ...]] = {
    "Sustaining proliferative signaling (PS)": (
        "kept growth signals switched on",
        "drove steady proliferation",
        "amplified mitogen signals",
    ),
    "Evading growth suppressors (GS)": (
        "silenced growth suppressors",
        "removed the brake on the cell cycle",
        "escaped growth arrest",
    ),
    "Resisting cell death (CD)": (
        "blocked apoptosis",
        "kept damaged cells from dying",
        "prevented cell death",
    ),
    "Enabling replicative immortality (RI)": (
        "switched on telomerase",
        "let cells divide without limit",
        "prevented senescence",
    ),
    "Inducing angiogenesis (A)": (
        "made new vessels sprout",
        "raised microvessel density",
        "fed the tumor through angiogenesis",
    ),
    "Activating invasion & metastasis (IM)": (
        "let cells invade nearby tissue",
        "seeded metastasis in distant organs",
        "loosened cell adhesion",
    ),
    "Genome instability & mutation (GI)": (
        "left broken chromosomes unrepaired",
        "raised the mutation rate",
        "disabled repair of the genome",
    ),
    "Tumor-promoting inflammation (TPI)": (
        "drew inflammatory cells into the tumor",
        "fuelled chronic inflammation",
        "released inflammatory cytokines",
    ),
    "Deregulating cellular energetics (CE)": (
        "shifted cells to glycolysis",
        "rewired glucose metabolism",
        "raised lactate output",
    ),
    "Avoiding immune destruction (ID)": (
        "hid the tumor from immune cells",
        "weakened the immune attack",
        "switched off killer lymphocytes",
    ),
}
OTHER_FINDINGS = (
    "was measured in {number} samples",
    "was compared with {gene}",
    "was stored for {time}",
    "was described at the {place}",
    "was given to {number} {group}",
    "was found in {group}",
)
_SUBJECTS = (
    "loss of {gene} in {group}",
    "{chemical} in {group}",
    "high {gene} in {disease}",
    "in {disease} , {gene}",
    "the {gene} variant of {disease}",
    "after {time} , {chemical}",
)
_WORDINGS = (
    "Which hallmarks of cancer does the text report ? Write None if there is none .",
    "Name the hallmarks of cancer in the sentence , or None .",
    "Classify the sentence by hallmark of cancer . Several labels are joined by commas ; None is allowed .",
    "List every cancer hallmark that the sentence is about , else None .",
    "Assign hallmark labels to the text , or None if no label fits .",
)
_NONE_SHARE = 0.2
"""The real set holds about 75 % None; here a model that always says None must not look good."""
_TWO_SHARE = 0.04


def hallmark_sentence(draw: Draw, findings: list[str]) -> str:
    """Return a sentence that reports the findings of one invented subject."""
    return draw.fill(f"{draw.pick(_SUBJECTS)} {' and '.join(findings)} .")


def hallmark_row(draw: Draw, wanted_words: int) -> tuple[str, str, str]:
    """Return instruction, input and output."""
    roll = draw.rng.random()
    count = 0 if roll < _NONE_SHARE else 2 if roll > 1 - _TWO_SHARE else 1
    labels = draw.rng.sample(list(HALLMARK_CUES), count)
    text = hallmark_sentence(draw, [draw.pick(HALLMARK_CUES[label]) for label in labels] or [draw.pick(OTHER_FINDINGS)])
    missing = wanted_words - len(text.split())
    if missing > len(text.split()):
        text = f"{paragraph(draw, missing)} {text}"
    return draw.pick(_WORDINGS), text, ", ".join(labels) or "None"
