r"""A second set of synthetic notes, by another hand and of other kinds, to see how far a figure depends on the notes.

`notes(language, half, seed, count)` yields what a ward's folders hold: letters, sheets of an emergency room, nurses' lines,
heads of laboratory reports, dictations, forms, lines of HL7, CSV and JSON, threads of e-mail, in English (American and
British together), German, French and Spanish. `clean_notes` yields text without an identifier. The same arguments give the
same notes. What counts as an identifier is said in `clinical_notes`; initials alone and single given names count too.

Lines and words are cut in two halves, `dev` and `held`, that share no line and no name, town or street (a few national
number formats are common). Rules are improved on `dev` alone; `held` says what they are worth.

Lines were written without a look at the rules. In a line, `{p.last}` is the patient's family name (`d`, `e`, `f`, `n` staff, `g` the
family doctor, `r` relatives; forms in `people.py`), `{d}` a day (`{d=%d.%m.%Y}` in a form, `{dm}` without a year, `{my}` a month, `{dob}` of
birth), `{old}` an age over 89, `{5..100}` a number, `{mrn=###^}` a number of a kind, `#` a digit, `~` one that is not 0, `^` a letter, `*` a
hexadecimal digit. `\n` and `\t` are what they are elsewhere.
"""

from ward_notes.compose import clean_notes, notes
from ward_notes.words import HALVES, LANGUAGES

__all__ = ["HALVES", "LANGUAGES", "clean_notes", "notes"]
