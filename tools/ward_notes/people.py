"""The people of a note and the ways their names are written."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from random import Random

from clinical_notes.people import Person, plain_letters
from ward_notes.words import Words

_WORLD_SHARE = 0.25


def draw_person(words: Words, draw: Random, today: date) -> Person:
    """Return somebody of 2 to 88 years; one in four has names from elsewhere."""
    given, family = (
        draw.choice(words.lists[f"world {key}" if draw.random() < _WORLD_SHARE else key]) for key in ("given", "family")
    )
    born = today - timedelta(days=draw.randint(2 * 366, 88 * 365))
    return Person(given, family, female=draw.random() < 1 / 2, born=born)


FORMS: Mapping[str, Callable[[Person], str]] = {
    "first": lambda person: person.given,
    "last": lambda person: person.family,
    "full": lambda person: f"{person.given} {person.family}",
    "LAST": lambda person: person.family.upper(),
    "CAPS": lambda person: f"{person.given} {person.family}".upper(),
    "rev": lambda person: f"{person.family}, {person.given}",
    "REV": lambda person: f"{person.family}, {person.given}".upper(),
    "SUR": lambda person: f"{person.family} {person.given} {person.family[-1]}".upper(),
    "LASTfirst": lambda person: f"{person.family.upper()} {person.given}",
    "ini": lambda person: f"{person.given[0]}. {person.family}",
    "INI": lambda person: f"{person.given[0]}{person.family[0]}".upper(),
    "HL7": lambda person: f"{person.family}^{person.given}".upper(),
    "low": lambda person: f"{person.given} {person.family}".lower(),
    "lastlow": lambda person: person.family.lower(),
    "firstlow": lambda person: person.given.lower(),
}


def mailbox(person: Person, draw: Random) -> str:
    """Return the part of an e-mail address before the @."""
    given, family = plain_letters(person.given.split()[0]), plain_letters(person.family)
    return draw.choice(
        [f"{given}.{family}", f"{given[0]}{family}", f"{family}{draw.randint(1, 99)}", f"{given}_{family}"]
    )
