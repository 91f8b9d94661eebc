"""Synthetic clinical notes whose identifiers are known to the character, to measure rules that look for them.

`notes(language, seed, count)` yields letters, reports, forms and e-mails in American or British English, German,
French or Spanish; `clean_notes` yields notes that hold no identifier but much that looks like one. The same
arguments give the same notes. Nobody in them exists; check digits are right where the real number has them.

What counts is what the HIPAA Safe Harbor rule (45 CFR 164.514(b)(2)) lists. It leaves some cases open:

- name: given and family names with their particles, initials too (a part of a name is derived from it). Titles stay
  outside. Clinicians' names count as patients' and relatives' do; `detail` says whose it is. Authors of published
  work and eponyms do not count.
- place: street with number, town, postcode, each its own span. State, Bundesland, region, nation and country do not
  count, nor three digits of a ZIP code. Of a hospital's name the town counts and the rest does not. A town in a term
  (Bristol stool chart, Frankfurter) does not count.
- date: any date about a person that says more than the year, also a day, a month or a month with year; a weekday
  written with it is inside. A year alone, a season, a time of day, a duration and a month in a general statement do
  not count. A weekday alone about a person is not written. Each end of a range is its own span.
- age_over_89: the number alone, in digits or words, of patients and relatives. The birth year of such a patient
  counts as a date. Ages to 89 and the group "over 90" do not count.
- phone: also pagers, with the extension inside the span. Public emergency and help lines do not count.
- record_number: number of a record, case or stay. other_number: numbers of an order, sample or accession, and of a
  person in a study, since each leads to one person. Lot numbers of drugs, codes of a classification, registry numbers
  of a study and model names of devices do not count; serial numbers of an implant or a device at home are `device`.
- National numbers stand under the nearest kind with their own name in `detail`: NINO, Steuer-ID,
  Sozialversicherungsnummer, NIR, DNI, NIE and NSS as ssn; NHS, CHI, Krankenversichertennummer, MBI and CIP as
  health_plan_number; IBAN as account_number; NPI, DEA, GMC, NMC, LANR, RPPS, colegiado, passport, identity card and
  driving licence as licence_number.
- biometric and photo: the code or the file's name that stands for the print or the picture.
- url and ip_address: a person's portal, page, share or machine. Addresses of public guidelines are not written.

A rule may find a little more or less than a span (a title, "years" after an age), so compare by overlap and kind.
Frames and names are text files beside the code; `frames/README.md` says how they are written.
"""

from clinical_notes.compose import clean_notes, notes
from clinical_notes.language import LANGUAGES
from clinical_notes.note import KINDS, Identifier, Note

__all__ = ["KINDS", "LANGUAGES", "Identifier", "Note", "clean_notes", "notes"]
