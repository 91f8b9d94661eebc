"""Fills the slots of a note's lines."""

import re
from datetime import date, timedelta
from random import Random

from clinical_notes.note import Piece
from clinical_notes.numbers import NUMBERS, number
from clinical_notes.people import Person
from ward_notes.people import FORMS, draw_person, mailbox
from ward_notes.spoken import spoken_day
from ward_notes.words import Words

PATTERNS = {
    "mrn": "record_number",
    "plan": "health_plan_number",
    "acct": "account_number",
    "lic": "licence_number",
    "veh": "vehicle",
    "dev": "device",
    "ip": "ip_address",
    "bio": "biometric",
    "other": "other_number",
} | {kind: kind for kind in ("ssn", "url", "photo", "phone")}
"""Slots of numbers that a line gives the form of, and their kinds."""

_SLOT = re.compile(r'\{([^{}"]+)\}')
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_TOKEN = re.compile(r"%([demnYyBbAoRS])")
_SIGNS = {"#": "0123456789", "~": "123456789", "^": "ABCDEFGHJKLMNPRSTUVWXYZ", "*": "0123456789abcdef"}
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")
_FIRST_DAY, _DAYS = date(2018, 2, 1), 2900
_CASES = {"low": str.lower, "CAPS": str.upper}


class Filling:
    """One note's people and days.

    Args:
        words: The half of a language.
        draw: The note's source of chance.
    """

    def __init__(self, words: Words, draw: Random) -> None:
        self.words = words
        self.draw = draw
        self.today = _FIRST_DAY + timedelta(days=draw.randrange(_DAYS))
        self.people = {role: draw_person(words, draw, self.today) for role in "pdefgnr"}

    def fill(self, line: str) -> list[Piece]:
        """Return a line in pieces; those that are identifiers have a kind."""
        self.people["r"] = self._relative()
        return [
            piece
            for place, part in enumerate(_SLOT.split(line))
            for piece in (self._slot(part) if place % 2 else [Piece(part)])
        ]

    def _relative(self) -> Person:
        return draw_person(self.words, self.draw, self.today)

    def _slot(self, slot: str) -> list[Piece]:
        name, _, form = slot.partition("=")
        head, _, tail = slot.partition(".")
        if span := _RANGE.fullmatch(slot):
            return [Piece(str(self.draw.randint(int(span[1]), int(span[2]))))]
        if name in PATTERNS and form:
            return [Piece(self._drawn(form), PATTERNS[name])]
        if name in {"d", "dob", "dm", "my"} and not tail.isalpha():
            return [self._day(name, form)]
        if head in self.people:
            return [self._person(head, tail)]
        if head == "email":
            return [Piece(f"{mailbox(self.people[tail or 'p'], self.draw)}@{self._host()}", "email")]
        if head in {"city", "area", "street", "zip"}:
            text = self._street() if head == "street" else self._drawn(self._pick(head))
            return [Piece(_CASES.get(tail, str)(text), "place")]
        if slot in {"phone", "fax"}:
            return [Piece(self._drawn(self._pick("phone")), slot)]
        return [self._other(slot)]

    def _other(self, slot: str) -> Piece:
        if slot == "age":
            return Piece(str(self.draw.randint(2, 89)))
        if slot == "old":
            return Piece(str(self.draw.randint(90, 103)), "age_over_89")
        if slot in {"drug", "dx"}:
            return Piece(self._pick(slot))
        key = f"iban_{'gb' if self.words.language == 'en' else self.words.language}" if slot == "iban" else slot
        if key not in NUMBERS:
            raise ValueError(f"no slot {slot!r}")
        return number(key, self.draw, self.people["p"])

    def _pick(self, key: str) -> str:
        return self.draw.choice(self.words.lists[key])

    def _drawn(self, form: str) -> str:
        return "".join(self.draw.choice(_SIGNS.get(sign, sign)) for sign in form)

    def _host(self) -> str:
        return self.draw.choice(["example.org", "mail.example.com", "ward.example.net", "example.com"])

    def _person(self, role: str, form: str) -> Piece:
        person = self.people[role]
        if role == "r":
            self.people[role] = self._relative()  # the next one in the line is another
        return Piece(FORMS[form](person), "name")

    def _street(self) -> str:
        street, house = self._pick("street"), self.draw.randint(1, 190)
        if self.words.language == "en":
            return f"{house} {street}{self.draw.choice(['', '', f', Apt {self.draw.randint(1, 40)}'])}"
        if self.words.language == "de":
            return f"{street} {house}{self.draw.choice(['', '', 'a', 'b'])}"
        if self.words.language == "fr":
            return f"{house}{self.draw.choice(['', ',', ' bis'])} {street}"
        return f"{street}{self.draw.choice([', ', ' ', ', nº '])}{house}{self.draw.choice(['', '', ', 3º B'])}"

    def _day(self, slot: str, form: str) -> Piece:
        key = {"dm": "daymonth", "my": "monthyear"}.get(slot, "date")
        born = slot == "dob"
        forms = [one for one in self.words.lists[key] if not (born and "%A" in one)]
        day = self.people["p"].born if born else self.today - timedelta(days=self.draw.randint(0, 60))
        return Piece(self._written(form or self.draw.choice(forms), day), "date", slot)

    def _written(self, form: str, day: date) -> str:
        if form.startswith("1er"):
            day = day.replace(day=1)
        return _TOKEN.sub(lambda found: self._part(found[1], day), form)

    def _part(self, sign: str, day: date) -> str:
        lists = self.words.lists
        if sign == "S":
            return spoken_day(day)
        if sign == "A":
            return lists["weekdays"][day.weekday()]
        if sign == "o":
            return f"{day.day}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(day.day % 10 * (day.day // 10 != 1), 'th') }"
        months = {"B": lists["months"], "b": lists["shortmonths"], "R": _ROMAN}
        if sign in months:
            return months[sign][day.month - 1]
        numbers = {"d": f"{day.day:02d}", "e": f"{day.day}", "m": f"{day.month:02d}", "n": f"{day.month}"}
        return (numbers | {"Y": f"{day.year}", "y": f"{day.year % 100:02d}"})[sign]
