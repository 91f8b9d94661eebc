"""Rows that ask for the relation of two masked concepts."""

from demo_base.draw import Draw
from demo_base.sentences import paragraph

__all__ = ["RELATION_CUES", "relation_row"]

_LABELS = (
    "PIP : one problem indicates another ; TeCP : test conducted to investigate problem ; TeRP : test reveals problem ; "
    "TrAP : treatment administered for problem ; TrCP : treatment causes problem ; TrIP : treatment improves problem ; "
    "TrNAP : treatment not administered because of problem ; TrWP : treatment worsens problem ; No Relations"
)
_WORDINGS = (
    f"Name the relation of the two masked concepts : {_LABELS} .",
    f"How are the marked concepts related ? Choose from {_LABELS} .",
    f"Classify the relation between the masked mentions . The classes : {_LABELS} .",
    f"Give the label of the relation in the sentence . Labels : {_LABELS} .",
    f"Two concepts are masked . Say which relation holds : {_LABELS} .",
)
_SHORT_WORDINGS = (
    "Name the relation of the two masked concepts , or No Relations .",
    "How are the marked concepts related ? Answer with the relation label or No Relations .",
    "Classify the relation between the masked mentions .",
    "Give the relation label of the sentence .",
    "Two concepts are masked . Say which relation holds .",
)

RELATION_CUES: dict[str, tuple[str, ...]] = {
    "PIP": (
        "@problem$ was secondary to @problem$",
        "@problem$ pointed to @problem$",
        "@problem$ arose from @problem$",
        "@problem$ was a sign of @problem$",
    ),
    "TeCP": (
        "@test$ was ordered to look for @problem$",
        "@test$ was planned to rule out @problem$",
        "@problem$ prompted a request for @test$",
        "@test$ was scheduled to check for @problem$",
    ),
    "TeRP": (
        "@test$ showed @problem$",
        "@test$ revealed @problem$",
        "@problem$ was seen on @test$",
        "@test$ confirmed @problem$",
    ),
    "TrAP": (
        "@treatment$ was started for @problem$",
        "@problem$ was treated with @treatment$",
        "@treatment$ was prescribed for @problem$",
        "@treatment$ is used against @problem$",
    ),
    "TrCP": (
        "@treatment$ caused @problem$",
        "@problem$ was induced by @treatment$",
        "@treatment$ brought on @problem$",
        "@treatment$ gave rise to @problem$",
    ),
    "TrIP": (
        "@problem$ improved with @treatment$",
        "@treatment$ relieved @problem$",
        "@problem$ resolved on @treatment$",
        "@treatment$ cured @problem$",
    ),
    "TrNAP": (
        "@treatment$ was withheld because of @problem$",
        "@treatment$ was avoided given @problem$",
        "@problem$ ruled out the use of @treatment$",
        "@treatment$ was cancelled owing to @problem$",
    ),
    "TrWP": (
        "@problem$ worsened despite @treatment$",
        "@treatment$ failed to control @problem$",
        "@problem$ progressed on @treatment$",
        "@treatment$ aggravated @problem$",
    ),
    "No Relations": (
        "@treatment$ continued , and apart from this @problem$ was recorded",
        "@test$ is due next week , and @problem$ was mentioned elsewhere",
        "@problem$ was listed , as was an unrelated @treatment$",
        "@problem$ and @problem$ were noted on separate visits",
    ),
}
FRAMES = (
    "in a {person} with {disease} , {cue} .",
    "{disease} was known , and {cue} .",
    "while taking {chemical} , the {person} was told that {cue} .",
    "note on {chemical} : {cue} .",
    "{cue} in the {person} with {disease} .",
)
_SHORT = 40


def relation_row(draw: Draw, wanted_words: int) -> tuple[str, str, str]:
    """Return instruction, input and output; the nine labels are drawn evenly, so that no constant answer scores."""
    label = draw.pick(list(RELATION_CUES))
    text = draw.fill(draw.pick(FRAMES).replace("{cue}", draw.pick(RELATION_CUES[label])))
    if wanted_words > _SHORT:
        return draw.pick(_WORDINGS), f"{paragraph(draw, wanted_words - len(text.split()))} {text}", label
    return draw.pick(_SHORT_WORDINGS), text, label
