"""The people of a note, and the ways their names are written."""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from clinical_notes.language import Language

OLD = 90
_OLD_SHARE = 0.15
_YOUNGEST, _OLDEST_YOUNG, _OLDEST = 18, 86, 103
_YEAR_DAYS = 365.25
_LETTERS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "o", "ł": "l", "\u0131": "i"}


@dataclass(frozen=True)
class Person:
    """Somebody who does not exist.

    Attributes:
        given: Given names.
        family: Family names, with particles.
        female: Which of the gendered words fit.
        born: Day of birth.
    """

    given: str
    family: str
    female: bool
    born: date

    def age(self, day: date) -> int:
        """Return the age in whole years on a day."""
        return day.year - self.born.year - ((day.month, day.day) < (self.born.month, self.born.day))


def draw_person(language: Language, draw: Random, day: date) -> Person:
    """Return a person alive on a day.

    Args:
        language: Whose names to draw from.
        draw: The note's source of chance.
        day: The day of the note.

    Returns:
        An adult; about one in seven is over 89.
    """
    female = draw.random() < 1 / 2
    given = language.names["given_female" if female else "given_male"]
    years = draw.uniform(*((OLD + 0.1, _OLDEST) if draw.random() < _OLD_SHARE else (_YOUNGEST, _OLDEST_YOUNG)))
    return Person(
        given=_shaped(draw.choice(language.names["given_shapes"]), given, draw),
        family=_shaped(draw.choice(language.names["family_shapes"]), language.names["family"], draw),
        female=female,
        born=day - timedelta(days=round(years * _YEAR_DAYS)),
    )


def written_name(form: str, person: Person, draw: Random) -> str:
    """Return a person's name in a form.

    Args:
        form: A key of `FORMS`.
        person: Whose name.
        draw: The note's source of chance.

    Returns:
        The name without title.
    """
    return FORMS[form](person, draw)


def plain_letters(name: str) -> str:
    """Return a name in lower case as an e-mail address writes it: a-z and hyphens only."""
    spelt = name.lower().translate({ord(sign): letters for sign, letters in _LETTERS.items()})
    signs = unicodedata.normalize("NFKD", spelt)
    return "".join(sign for sign in signs if "a" <= sign <= "z" or sign == "-")


def _shaped(shape: str, names: tuple[str, ...], draw: Random) -> str:
    """Fill each N of a shape with a name of the list, each I with an initial."""
    picks = {"N": lambda: draw.choice(names), "I": lambda: draw.choice("ABCDEFGHJKLMNPRSTW")}
    return "".join(picks[sign]() if sign in picks else sign for sign in shape)


def _listed(person: Person, draw: Random) -> str:
    upper = person.family.upper()
    return draw.choice([f"{upper}, {person.given}", f"{person.family}, {person.given}", f"{upper} {person.given}"])


def _initials(person: Person, draw: Random) -> str:
    signs = [part[0] for part in (person.given, person.family.split()[-1])]
    return draw.choice(["{}.{}.", "{}. {}.", "{}{}"]).format(*signs).upper()


def _signed(person: Person, draw: Random) -> str:
    return draw.choice(
        [f"{person.given} {person.family}", f"{person.given[0]}. {person.family}", f"{person.given[0]} {person.family}"]
    )


FORMS: Mapping[str, Callable[[Person, Random], str]] = {
    "first": lambda person, _: person.given.split()[0],
    "last": lambda person, _: person.family,
    "full": lambda person, _: f"{person.given} {person.family}",
    "signed": _signed,
    "listed": _listed,
    "initials": _initials,
}
"""Ways to write a name, by the word after the dot in a frame."""
