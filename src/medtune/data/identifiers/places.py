"""Finds places smaller than a state: streets, postcodes, cities, counties."""

import re
from collections.abc import Iterator, Mapping

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.text import Text
from medtune.data.identifiers.vocabulary import not_names, place_words

__all__ = ["METHODS", "find_places"]

_CAP = r"[A-ZÀ-ÖØ-Þ][\w'’.]{0,24}(?:-[A-ZÀ-ÖØ-Þa-z][\w'’]{0,24}){0,5}"
_PARTICLE = r"(?:de|la|le|les|los|las|del|du|des|d['’]|l['’]|el|und|et|y|an|am|der|dem|den|von|vom|zur|zum|im|in|auf|upon|of|the|on|en|sur|sous|saint|sainte|san|santa|st\.?|i|bei|a|à)"
_ROAD = (
    "street|avenue|ave|road|rd|lane|ln|drive|boulevard|blvd|court|ct|place|pl|terrace|close|crescent|gardens|square|highway|hwy|"
    "parkway|pkwy|circle|cir|trail|trl|mews|row|grove|walk|rise|hill|green|park|st|dr|way|view|drove|gate|wharf|quay|common|parade|wynd|brae|vale|chase|meadow|meadows|heights|fields|fold|bank|cottages|esplanade|embankment|loop|pike|turnpike|alley|plaza|path|run|crossing|ridge|landing|bend|yard|mead|croft|villas|broadway|causeway|bypass"
)
_ROADS = frozenset(_ROAD.split("|"))
_BEFORE_ROAD = re.compile(
    rf"(?:[A-Z][\w'’]{{1,20}}\s(?:[A-Z][\w'’]{{1,20}}\s)?(?:House|Cottage|Farm|Lodge|Court|Rectory|Barn|Mill|Manor),?\s{{1,2}})?(?:(?:[Ff]lat|[Uu]nit|[Aa]pt\.?|[Aa]partment|[Ss]uite|the|[Nn]o\.?)\s\w{{1,6}},?\s{{1,2}})?(?<![\w.,/-])\d{{1,5}}[A-Za-z]?(?:-\d{{1,5}}[A-Za-z]?)?,?\s{{1,2}}(?:[NSEWnsew]\.?[WEwe]?\.?\s|(?:North|South|East|West)\s)?"
    r"(?:(?:[A-Z][\w'’.-]{0,24}|\d{1,3}(?:st|nd|rd|th)|of|the|and|de|la|el)\s{1,2}){1,4}$"
)
_LOWER_ROAD = re.compile(r"(?<![\w.,/-])\d{1,5}[a-z]?,?\s(?:[a-z][\w'’-]{2,20}\s){1,3}$")
_SURE_ROADS = frozenset(
    "street avenue ave road rd lane ln drive boulevard blvd crescent terrace parkway highway close gardens mews grove".split()
)
_AFTER_ROAD = re.compile(
    r"\.?(?:\s(?:N|S|E|W|NE|NW|SE|SW)\b\.?)?(?:,?\s{1,2}(?:apt\.?|apartment|suite|ste\.?|unit|flat|floor|#|fl\.?)\s?#?\s?[\w-]{1,6}\b)?",
    re.IGNORECASE,
)
_HOUSE_NAME = re.compile(
    r"(?:^|[\n:|]|\bat|\bof)\s{0,4}((?:[A-Z][\w'’]{1,20}\s){0,2}[A-Z][\w'’]{1,20},\s{1,2}(?:\d{1,4}[a-z]?\s)?)$"
)
_NAMED_ROAD = re.compile(r"(?:[A-Z][\w'’-]{1,24}\s){1,2}$")

_GERMAN_ROADS = tuple(
    "straße strasse str weg gasse allee platz ring damm ufer chaussee steig stieg markt hof graben berg wall zeile pfad park garten brücke kamp twiete promenade".split()
)
_GERMAN_NUMBER = re.compile(
    r"\.?,?\s{1,2}(?:Nr\.\s?)?\d{1,4}\s?[a-h]?(?:\s?[-/]\s?\d{1,4}\s?[a-h]?)?(?![\w.,]?\d|\s?(?:mg|ml|%|cm|mm|x\b|Tage|Jahre|h\b|Std|Uhr))(?:,\s\d{1,2}\.\s?(?:OG|Og|og|Stock|Etage|DG|UG)\b|,\s(?:EG|DG)\b)?"
)
_GERMAN_PREPOSITIONS = frozenset("an am im in auf zum zur unter hinter vor beim bei".split())
_GERMAN_AT = re.compile(
    r"(?:An? der|Am|An den|Im|In der|In den|Auf der|Auf dem|Zum|Zur|Unter den|Hinter der|Vor dem|Beim|Bei der)\s"
    r"(?:[a-zäöüß]{3,12}n\s)?(?:[A-ZÄÖÜ][a-zäöüß-]{2,24}\s){1,2}\d{1,3}\s?[a-h]?(?=\s*(?:[,;)\n]|$|in\b|\d{5}\b))"
)
_HOUSE = re.compile(r"\d{1,4}(?:\s?(?:bis|ter|quater|[A-D]))?\s?,?\s{1,2}$")
_FRENCH_ROAD = re.compile(
    r"(?:\d{1,4}(?:\s?(?:bis|ter|quater|[A-D])\b)?\s?,?\s{1,2})?(?:rue|avenue|av\.|boulevard|bd\.?|bld|place|pl\.|allées?|chemin|impasse|quai|route|cours|square|passage|faubourg|villa|résidence|sentier|lotissement|hameau|ruelle|esplanade|montée|traverse|rond-point|lieu-dit|lieudit|clos|domaine|zone|voie|sente|mail|parvis|promenade|venelle|cité)\s{1,2}"
    rf"(?:(?:{_PARTICLE})\s?){{0,3}}{_CAP}(?:[\s-](?:(?:{_PARTICLE})\s?){{0,3}}{_CAP}){{0,4}}|"
    r"\d{1,4}(?:\s?(?:bis|ter)\b)?\s?,?\s{1,2}(?:rue|avenue|boulevard|bd|place|allée|chemin|impasse|quai|route)\s(?:[\w'’-]{1,20}\s?){1,4}(?=[,;\n.(]|$|\s\d{5}\b)",
    re.IGNORECASE,
)
_FRENCH_WORDS = frozenset(
    "rue avenue av boulevard bd bld place pl allée allées chemin impasse quai route cours square passage faubourg villa résidence sentier lotissement hameau ruelle esplanade montée traverse lieu lieudit clos domaine voie sente parvis venelle cité".split()
)
_FRENCH_BUILDING = re.compile(
    r"\b(?:résidence|immeuble|bâtiment|bât|appt?|appartement|hameau|villa|le|la|les)\b\.?[^\n,;:]{1,40},\s(?:(?:bât|appt?|esc|étage|entrée)\.?\s?\w{1,3},\s)?$",
    re.IGNORECASE,
)
_SPANISH_ROAD = re.compile(
    r"(?:C/|Cl\.|Calle|Avenida|Avda?\.?|Avd\.|Av\.|Plz\.|Bda\.|Res\.|Cra\.|Cno\.|Partida|Ptda\.|Plaza|Pza\.?|Pl\.|Paseo|P[º°.]|Camino|Carretera|Ctra\.?|Ronda|Travesía|Urbanización|Urb\.|Glorieta|Callejón|Rambla|Gran Vía|Passeig|Carrer|Rúa|Pasaje|Barrio|Polígono|Cuesta|Costanilla)\s{0,2}"
    rf"(?:(?:{_PARTICLE})\s){{0,3}}{_CAP}(?:\s(?:(?:{_PARTICLE})\s){{0,3}}{_CAP}){{0,4}}(?:\s?,?\s{{0,2}}(?:n[º°.o]{{0,2}}\s?|número\s|núm\.?\s|nro\.?\s|km\.?\s|casa\s|bajo\s|piso\s|portal\s|bloque\s)?\d{{1,4}}(?:[- ]?[A-D]\b)?(?:\s?,?\s{{0,2}}\d{{1,2}}\s?[º°ªo]\.?(?:\s?[A-Z]\b|\s(?:izq|dcha|izquierda|derecha)\.?)?)?|,?\s?s/n)?",
    re.IGNORECASE,
)
_SPANISH_WORDS = frozenset(
    "c cl calle avenida avda avd av plz bda res cra cno partida ptda plaza pza pl paseo p camino carretera ctra ronda travesía urbanización urb glorieta callejón rambla gran passeig carrer rúa pasaje polígono cuesta costanilla barrio".split()
)
_ROAD_WORDS = _ROADS | _FRENCH_WORDS | _SPANISH_WORDS

_AREAS = (
    "AB|AL|B|BA|BB|BD|BH|BL|BN|BR|BS|BT|CA|CB|CF|CH|CM|CO|CR|CT|CV|CW|DA|DD|DE|DG|DH|DL|DN|DT|DY|E|EC|EH|EN|EX|FK|FY|G|GL|GU|HA|HD|HG|HP|HR|HS|HU|HX|IG|IP|"
    "IV|KA|KT|KW|KY|L|LA|LD|LE|LL|LN|LS|LU|M|ME|MK|ML|N|NE|NG|NN|NP|NR|NW|OL|OX|PA|PE|PH|PL|PO|PR|RG|RH|RM|S|SA|SE|SG|SK|SL|SM|SN|SO|SP|SR|SS|ST|SW|SY|TA|TD|"
    "TF|TN|TQ|TR|TS|TW|UB|W|WA|WC|WD|WF|WN|WR|WS|WV|YO|ZE"
)
_UK_CODE = re.compile(
    rf"[A-Z](?<!\w[A-Z])(?<=[A-Z])(?:(?<=(?:B|E|G|L|M|N|S|W))|[A-Z])\d[A-Z\d]?\s?\d[ABD-HJLNP-UW-Z]{{2}}(?!\w)"
)
_UK_AREA = re.compile(rf"(?:{_AREAS})(?=\d)")
_STATES = "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC"
_STATE_NAMES = (
    "Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|"
    "Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|New Hampshire|New Jersey|New Mexico|New York|North Carolina|North Dakota|"
    "Ohio|Oklahoma|Oregon|Pennsylvania|Rhode Island|South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|Virginia|Washington|West Virginia|Wisconsin|Wyoming"
)
_CITY = (
    r"(?:St\.\s)?[A-ZÀ-Þ][\w'’-]{1,24}(?:[ ](?:de la|de|la|del|of|upon|on|sur|am|an der|ob der|vor der|y|d['’][A-ZÀ-Þ][\w'’-]{1,24}|[A-ZÀ-Þ][\w'’-]{1,24})){0,3}"
)
_STATE_CODES = frozenset(_STATES.split("|"))
_STATE_BEGINNINGS = frozenset(name.split()[0].casefold() for name in _STATE_NAMES.split("|"))
_STATE = re.compile(rf"(?:{_STATES}|{_STATE_NAMES})\b\.?(?P<zip>,?\s{{1,2}}\d{{5}}(?:-\d{{4}})?\b)?", re.IGNORECASE)
_BEFORE_STATE = re.compile(rf"{_CITY},\s{{1,2}}$")
_DEGREES = frozenset("MD PA DO RN NP ND MA CO DE MS OR IN ME OK HI".split())
"""States that are a degree or a word as well."""
_CODE_WORDS = frozenset("zip zipcode postcode plz postleitzahl postal cp box postfach bp correos apartado".split())
_BOXES = frozenset({"postfach", "bp", "apartado", "correos"})
_POST = re.compile(r"\b(?:p\.?\s?o\.?|[rh][rc]\s?\d{1,3},?)\s$", re.IGNORECASE)
_CODE = re.compile(
    r"(?: ?code)?\.?\s?[:#]?\s{0,2}((?:[DF]-)?(?:\d{4,5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|\d{1,3}(?: \d{2,3}){1,3}|\d{1,4}))(?![\w.,]?\d)"
)
_CODE_CITY = re.compile(rf"\d(?<![\w.,/]\d)\d{{3,4}}\s{{1,2}}(?P<city>{_CITY})(?:\s(?:Cedex|CEDEX)(?:\s\d{{1,2}})?)?")
_COUNTRY = re.compile(r"\b(?:D|F|E|A|CH|DE|FR|ES)[- ]$")
_NO_TOWNS = frozenset(
    "general royal community district memorial university city county regional central teaching health children women veterans outpatient day pain fracture memory eye dental sleep heart cancer surgical medical für des the our this local his her walk-in fertility diabetes stroke wound lipid universitario universitaire".split()
)
_LINE_END = re.compile(r"\s{0,3}(?:[,;.)(\n|]|$|-|–)")
_LINE_START = re.compile(r"(?:^|[\n,;|(:]|\bin|\bà|\ben|\bat|-|–|·)\s{0,3}$")

_CUES: Mapping[str, frozenset[str]] = {
    last: frozenset(before.split())
    for last, before in {
        "in": "daughter son sister brother mother father parents family cousin uncle aunt farm house home work job church facility pharmacy shop store office stayed staying holiday grew spent spends live lives living lived reside resides residing resided resident born raised moved relocated works worked retired home wohnhaft wohnt wohnend lebt lebend geboren geb ansässig",
        "from": "moved originally transferred relocated travelled traveled flew comes hails",
        "at": "lives living residing resides address",
        "to": "moved relocated transferred travelled traveled flew retired",
        "of": "resident town city village suburb native outside",
        "near": "lives living",
        "outside": "lives living",
        "aus": "gebürtig stammt kommt gebürtiger",
        "nach": "umgezogen gezogen verlegt",
        "à": "fait fille fils mère père famille frère sœur maison habite habitant habitait demeurant domicilié domiciliée réside résidant résident vit né née hospitalisé hospitalisée suivi suivie déménagé",
        "de": "originaire ville commune canton département quartier natural vecino vecina procedente barrio provincia municipio localidad pueblo comarca ciudad trasladado trasladada",
        "en": "hija hijo madre padre familia hermano hermana casa trabaja vive reside residente domicilio domiciliado domiciliada nacido nacida empadronado empadronada habite",
        "desde": "trasladado trasladada", "a": "trasladado trasladada",
    }.items()
}  # fmt: skip
"""Word -> words one of which must stand before it, so that a place follows."""
_LABELS = frozenset(
    "wohnort geburtsort ort stadtteil ortsteil landkreis gemeinde bezirk city town county ciudad ville localidad commune birthplace birth naissance nacimiento municipio provincia residence residencia".split()
)
"""Words that a colon and then a place stand behind."""
_MOVED = re.compile(r"\b(?:moved|relocated|emigrated|came|born|transferred|raised|lived|retired|drove|returned|travell?ed|flew|commutes)\b[^.\n]{0,32}$")
_GERMAN_PARTS = frozenset("stadtteil ortsteil landkreis gemeinde bezirk".split())
_CUED_CITY = re.compile(rf"(?:the )?{_CAP}(?:[\s-](?:(?:{_PARTICLE})\s){{0,2}}{_CAP}){{0,3}}")
_IN_ADDRESS = re.compile(
    rf"(?:[ ]?[,;|]|\s[-–]|\n|\sin(?=\s[A-ZÄÖÜ])|\sà(?=\s[A-Z])|\sde(?=\s[A-Z]))\s{{0,3}}(?:\d{{1,2}}[.º°ªo]{{1,2}}\s?(?:[A-Z]\b|OG|Stock|piso|étage|izq\.?|dcha\.?)?[,\s]{{1,3}})?"
    rf"(?:(?P<code>(?:[A-Za-z]{{1,2}}-)?\d{{4,5}}(?:-\d{{4}})?\b|[A-Z]{{1,2}}\d[A-Z\d]?\s?\d[A-Z]{{2}}\b)(?:[\s,-]{{1,4}}(?:in\s)?{_CITY})?|{_CITY}(?:,?\s(?:[A-Z]{{2}}\b|[A-Z]{{1,2}}\d[A-Z\d]?\s?\d[A-Z]{{2}}\b)(?:\s\d{{5}})?)?)"
)
"""A postcode, a town or both behind a street."""
_BEFORE_CODE = re.compile(rf"{_CITY}(?:,?\s{{1,2}}|,\s{{0,2}})$")
_HOSPITALS = frozenset(
    "hospital infirmary clinic clinics surgery practice hospice klinikum krankenhaus klinik kliniken universitätsklinikum universitätsklinik kreiskrankenhaus stadtkrankenhaus praxis hôpital clinique chu chr ch chru centre center centro ambulatorio".split()
)
_GERMAN_HOSPITALS = (
    "klinikum",
    "krankenhaus",
    "klinik",
    "kliniken",
    "spital",
    "medizin",
    "hospital",
    "stift",
    "charité",
)
_HOSPITAL_IN = re.compile(
    rf"(?:\s(?:universitaire|universitario|général|general|régional|regional|clínico|comarcal|intercommunal))?(?:\s(?:in|von|de|d['’]|du|del|de la|at|of))?\s(?P<city>{_CITY})"
)
_HOSPITAL_OF = re.compile(
    r"(?P<city>[A-Z][\w'’-]{2,24}(?:[ ](?:upon|on|of)[ ][A-Z][\w'’-]{2,24}|[ ][A-Z][\w'’-]{2,24})?)[ ]"
    r"(?:(?:General|Royal|Community|District|Memorial|University|City|County|Regional|Central|Teaching|Health|Medical|Valley|Family|Internal|Medicine|Urgent|Care|Imaging|Cancer|Heart|Children's|Women's|Surgical|Mercy|Veterans|Physicians|Primary|Street|Road)[ ]){0,3}$"
)
_REGION_BEFORE = frozenset(
    "north south east west greater mid upper lower county landkreis kreis département departement provincia comarca comunidad canton arrondissement pays vallée isla isle".split()
)
_REGION = re.compile(
    rf"\s(?:de\s(?:la\s|los\s|las\s)?|del\s|du\s|d['’]|des\s|of\s)?{_CAP}(?:[\s-](?:(?:{_PARTICLE})[\s-]){{0,2}}{_CAP}){{0,2}}"
)
_DATELINE = re.compile(
    rf"(?:^|\n|\s\s|\.\s)\s{{0,8}}(?P<city>{_CITY}),\s(?=(?:den|le|a|am|el)\s(?:\d{{1,2}}|\w{{4,10}},?\s(?:den\s)?\d))"
)
_COUNTIES = frozenset({"county", "parish", "borough", "township"})
_BEFORE_COUNTY = re.compile(r"(?:[A-Z][\w'’-]{1,20}\s){1,3}$")
METHODS = frozenset(
    "coma scale score scores classification criteria criterion stage staging grade grading index type types definition declaration protocol protocols study trial method "
    "staining test group consensus agreement system questionnaire cohort heart risk virus fever disease syndrome sign catheter rule rules guideline guidelines model "
    "klassifikation kriterien kriterium skala stadium stadien protokoll studie einteilung konsensus virus fieber krankheit syndrom zeichen "
    "échelle critères échelles étude classificación clasificación criterios escala estudio protocolo consenso variant strain breast plane stool chart prognostic depression catheter scoring manual operation procedure knee hip type-a longevity".split()
)
"""Words that make a method, study or disease of the place or person before them."""
_METHOD_BEFORE = frozenset(
    "classification klassifikation clasificación criteria kriterien critères criterios échelle escala score scale skala protocole protocolo protocol definition déclaration "
    "declaración consensus consenso syndrome síndrome maladie enfermedad morbus signe signo test étude estudio study trial virus fièvre fiebre stade type tipo".split()
)
_IN = {
    "en": frozenset("in from at to near of outside around".split()),
    "de": frozenset("in aus nach bei um".split()),
    "fr": frozenset("à de en vers depuis".split()),
    "es": frozenset("en de a desde hasta".split()),
}
"""Words before a place that is a word as well."""


def find_places(seen: Text) -> Iterator[Finding]:
    """Yield streets, postcodes, cities and counties, and what stands behind a street in an address."""
    for finding in _found(seen):
        yield finding
        if more := _IN_ADDRESS.match(seen.text, finding.end):
            if more["code"] or _is_line_end(seen.text, more.end()):
                yield Finding(Kind.PLACE, finding.end, more.end())


def _is_line_end(text: str, at: int) -> bool:
    return _LINE_END.match(text, at) is not None


def _found(seen: Text) -> Iterator[Finding]:
    for i, word in enumerate(seen.folded):
        if word in _ROAD_WORDS or word.endswith(_GERMAN_ROADS):
            yield from _roads(seen, i)
        if word in _CODE_WORDS:
            yield from _code(seen, i)
        elif word in _COUNTIES and (
            named := _BEFORE_COUNTY.search(seen.text, max(0, seen.starts[i] - 64), seen.starts[i])
        ):
            yield Finding(Kind.PLACE, named.start(), seen.ends[i])
        if (
            seen.language == "en"
            and (word.upper() if seen.is_small else seen.words[i]) in _STATE_CODES
            or word in _STATE_BEGINNINGS
        ):
            yield from _with_state(seen, i)
        if word in _CUES or word in _LABELS:
            yield from _cued(seen, i)
        if (
            word in _REGION_BEFORE
            and (region := _REGION.match(seen.text, seen.ends[i]))
            and _is_region(seen, i, region[0])
        ):
            yield Finding(Kind.PLACE, seen.starts[i], region.end())
        if word.endswith("shire") and len(word) > 6 and seen.words[i][0].isupper():  # noqa: PLR2004 - a name before it
            yield Finding(Kind.PLACE, seen.starts[i], seen.ends[i])
        if word in _HOSPITALS or (seen.language == "de" and word.endswith(_GERMAN_HOSPITALS)):
            yield from _of_hospital(seen, i)
        if (
            seen.language == "de"
            and word in _GERMAN_PREPOSITIONS
            and (m := _GERMAN_AT.match(seen.text, seen.starts[i]))
        ):
            yield Finding(Kind.PLACE, m.start(), m.end())
    yield from _codes(seen)
    yield from _listed(seen)


def _is_region(seen: Text, i: int, name: str) -> bool:
    """Whether a region is meant: not "North American", not the start of a sentence alone."""
    word = seen.folded[i]
    if word in ("north", "south", "east", "west", "greater", "mid", "upper", "lower"):
        return seen.words[i][0].isupper() and (
            name.strip()
            .casefold()
            .endswith(
                (
                    "shire",
                    "sex",
                    "folk",
                    "london",
                    "manchester",
                    "side",
                    "yorkshire",
                    "wales",
                    "lothian",
                    "glamorgan",
                    "lanarkshire",
                    "midlands",
                )
            )
        )
    if word in ("county", "kreis", "isla", "isle", "comunidad"):
        return seen.words[i][0].isupper()
    return True


def _of_hospital(seen: Text, i: int) -> Iterator[Finding]:
    """Yield the town in a hospital's name."""
    text = seen.text
    before = _HOSPITAL_OF.search(text, max(0, seen.starts[i] - 60), seen.starts[i])
    if before and seen.words[i][0].isupper() and seen.language == "en":
        name = before["city"].split()[0].casefold()
        if name not in not_names() and name not in _NO_TOWNS:
            yield Finding(Kind.PLACE, before.start("city"), before.end("city"))
    after = _HOSPITAL_IN.match(text, seen.ends[i])
    if after and (" in " in after[0] or " de " in after[0] or seen.language == "de"):
        first = re.split(r"[\s-]", after["city"])[0].casefold()
        if (
            first not in not_names()
            and first not in _NO_TOWNS
            and (seen.language != "de" or " in " in after[0] or seen.words[i][0].isupper())
        ):
            yield Finding(Kind.PLACE, after.start("city"), after.end("city"))


def _code(seen: Text, i: int) -> Iterator[Finding]:
    """Yield a postcode or a post box behind the word for it."""
    if seen.folded[i] in ("bp", "cp") and seen.language not in ("fr", "es"):
        return
    if seen.folded[i] == "box" and not _POST.search(seen.text, max(0, seen.starts[i] - 10), seen.starts[i]):
        return
    if code := _CODE.match(seen.text, seen.ends[i]):
        post = _POST.search(seen.text, max(0, seen.starts[i] - 10), seen.starts[i])
        start = post.start() if post else seen.starts[i] if seen.folded[i] in _BOXES else code.start(1)
        yield Finding(Kind.PLACE, start, code.end())


def _with_state(seen: Text, i: int) -> Iterator[Finding]:
    """Yield a city before a state, and the ZIP code behind it."""
    text = seen.text
    state = _STATE.match(text, seen.starts[i])
    if state is None:
        return
    city = _BEFORE_STATE.search(text, max(0, seen.starts[i] - 64), seen.starts[i])
    has_zip = state["zip"] is not None
    if city and (has_zip or seen.words[i] not in _DEGREES or _is_place(city[0])):
        yield Finding(Kind.PLACE, city.start(), state.end())
    elif has_zip:
        yield Finding(Kind.PLACE, seen.starts[i], state.end())


def _codes(seen: Text) -> Iterator[Finding]:
    """Yield British postcodes, and cities behind their postcode."""
    text = seen.text
    for m in _UK_CODE.finditer(text):
        if _UK_AREA.match(m[0].upper()):
            town = _BEFORE_CODE.search(text, max(0, m.start() - 60), m.start())
            yield Finding(Kind.PLACE, town.start() if town else m.start(), m.end())
    for m in _DATELINE.finditer(text):
        yield Finding(Kind.PLACE, m.start("city"), m.end("city"))
    for m in _CODE_CITY.finditer(text):
        framed = _LINE_START.search(text, max(0, m.start() - 6), m.start()) and _LINE_END.match(text, m.end())
        if (framed and seen.language != "en") or _is_place(m["city"]):
            before = _COUNTRY.search(text, max(0, m.start() - 3), m.start())
            yield Finding(Kind.PLACE, before.start() if before else m.start(), m.end())


def _roads(seen: Text, i: int) -> Iterator[Finding]:
    """Yield the street whose word for one is word ``i``."""
    text, word, start, end = seen.text, seen.folded[i], seen.starts[i], seen.ends[i]
    is_capital = seen.words[i][0].isupper()
    if word in _ROADS:
        before = _BEFORE_ROAD.search(text, max(0, start - 70), start)
        before = before or (_LOWER_ROAD.search(text, max(0, start - 60), start) if word in _SURE_ROADS else None)
        if before and not (len(word) < 4 and seen.words[i].isupper()):  # noqa: PLR2004 - CT, DR
            after = _AFTER_ROAD.match(text, end)
            yield Finding(Kind.PLACE, before.start(), after.end() if after else end)
        elif word in _SURE_ROADS and is_capital and (named := _NAMED_ROAD.search(text, max(0, start - 40), start)):
            house = _HOUSE_NAME.search(text, max(0, named.start() - 60), named.start())
            yield Finding(Kind.PLACE, house.start(1) if house else named.start(), end)
    if word in _FRENCH_WORDS:
        first = _HOUSE.search(text, max(0, start - 12), start)
        at = first.start() if first else start
        if (m := _FRENCH_ROAD.match(text, at)) and (first or _has_capital(m[0], word)):
            building = _FRENCH_BUILDING.search(text, max(0, at - 70), at)
            yield Finding(Kind.PLACE, building.start() if building else at, m.end())
    if word in _SPANISH_WORDS and (is_capital or seen.language == "es") and (m := _SPANISH_ROAD.match(text, start)):
        if _has_capital(m[0], word) and (len(word) > 3 or any(map(str.isdecimal, m[0]))):  # noqa: PLR2004 - C/ alone is no street
            yield Finding(Kind.PLACE, start, m.end())
    if (
        seen.language == "de"
        and word.endswith(_GERMAN_ROADS)
        and (is_capital or len(word) > 8)
        and (m := _GERMAN_NUMBER.match(text, end))
    ):  # noqa: PLR2004 - longer than its ending
        yield Finding(Kind.PLACE, seen.starts[_first_of_road(seen, i)], m.end())


def _first_of_road(seen: Text, i: int) -> int:
    """Return the word that a German street begins with: Karl-von-der-Linde-Str., Lange Straße."""
    first = i
    while first and i - first < 4 and seen.before(first) in ("-", " "):  # noqa: PLR2004 - words
        hyphen = seen.before(first) == "-"
        if not (hyphen or (seen.words[first - 1][0].isupper() and seen.folded[i] in _GERMAN_ROADS)):
            break
        first -= 1
    return first


def _has_capital(found: str, word: str) -> bool:
    """Whether a name with a capital stands behind the word for a street."""
    rest = found[found.casefold().find(word) + len(word) :]
    return re.search(r"[A-ZÀ-Þ]", rest) is not None


def _is_place(text: str) -> bool:
    words = tuple(re.findall(r"[^\W\d_]+", text.casefold()))
    every = place_words()[1]
    return any(name == words[at : at + len(name)] for at in range(len(words)) for name in every.get(words[at], ()))


def _cued(seen: Text, i: int) -> Iterator[Finding]:
    """Yield what stands behind "lives in" and the like."""
    text, word, at = seen.text, seen.folded[i], i + 1
    if at >= len(seen.words) or not seen.words[at][0].isupper():
        return
    gap = seen.between(i)
    is_label = word in _LABELS and gap.strip(" ") in ((":", "") if word in _GERMAN_PARTS else (":",))
    is_cue = (word in ("from", "to", "in") and seen.language == "en" and gap == " " and _MOVED.search(text, max(0, seen.starts[i] - 48), seen.starts[i]) is not None) or (
        word in _CUES and i > 0 and gap in (" ", "\n") and seen.folded[i - 1] in _CUES[word]
    )
    place = _CUED_CITY.match(text, seen.starts[at]) if is_label or is_cue else None
    if place is None or seen.folded[at] in not_names():
        return
    end = place.start() + len(place[0].rstrip(".'’"))
    yield Finding(Kind.PLACE, place.start(), end)


def _listed(seen: Text) -> Iterator[Finding]:
    """Yield places of the list; those that are a word as well only behind a preposition."""
    clear, every = place_words()
    folded, taken = seen.folded, -1
    for i, word in enumerate(folded):
        if i <= taken or word not in every or not seen.words[i][0].isupper():
            continue
        for name in every[word]:
            last = i + len(name) - 1
            if last >= len(folded) or tuple(folded[i : last + 1]) != name:
                continue
            if any(seen.between(j) not in (" ", "-", "'", ". ", "’", "  ", "\n") for j in range(i, last)):
                continue
            after = folded[last + 1] if last + 1 < len(folded) and len(seen.between(last)) < 3 else ""  # noqa: PLR2004 - next to it
            before = folded[i - 1] if i else ""
            nearly = folded[i - 2] if i > 1 else ""
            if after in METHODS or before in _METHOD_BEFORE or nearly in _METHOD_BEFORE or seen.before(i).endswith("-"):
                break
            follows = (
                last + 1 < len(folded)
                and seen.between(last) == " "
                and seen.words[last + 1][0].isupper()
                and not seen.is_small
            )
            institution = (
                after in _HOSPITALS
                or after in ("general", "royal", "community", "district", "memorial", "university", "road", "street")
                or after in every
            )
            if follows and seen.language in ("en", "fr", "es") and not institution:
                break
            framed = (
                before in _IN[seen.language]
                or seen.before(i).endswith((", ", "(", ",\n", ": ", "| "))
                or seen.between(last)[:1] in ("", ",", ".", ";", ")", "\n", ":", "|")
                or institution
            )
            if not framed and seen.language == "en":
                break
            if seen.between(last).startswith("-") or (
                name not in clear.get(word, ()) and before not in _IN[seen.language]
            ):
                break
            yield Finding(Kind.PLACE, seen.starts[i], seen.ends[last])
            taken = last
            break
