"""Finds numbers by the label before them: a record, a plan, an account, a licence, a device, a telephone."""

import re
from collections.abc import Iterator, Mapping

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.numbers import HELP_LINES, is_code
from medtune.data.identifiers.text import Text, cue
from medtune.data.identifiers.vocabulary import words_of

__all__ = ["find_labelled"]

_STRONG: Mapping[Kind, str] = {
    Kind.RECORD_NUMBER: "mrn mr# hª urn ur emr hist ehr hn uhid umrn crn csn fin fallnr fallnummer patientennr patnr pid ipp nip nda iep nhc patid",
    Kind.HEALTH_PLAN_NUMBER: "nhs chi mbi hicn medicare medicaid kvnr vnr versichertennr egk cip cipa sip tsi cmu ame nass adhérent tarjeta hcn subscriber",
    Kind.ACCOUNT_NUMBER: "acct iban rib ccc kto sortcode",
    Kind.LICENCE_NUMBER: "dea npi gmc nmc lanr bsnr rpps adeli colegiado colegiada passport reisepass pasaporte passeport personalausweis "
    "ausweis führerschein gphc hcpc dl efn finess pin",
    Kind.SSN: "ssn nino dni nie nif nir ins nuss naf steuer steuerid idnr rvnr svnr rentenversicherungsnr",
    Kind.DEVICE: "sn udi serial seriennr imei",
    Kind.VEHICLE: "vin kennzeichen plate plates kfz immatriculation immatriculé immatriculée matrícula tag numberplate bastidor",
    Kind.OTHER_NUMBER: "participant participants az proband probandin probanden participante diligencias atestado badge tip autos expte nig rg pv cad incident einsatznr shoulder sujeto sujet participación accession specimen barcode aktenzeichen vorgangsnr auftragsnr",
}
"""Labels before which a number is enough."""
_WEAK: Mapping[Kind, str] = {
    Kind.RECORD_NUMBER: "record chart patient pt hospital case visit encounter unit file fall patienten pat dossier séjour patiente historia "
    "episodio expediente history folder paciente inpatient outpatient episode admission venue passage archive clínica",
    Kind.HEALTH_PLAN_NUMBER: "plan policy member insurance insured beneficiary group kasse krankenkasse versicherung versicherten kranken police mutuelle "
    "assuré assurée póliza seguro afiliación afiliado sanitaria aseguradora assurance prévoyance payer plan's",
    Kind.ACCOUNT_NUMBER: "account billing sort konto compte cuenta card guarantor invoice rechnungs rechnung facture factura kunden client cliente tarjeta carte",
    Kind.LICENCE_NUMBER: "license licence certificate registration licencia permis permiso carnet certificado certificat approbation approbations lizenz "
    "urkunde arzt reg driver's drivers driving zertifikat colegial ordre ordinal",
    Kind.SSN: "social security sécurité sociale identity identidad identification identité sozialversicherung insee national ni tax fiscal",
    Kind.DEVICE: "device implant model pacemaker pump geräte gerät serien implantat série serie dispositif dispositivo appareil "
    "generator stent prosthesis lead icd prothese prótesis implante",
    Kind.VEHICLE: "vehicle car registration license licence fahrzeug véhicule voiture vehículo coche matriculado matriculada reg",
    Kind.OTHER_NUMBER: "estudio étude studie studien order sample reference ref study trial subject participant employee staff student badge id claim ticket request lab labor proben probe "
    "auftrags auftrag befund vorgangs akten demande prélèvement muestra petición referencia employé empleado dossier examen échantillon "
    "locker key code authorization prescription rx nummer numéro número ticket laborauftrag caso solicitud registro",
}
"""Labels behind which "number", "no.", "ID", "#" or the like must stand."""
_MARK = (
    r"(?:numbers?|num\.?|no\.?|nos\.?|nr\.?|nummer|id(?:entifier|entification)?\.?(?: number| no\.?)?|n°|nº|n\.º|n\.°|núm\.?|#|code|kennung|zeichen|"
    r"numéro|número|serial(?: number| no\.?)?|plates?|ref(?:erence)?\.?)"
)
_BETWEEN = re.compile(
    rf"[\s.'’-]{{0,2}}(?:(?:s|record|medical|plan|policy|security|sociale?|security|insurance|card|carte|de|du|des|d['’]|la|del|et|the|health|clínica|"
    rf"clinique|médico|patient|assuré|permanent|identification|identidad|sanitaria|number's|licen[cs]e|serial|série|serie|registration|policy|"
    rf"tax|fiscal|bank|bancaire|bancaria|drivers?|account|holder|group|beneficiary|member|seguridad|social|national|interne|hospital|otro|autre|other|véhicule|vehículo|vehicle|car|dossier|of)\s{{1,2}}){{0,4}}"
    rf"(?P<mark>[\s.-]{{0,2}}{_MARK}(?:\s?[/-]?\s?{_MARK})?)?"
    r"(?P<tail>\s{0,2}(?:[:#=.;)(\[|…]|\.{2,}|(?:is|was|ist|lautet|est|es|ending in|ending|endet auf|vorgelegt|reads|with|mit|le|el)(?![\w-])|:\s?\w{2,4}\s)?[\s:#=(\[|\"'-]{0,4})",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"(?:[xX*•]{2,}[- ]?){0,3}(?:[A-Za-z]{1,8}[-_./ \n]?){0,2}\d[\dA-Za-z]{0,24}(?:[-_./][A-Za-z]{0,5}\d[\dA-Za-z]{0,15}|[-_/][A-Za-z]{1,5}(?![a-z])|[ \n]\d{2,6}[A-Za-z]?(?![\w.,/%])| \d(?![\w/%]|[.,]\d))"
    r"{0,7}(?:[ -]?[A-Z](?!\w))?"
)
_RANGE = re.compile(r"\d+[.,]\d|\d{1,2}/\d{1,2}$|(?:19|20)\d\d$")
"""A measure, a share or a year, which no label makes a number of."""
_MARKED = re.compile(
    r"(?:numbers?|num\.|no\.|nr\.|n°|nº|n\.º|numéro|número|núm\.)\s(?:of |de |du |d['’]|del |de la |de l['’]|la ){0,2}[^\W\d_]+$",
    re.IGNORECASE,
)
_DOCUMENT = re.compile(r"(?=[A-Z0-9]{0,9}[A-Z])[A-Z0-9]{9,10}(?!\w)")
_FILE = re.compile(r"\d{1,4} [A-Z]{1,5} \d{1,6}/\d{2,4}(?!\d)")
"""A file of a court or the police: 12 XVII 345/20."""
_PLATE = re.compile(r"[A-ZÄÖÜ0-9]{1,4}(?:[- ·][A-ZÄÖÜ0-9]{1,4}){0,3}(?!\w)")
_MEASURE = re.compile(
    r"\s?(?:mg|ml|g|kg|mmol|µg|mcg|%|mm|cm|bpm|mmhg|years?|days?|weeks?|months?|jahre|tage|ans|años|h|min|std|°|french|fr\b|x\b)(?!\w)",
    re.IGNORECASE,
)
_PHONE_LABELS = words_of("phone labels")
_ON = words_of("on")
"""Words between a telephone, the name of whose it is, and its number."""
_CALLING = words_of("calling")
_PAGED = re.compile(r"\s(\d{4,6})(?![\w%]|[.,/:-]\d)(?!\s?(?:mg|ml|patients))")
_FAX_LABELS = words_of("fax labels")
_PHONE_GAP = re.compile(
    r"[\s.|]{0,3}(?:(?:number|no\.?|nr\.?|nummer|n°|nº|numéro|número|line|home|work|cell|mobile|portable|móvil|fijo|privat|dienstlich|pager|domicile|de|at|on|us|me|her|him|"
    r"is|au|al|unter|ist|under|ext|extension|\(?[hwmcHWMC]\)?|/)(?![a-z])[\s.:]{0,3}){0,3}[\s:.=(#|-]{0,5}",
    re.IGNORECASE,
)
_PHONE = re.compile(r"(?:[A-Z]{1,4} )?\(?\+?\(?\d(?:[\s()./-]{0,3}\d){3,15}(?!\w)(?![.,]\d)")
_SHORT_PHONE = re.compile(r"(?:[A-Z]{1,4} )?(?:\d-)?\d{3,5}(?![\w.,/%-]\d?\w)")
_MARKS = words_of("marks")
_AFTER_MARK = re.compile(r"(?:\.|°|\.º|\.°|/n)?\s?[:#|]?\s{0,2}", re.IGNORECASE)
_BY_ENDING = ("nummer", "nr", "kennung", "zeichen", "code")
_COMPOUNDS: tuple[tuple[str, Kind | None], ...] = (
    ("zimmer", None), ("haus", None), ("postleit", None), ("bett", None), ("barcode", Kind.OTHER_NUMBER), ("bar", None), ("an", None), ("vor", None), ("ken", None),
    ("kennzeichen", Kind.VEHICLE), ("fahr", Kind.VEHICLE),
    ("sozialvers", Kind.SSN), ("renten", Kind.SSN), ("steuer", Kind.SSN), ("identifikation", Kind.SSN),
    ("versich", Kind.HEALTH_PLAN_NUMBER), ("krankenk", Kind.HEALTH_PLAN_NUMBER), ("mitglied", Kind.HEALTH_PLAN_NUMBER), ("kassen", Kind.HEALTH_PLAN_NUMBER), ("police", Kind.HEALTH_PLAN_NUMBER),
    ("konto", Kind.ACCOUNT_NUMBER), ("kunden", Kind.ACCOUNT_NUMBER), ("rechnung", Kind.ACCOUNT_NUMBER), ("karten", Kind.ACCOUNT_NUMBER),
    ("serien", Kind.DEVICE), ("chargen", Kind.DEVICE), ("gerät", Kind.DEVICE), ("implant", Kind.DEVICE), ("los", Kind.DEVICE), ("modell", Kind.DEVICE),
    ("ausweis", Kind.LICENCE_NUMBER), ("führerschein", Kind.LICENCE_NUMBER), ("pass", Kind.LICENCE_NUMBER), ("arzt", Kind.LICENCE_NUMBER),
    ("approbation", Kind.LICENCE_NUMBER), ("betriebsst", Kind.LICENCE_NUMBER), ("lizenz", Kind.LICENCE_NUMBER), ("zertifikat", Kind.LICENCE_NUMBER),
    ("fall", Kind.RECORD_NUMBER), ("patient", Kind.RECORD_NUMBER), ("aufnahme", Kind.RECORD_NUMBER), ("kranken", Kind.RECORD_NUMBER), ("akten", Kind.RECORD_NUMBER),
    ("pat", Kind.RECORD_NUMBER), ("telefon", Kind.PHONE), ("handy", Kind.PHONE), ("mobil", Kind.PHONE), ("ruf", Kind.PHONE), ("fax", Kind.FAX),
)  # fmt: skip
"""Beginning of a German compound with "nummer" -> what it numbers; the first that fits, other numbers for none."""


def _by_word(kinds: Mapping[Kind, str]) -> dict[str, Kind]:
    return {word: kind for kind, words in reversed([*kinds.items()]) for word in words.split()}


_LABELS: Mapping[str, tuple[Kind, bool]] = {word: (kind, False) for word, kind in _by_word(_WEAK).items()} | {
    word: (kind, True) for word, kind in _by_word(_STRONG).items()
}
_AT_LABELS = cue(_PHONE_LABELS | _FAX_LABELS | _MARKS | _ON | _LABELS.keys(), lambda word: word.endswith(_BY_ENDING))


def find_labelled(seen: Text) -> Iterator[Finding]:
    """Yield what stands behind a label."""
    for i in seen.at(_AT_LABELS):
        word = seen.folded[i]
        if word in _PHONE_LABELS or word in _FAX_LABELS:
            yield from _phone(seen, i, Kind.FAX if word in _FAX_LABELS else Kind.PHONE)
        if word in _MARKS:
            yield from _marked(seen, i)
        if (
            word in _ON
            and _CALLING.intersection(seen.folded[max(0, i - 6) : i])
            and (code := _PAGED.match(seen.text, seen.ends[i]))
        ):
            yield Finding(Kind.PHONE, code.start(1), code.end(1))
        label = _LABELS.get(word) or (_compound(word) if word.endswith(_BY_ENDING) else None)
        if label is not None:
            yield from _value(seen.text, seen.ends[i], *label)


def _marked(seen: Text, i: int) -> Iterator[Finding]:
    """Yield a longer number behind "no." or the like alone."""
    gap = _AFTER_MARK.match(seen.text, seen.ends[i])
    value = _VALUE.match(seen.text, gap.end()) if gap else None
    if (
        value
        and not _RANGE.match(value[0])
        and sum(map(str.isdecimal, value[0])) >= 5
        and not is_code(seen.text, value.start())
    ):
        yield Finding(Kind.OTHER_NUMBER, value.start(), value.end())


def _compound(word: str) -> tuple[Kind, bool] | None:
    """Return what a German compound numbers; one of one's own kind is no label without a mark."""
    if word in _BY_ENDING:
        return None
    kind = next((kind for beginning, kind in _COMPOUNDS if word.startswith(beginning)), Kind.OTHER_NUMBER)
    return (kind, True) if kind and word.endswith(("nummer", "nr", "kennung", "zeichen")) else None


def _value(text: str, end: int, kind: Kind, is_strong: bool) -> Iterator[Finding]:
    between = _BETWEEN.match(text, end)
    if between is None:
        return
    at = between.end()
    kind = Kind.VEHICLE if "plate" in between[0].casefold() else kind
    if kind is Kind.OTHER_NUMBER and (file := _FILE.match(text, at)):
        yield Finding(kind, file.start(), file.end())
        return
    value = _VALUE.match(text, at)
    marked = (
        is_strong or between["mark"] or "#" in between[0] or _MARKED.search(text, max(0, end - 40), end) is not None
    )
    least = 3 if marked else 6
    if kind is Kind.VEHICLE and marked and (plate := _PLATE.match(text, at)) and _is_plate(plate[0]):
        yield Finding(kind, plate.start(), plate.end())
        return
    if value and _RANGE.match(value[0]):
        return
    if value and sum(c.isdecimal() for c in value[0]) >= least and not _MEASURE.match(text, value.end()):
        if not is_code(text, at):
            yield Finding(kind, value.start(), value.end())
    elif kind is Kind.LICENCE_NUMBER and is_strong and (document := _DOCUMENT.match(text, at)):
        yield Finding(kind, document.start(), document.end())


def _is_plate(found: str) -> bool:
    return any(map(str.isdecimal, found)) and any(map(str.isalpha, found))


def _phone(seen: Text, i: int, kind: Kind) -> Iterator[Finding]:
    gap = _PHONE_GAP.match(seen.text, seen.ends[i])
    at = gap.end() if gap else seen.ends[i]
    found = _PHONE.match(seen.text, at) or _SHORT_PHONE.match(seen.text, at)
    if found is None or (seen.text[found.start() - 1 : found.start()].isdecimal()):
        return
    digits = sum(c.isdecimal() for c in found[0])
    if "".join(filter(str.isdecimal, found[0])) in HELP_LINES:
        return
    if digits >= 3 and not _MEASURE.match(seen.text, found.end()):
        yield Finding(kind, found.start(), found.end())
