"""Fills the slots of a frame for one note: who, where, when."""

import re
from datetime import date, timedelta
from random import Random

from clinical_notes.language import Language, Section
from clinical_notes.note import Piece
from clinical_notes.numbers import NUMBERS, number
from clinical_notes.people import FORMS, OLD, draw_person, plain_letters, written_name

ROLES = {"patient": "patient", "relative": "relative", "doctor": "clinician", "colleague": "clinician"}
"""Whose names a frame can write, and what the span says of them."""

_SLOT = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)")
_DATE_TOKEN = re.compile(r"%([demnYyBbAo])")
_SIGNS = {"#": "0123456789", "~": "123456789", "^": "ABCDEFGHJKLMNPRSTUVWXYZ", "*": "0123456789abcdef"}
_FIRST_DAY, _DAYS, _STAY, _AHEAD = date(2019, 1, 8), 2500, 40, 120
_WORDS_SHARE = 0.2


class Scene:
    """One note's people and dates, the same in each of its frames.

    Args:
        language: The variety.
        draw: The note's source of chance.
    """

    def __init__(self, language: Language, draw: Random) -> None:
        self.language = language
        self.draw = draw
        self.today = _FIRST_DAY + timedelta(days=draw.randrange(_DAYS))
        self.people = {role: draw_person(language, draw, self.today) for role in ROLES}

    def fill(self, frame: str) -> list[Piece]:
        """Return a frame's text in pieces.

        Args:
            frame: Text with slots, as `frames/README.md` says.

        Returns:
            Pieces from left to right; those that are identifiers have a kind.
        """
        pieces = list[Piece]()
        for place, part in enumerate(_SLOT.split(frame)):
            pieces += self._slot(part) if place % 2 else [Piece(part)]
        return pieces

    def _slot(self, slot: str) -> list[Piece]:
        if "|" in slot:
            return self.fill(self.draw.choice(slot.split("|")))
        if span := _RANGE.fullmatch(slot):
            return [Piece(self._between(*span.groups()))]
        if slot in NUMBERS:
            holder = "doctor" if NUMBERS[slot][0] == "licence_number" else "patient"
            return [number(slot, self.draw, self.people[holder])]
        if slot in _DAYS_OF:
            return self._dated(slot)
        if slot in _AGES:
            return [_AGES[slot](self)]
        if section := self.language.sections.get(slot):
            return self._section(section)
        role, _, form = slot.rpartition(".")
        return [self._person(role or "patient", form)]

    def _between(self, low: str, high: str) -> str:
        decimals = len(low.partition(".")[2])
        value = f"{self.draw.uniform(float(low), float(high)):.{decimals}f}"
        return value.replace(".", self.language.sections["decimal"].lines[0])

    def _section(self, section: Section) -> list[Piece]:
        line = self.draw.choice(section.lines)
        if not section.kind:
            return self.fill(line)
        drawn = "".join(self.draw.choice(_SIGNS.get(sign, sign)) for sign in line)
        return [Piece("".join(piece.text for piece in self.fill(drawn)), section.kind, section.detail)]

    def _person(self, role: str, form: str) -> Piece:
        person = self.people[role]
        if form in FORMS:
            return Piece(written_name(form, person, self.draw), "name", ROLES[role])
        if form in _SPELT:
            return Piece(_SPELT[form](person))
        male, female = self.language.gendered[form]
        return Piece(female if person.female else male)

    def _dated(self, slot: str) -> list[Piece]:
        formats, first, last = _DAYS_OF[slot]
        forms = self.language.sections[formats].lines
        day = self.today + timedelta(days=self.draw.randint(first, last))
        if slot == "dob":
            forms, day = tuple(form for form in forms if "%A" not in form), self.people["patient"].born
        return [Piece(self.written_date(self.draw.choice(forms), day), "date", slot)]

    def written_date(self, form: str, day: date) -> str:
        """Return a day in a form.

        Args:
            form: Text with tokens, as `frames/README.md` says.
            day: The day.

        Returns:
            The text of the date.
        """
        return _DATE_TOKEN.sub(lambda found: self._part(found[1], day), form)

    def _part(self, sign: str, day: date) -> str:
        words = {"B": "months", "b": "short_months", "A": "weekdays", "o": "ordinals"}
        if sign in words:
            lines = self.language.sections[words[sign]].lines[0].split()
            return lines[day.weekday() if sign == "A" else day.day - 1 if sign == "o" else day.month - 1]
        return {
            "d": f"{day.day:02d}",
            "e": str(day.day),
            "m": f"{day.month:02d}",
            "n": str(day.month),
            "Y": str(day.year),
            "y": f"{day.year % 100:02d}",
        }[sign]

    def age_of_patient(self) -> Piece:
        """Return the patient's age, an identifier when it is over 89."""
        age = self.people["patient"].age(self.today)
        return self._old(age) if age >= OLD else Piece(str(age))

    def age_of_old_relative(self) -> Piece:
        """Return an age from 90 on."""
        return self._old(self.draw.randint(OLD, OLD + 11))

    def birth_year(self) -> Piece:
        """Return the patient's year of birth, an identifier when it shows an age over 89."""
        person = self.people["patient"]
        kind, detail = ("date", "birth year of a patient over 89") if person.age(self.today) >= OLD else ("", "")
        return Piece(str(person.born.year), kind, detail)

    def _old(self, age: int) -> Piece:
        words = self.language.sections["nineties"].lines[0].split()
        spelt = age - OLD < len(words) and self.draw.random() < _WORDS_SHARE
        return Piece(words[age - OLD] if spelt else str(age), "age_over_89")


_DAYS_OF = {
    "dob": ("date", 0, 0),
    "date": ("date", -_STAY, 0),
    "long_date": ("long_date", -2, 0),
    "later": ("date", 1, _AHEAD),
    "month_year": ("month_year", -10 * _AHEAD, -_STAY),
    "day_month": ("day_month", -_STAY, _STAY),
    "day": ("day", -_STAY, 0),
    "month": ("month", -4 * _STAY, 0),
}
_AGES = {"age": Scene.age_of_patient, "old_age": Scene.age_of_old_relative, "birth_year": Scene.birth_year}
_SPELT = {
    "mail_first": lambda person: plain_letters(person.given.split()[0]),
    "mail_last": lambda person: plain_letters(person.family),
    "mail_initial": lambda person: plain_letters(person.given)[0],
}
"""Names inside addresses of e-mail and pages."""
