"""Finds names of people: by title, by label, by kin, by signature, and by lists of names that are common."""

import re
from collections.abc import Iterator, Mapping, Sequence

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.places import METHODS
from medtune.data.identifiers.text import Text, read_text
from medtune.data.identifiers.vocabulary import clear_names, given_names, known_names, not_names, surnames

__all__ = ["find_names", "find_words", "name_words"]

_TITLES = frozenset(
    "pat pt dr prof professor mr mrs ms miss mx sir dame reverend nurse sister matron hon capt sgt herr herrn frau fr hr schwester pfleger fräulein "
    "dres doktor m mme mlle mm pr docteur docteure professeur monsieur madame mademoiselle maître me messieurs mmes "
    "sr sra srta dra don doña dña señor señora señorita doctor doctora profesor profesora d dª sres sras enfermera enfermero infirmière infirmier interne".split()
)
_SHORT_TITLES = frozenset("m d fr hr me pr mm ms sr dr".split())
"""Titles that are an initial or a word as well, so that a point must follow, or a capital word at once."""
_SURE_TITLES = frozenset(
    "dr mr mrs ms herr herrn frau mme mlle monsieur madame sra srta doña dra señor señora señorita miss prof docteur".split()
)
"""Titles behind which a name may stand in small letters."""
_DEGREES = frozenset(
    "med univ habil dent rer nat phil h c mult dipl psych pd priv doz phd md mag sc hc ing oa oä ca dr prof vet pharm iur msc bsc mba".split()
)
_PARTICLES = frozenset(
    "von van der den de la del di da du des el al bin ibn ten ter zu zur zum vom le las los dos das do e y i d l o ben abu san st saint della und op 't mc mac".split()
)
_LABELS = frozenset(
    "clinician requester requested dictated reporting reporter radiographer physio physiotherapist therapist dietitian pharmacist reviewed performed sign untersuchender unterschrift behandler behandlerin befunder diktat verfasser verfasserin "
    "rédacteur praticien redactor autor autora enfermera enfermero tutor relative angeh aidant proche hausarztpraxis zuweiser zuweiserin überweiser dr drs sra sr mr mrs ms herr frau mme m infirmiere referrer signatory informant next "
    "name names surname forename nachname vorname familienname geburtsname mädchenname nom naissance famille prénom prénoms nombre apellido apellidos patient patientin patiente paciente pt "
    "attending physician provider doctor surgeon consultant registrar gp pcp author by cc nok kin contact person attn attention from to nurse mother father wife husband son daughter brother sister "
    "spouse partner guardian caregiver carer neighbor neighbour friend resident radiologist pathologist hausarzt hausärztin oberarzt oberärztin chefarzt chefärztin stationsarzt stationsärztin arzt ärztin operateur "
    "operateurin untersucher untersucherin gez gezeichnet unterzeichnet angehörige angehöriger betreuer betreuerin ansprechpartner ansprechpartnerin kontaktperson kontakt ehefrau ehemann tochter sohn mutter vater "
    "schwester bruder an von médecin traitant chirurgien opérateur par signé validé prescripteur prévenir confiance interne infirmier infirmière médico médica facultativo cirujano cirujana firmado por fdo firma "
    "responsable contacto familiar esposa esposo hija hijo madre padre de para emergency sender recipient absender empfänger expéditeur destinataire remitente destinatario".split()
)
"""Words that a colon and then a name stand behind, in forms."""
_GREETINGS = frozenset(
    "dear hi hello hey liebe lieber hallo geehrte geehrter geehrten tag moin chère cher chers chères bonjour bonsoir confrère hola estimado estimada estimados querido querida apreciado apreciada morning afternoon".split()
)
_CLOSINGS = frozenset(
    "sincerely regards wishes truly faithfully thanks thx ta merci gracias danke dank bises cheers respectfully grüßen grüße grüssen grüsse hochachtungsvoll mfg lg vg cordialement confraternellement salutations amicalement distinguées confraternelles "
    "atentamente saludo saludos cordiales cordial cordialmente abrazo best you yours vous signed unterschrift signature firma".split()
)
_CALLED = frozenset(
    "née né geb geborene geborener geborenen formerly genannt verh verw dit alias aka soltera called named namens nommé nommée prénommé prénommée llamado llamada épouse veuve vve nacida".split()
)
_KIN = frozenset(
    "cousine cousin gendre bru marraine parrain concubin concubine tuteur tutrice copine copain collègue aîné aînée cadet cadette primo prima abuela abuelo bisnieta bisnieto ahijado ahijada hijastro hijastra novio novia exmarido "
    "compañera compañero tutora mayor menor stepmother stepfather godson godmother granddad gran nan grandma grandpa twin widow widower landlord flatmate housemate pastor attorney teacher supervisor half-sister schwager schwägerin oma opa "
    "großmutter großvater lebenspartner lebenspartnerin verlobte verlobter pflegetochter stiefsohn stieftochter patenkind zwillingsbruder zwillingsschwester schwiegermutter schwiegervater exmann exfrau "
    "dtr dau sis bro gf bf poa nok lar hcp wife husband son daughter mother father brother sister partner spouse aunt uncle niece nephew cousin grandson granddaughter grandmother grandfather carer caregiver neighbor neighbour friend fiancé fiancée girlfriend "
    "boyfriend stepson stepdaughter interpreter guardian roommate mum mom dad ehefrau ehemann ehegatte tochter sohn mutter vater bruder schwester tante onkel nichte neffe enkel enkelin enkeltochter enkelsohn lebensgefährte "
    "lebensgefährtin betreuer betreuerin nachbar nachbarin freund freundin schwiegertochter schwiegersohn partnerin époux mari femme fils fille mère père frère sœur soeur conjoint conjointe compagne "
    "compagnon oncle nièce neveu voisin voisine ami amie aidant aidante esposa esposo marido mujer hijo hija madre padre hermano hermana pareja tío tía sobrino sobrina nieto nieta cuñado cuñada vecino vecina amigo amiga "
    "cuidador cuidadora suegro suegra nuera yerno".split()
)
_OFFICES = frozenset(
    "by with saw see under per attending resident surgeon physician hospitalist consultant registrar intern fellow oberarzt oberärztin chefarzt chefärztin assistenzarzt assistenzärztin stationsarzt stationsärztin hausarzt hausärztin "
    "facharzt fachärztin kollege kollegen kollegin pflegekraft interne externe residente adjunto adjunta par por durch médico médica con avec mit bei durch worker manager therapist pharmacist interpreter dietitian counselor counsellor midwife patient patientin "
    "patiente paciente pt von".split()
)
_GERMAN_ROLES = frozenset(
    "oberarzt oberärztin chefarzt chefärztin assistenzarzt assistenzärztin stationsarzt stationsärztin hausarzt hausärztin facharzt fachärztin kollege kollegin kollegen pfleger pflegerin schwester krankenschwester krankenpfleger "
    "physiotherapeut physiotherapeutin logopäde logopädin ergotherapeut ergotherapeutin psychologe psychologin sozialarbeiter sozialarbeiterin hebamme radiologe radiologin chirurg chirurgin anästhesist anästhesistin internist internistin neurologe neurologin kardiologe kardiologin".split()
)
_THANKS = frozenset("thanks thx ta danke dank merci gracias lg vg mfg cheers".split())
_WITH = frozenset("with con avec mit".split())
_LIVING = frozenset("lives living lived live lebt wohnt vit vive convive acude viene came attended vient habite spoke spoken habla hablado parlé discussed".split())
_FUNCTION_WORDS = frozenset(
    "by with saw see under per par por durch con avec mit bei von pt patient patientin patiente paciente".split()
)
_ROLES = frozenset(
    "sho spr fy f1 fy1 fy2 cns hca anp acp gp rn np pa cnm lpn cna mir due tcae ide iade as ash rmo hmo ha mfa pp pa".split()
)
"""Short names of offices, in capitals."""
_DEGREE_WORDS = frozenset(
    "RT PT OT MA CNP CRNP DNP FNP RDN LMSW MSW EMT CCC MD DO PhD RN NP PA FRCP FRCS MRCP MBBS MBChB DPT LCSW PharmD RPh FACS FACP APRN CRNA MRCGP BSN MSN LPN OTR DDS FRCR FRCPath MRCS FRCA RNP CNM RD SLP PsyD LPC CNA LVN".split()
)
_INITIAL = re.compile(r"[A-ZÀ-Þ]\.?(?![\w])")
_GAPS = frozenset({" ", "  ", "-", "'", "’", ". ", ".", "\u00a0", "-\n", "\n"})
_EPONYM_AFTER = METHODS | frozenset(
    "disease diseases syndrome syndromes sign signs test tests fracture fractures lymphoma sarcoma tumor tumour tumors catheter catheters tube tubes cyst cysts duct node nodes reflex phenomenon "
    "palsy anemia anaemia thyroiditis procedure operation stain esophagus oesophagus body bodies cell cells chorea ataxia dystrophy maneuver manoeuvre position incision forceps clamp clip graft flap "
    "suture gland glands canal ligament angle line lines space triangle point pouch hernia ulcer ulcers neuropathy tremor fever sarcomas contracture deformity bladder respiration murmur drain port needle line score scores "
    "scale scales formula equation nomogram classification grading paradox law effect receptor factor antigen solution agar medium tourniquet bandage collar splint brace frame boots stockings stitch disorder epilepsy triad tetrad sequence "
    "krankheit syndrom zeichen test fraktur lymphom sarkom tumor katheter sonde zyste reflex phänomen lähmung anämie thyreoiditis operation färbung ösophagus körperchen ulkus drainage skala score index lagerung "
    "hernie plastik klassifikation manöver handgriff schnitt naht punkt linie dreieck raum drüse kanal band winkel formel".split()
)
_EPONYM_BEFORE = frozenset(
    "morbus maladie maladies enfermedad syndrome síndrome syndrom signe signo zeichen test score échelle escala skala fracture fractura fraktur manœuvre manoeuvre maniobra réflexe reflejo sonde sonda tumeur tumor lymphome linfoma "
    "chorée corea classification clasificación klassifikation nach selon según stade estadio critères criterios indice índice corps cuerpos cellules células contracture contractura paralysie parálisis thyroïdite tiroiditis opération operación technique técnica "
    "procédure procedimiento procédé méthode método coloration tinción formule fórmula équation ecuación canal ligament ligamento triangle triángulo cul espace espacio ulcère úlcera hernie hernia trouble kyste quiste drain drenaje".split()
)
_TITLED = _TITLES | _DEGREES
_CUES = _LABELS | _GREETINGS | _CLOSINGS | _CALLED | _KIN | _OFFICES | _GERMAN_ROLES | _ROLES
_COLON = re.compile(
    r"[^\S\n]{0,2}(?:[:=|]|\.{3,}|…|/|\(s\)\s?:)[\s|]{0,4}[*_]{0,2}|\s?:\s{0,12}|[ ]?[.]{2,40}[ :]{0,3}"
)
_SCALE = re.compile(r"\s(?:\d|[A-C]\d?\b|[IV]{1,3}\b|≥|>|=|<)|-[A-Z]?\d")
"""A grade or score behind a name, which then is a scale's."""
_ET_AL = re.compile(r",?\s(?:et al|et\scoll|u\. ?a\.|y cols?|und Mitarb)|\s(?:[A-Z]{1,2},\s)+|,?\s\(?(?:19|20)\d\d")
_INITIALS = re.compile(r"[A-Z](?<![\w.][A-Z])\.\s?(?:[A-Z]\.\s?){1,2}(?![\w.])(?<!\s)")
_NO_INITIALS = frozenset(
    "us uk md do np pm am bc rn sa eu iv po sc im ad ba bs ma ms pa od os ou hs qd bid id cc ie eg zb ua dh uu va ca za oa".split()
)
_ONE = r"[A-ZÀ-Þ](?:['’][A-ZÀ-Þ])?[\w]{1,24}(?:[-'’][A-ZÀ-Þa-z][\w]{0,24}){0,3}"
_WHOLE = rf"(?:(?:von|van|der|de|la|le|di|da|del|du|d['’])[ ]?){{0,2}}{_ONE}(?:[ ](?:(?:y|de|von|del|la|dos)[ ]){{0,2}}{_ONE}){{0,2}}"
_IN_LIST = re.compile(
    rf"(?:^|\n|\d[.):]?[ ]{{1,3}}|[|:][ ]|\.{{3,}}[ ])[-*•]?[ ]?(?P<name>{_WHOLE},[ ]?{_ONE}(?:[ ][A-Z]\.?(?!\w)|[ ]{_ONE}){{0,2}})(?=[ ]{{2,}}|[ ]?\n[ ]{{2}}|[ ]\(|,?[ ]{{1,2}}\d{{1,3}}[ ]?[a-zA-Z]{{1,5}}\b|[ ]{{0,3}}[*|]|,[ ]\d{{2}}\b)"
)
_UNDER_DASHES = re.compile(
    rf"(?:^|\n)[-–_]{{2,}}[ ]?\n[ ]{{0,4}}(?:Dr\.?[ ]|Prof\.?[ ])?(?P<name>{_WHOLE})(?=[ ]?(?:\n|,|\||$|\())"
)
_JOINING = frozenset("y e und and de d la le en".split())
"""Words inside of names that none begins with."""
_MORE = re.compile(rf"(?:-[A-ZÀ-Þ][\w]{{1,24}}|['’][A-ZÀ-Þ]?[\w]{{2,24}}|[ ](?:(?:de|del|von|van|y|da|dos|di|du)[ ]|d['’])(?:(?:la|las|los|der|den)[ ])?{_ONE}|[ ]?-[ ]?{_ONE}){{0,3}}")
_UNDERSCORES = re.compile(rf"_{{2,}}[ ]?(?P<name>[A-Z]\.?[ ]{_WHOLE}|{_WHOLE})(?=[ ]?_{{2,}})")
_INITIAL_LINE = re.compile(rf"(?:(?:^|\n)[-*• ]{{0,3}}|:[ ]{{1,4}}|[ ]{{2,}}|\|[ ])(?P<name>[A-Z]\.?[ ](?:[A-Z]\.?[ ])?(?:(?:von|van|de|der|del|di|la|le|d['’])[ ]?){{0,2}}[A-ZÀ-Þ](?:['’][A-ZÀ-Þ])?\w{{2,24}}(?:[-'’ ][A-ZÀ-Þ]\w{{1,24}}){{0,2}})(?=[ ]{{0,2}}(?:\n|,|$|\||[ ]{{2}}))")
_LABELLED_LINE = re.compile(rf"(?:(?:^|\n)[ ]{{0,4}}|[ ]{{2,}})(?P<label>[A-ZÀ-Þ][\w]{{2,20}})[ ]?:[ ]{{1,4}}(?P<name>{_ONE}[ ](?:[A-Z]\.[ ]|(?:y|de|von|del|la|dos)[ ]){{0,2}}{_ONE}(?:[ ]{_ONE})?)(?=[ ]{{0,2}}(?:\n|,|$|\||[ ]{{2}}|\())")
_BARE_LABEL = re.compile(rf"(?:^|\n)[-*• ]{{0,3}}(?:Name|Patient|Patientin|Nom|Nombre|Paciente|Surname|Nachname|NAME|PATIENT|NOM|PACIENTE)[ ]{{1,6}}(?P<name>{_WHOLE}(?:,[ ]?{_WHOLE})?)(?=[ ]{{0,2}}(?:\n|$|[ ]{{2}}))")
_DOING = re.compile(
    r"(?<![\w.])(?P<name>[A-Z]{2})[ ](?=(?:reports?|denies|states|says|lives|complains|presents|presented|attended|feels|wants|refuses|asked|agreed|tolerated|slept|ate|walked|remains|understands|"
    r"berichtet|klagt|gibt an|lebt|wohnt|verneint|stellt sich|fühlt|schlief|möchte|wünscht|rapporte|signale|vit|décrit|se plaint|dit|refuse|accepte|dort|mange|souhaite|"
    r"refiere|niega|acude|vive|comenta|dice|quiere|rechaza|duerme|come)\b)"
)
_SUBJECT = re.compile(r"(?:^|[.!?]\s|\n[-*•]?\s{0,2})(?P<name>[A-Z]{2})[ ](?=[a-zà-ÿ])")
_ABBREVIATIONS = frozenset(
    "BP HR RR CT MR US GI GU IV PO IM SC PT OT CV HF MI AF PE DM CK CR NA CL LV RV EF LA RA EM ED ER OR OB UK EU WBC RN NP PA MD CI HT TA FC FR TC RM GB CR EG EP UR AP AC MV RX TX DX HX FX SX SV BZ LT QT SR VS GP AV VA DD VT VF HB".split()
)
_ENDS = re.compile(r"[ ]{0,3}(?:[,\n(|]|$|[ ]{2}|\d)|\sum\s|\sat\s\d")
_MOST_WORDS = 9
_SENTENCE = re.compile(r"[.!?:]\s+$|\n\s*$|^\s*$|[•*\-–]\s$")
_GERMAN_NOUN = re.compile(
    r"(?:ung|ungen|heit|keit|schaft|tion|tionen|itis|ose|osen|ie|ien|schmerz|schmerzen|therapie|sucht|werte?|befund|druck|kranke|krankheit|infarkt|insuffizienz|medikation|gabe|"
    r"aufnahme|entlassung|kontrolle|untersuchung|tablette|tabletten|zentrum|station|ismus|enz|anz|ik|ität|om|ome|ur|uren|ion)$"
)


def find_names(seen: Text) -> Iterator[Finding]:
    """Yield names, then their parts wherever these stand again."""
    at_start = {start: i for i, start in enumerate(seen.starts)}
    found = [_widened(seen, finding, at_start) for finding in _named(seen)]
    spans = sorted({(f.start, f.end) for f in found})
    yield from found
    yield from _again(seen, spans)


def _widened(seen: Text, finding: Finding, at_start: Mapping[int, int]) -> Finding:
    """Return a name with what belongs to it on both sides: initials, particles, parts with a hyphen, words with a capital."""
    first = at_start.get(finding.start)
    if first is None:
        return finding
    i = first
    while i and first - i < 4 and _belongs_before(seen, i - 1):  # noqa: PLR2004 - parts of a name
        i -= 1
    while i < first and seen.folded[i] in _JOINING:
        i += 1
    after = _MORE.match(seen.text, finding.end)
    return Finding(finding.kind, seen.starts[i], after.end() if after and after[0] else finding.end)


def _belongs_before(seen: Text, k: int) -> bool:
    """Whether word ``k`` is a part of the name that begins behind it."""
    word, folded, gap = seen.words[k], seen.folded[k], seen.between(k)
    if gap not in (" ", "-", "'", "’", ". ", "."):
        return False
    before = seen.before(k)[-1:]
    if len(word) == 1:
        return word.isupper() and gap != "-" and (k == 0 or before in "\n:, |_(") and folded not in ("a", "i", "y", "e", "o")
    if folded in _PARTICLES:
        return gap != ". "
    if gap in (". ", ".") or folded in not_names() or folded in _TITLED or not word[0].isupper():
        return False
    if gap == "-" or folded in known_names():
        return True
    begins = k == 0 or _SENTENCE.search(seen.text[max(0, seen.starts[k] - 4) : seen.starts[k]])
    return seen.language != "de" and not begins


def _named(seen: Text) -> Iterator[Finding]:
    yield from _titled(seen)
    yield from _behind_cues(seen)
    yield from _before_degree(seen)
    yield from _listed(seen)
    yield from _in_forms(seen)
    for m in _INITIALS.finditer(seen.text):
        if "".join(filter(str.isalpha, m[0])).casefold() not in _NO_INITIALS:
            yield Finding(Kind.NAME, m.start(), m.end())


def _titled(seen: Text) -> Iterator[Finding]:
    """Yield what stands behind a title."""
    words, folded = seen.words, seen.folded
    for i, word in enumerate(folded):
        if word not in _TITLES:
            continue
        gap = seen.between(i)
        if words[i][0].islower() and not words[i].islower():  # mRS is a scale
            continue
        if word in _SHORT_TITLES and word not in ("dr", "mr", "ms", "sr") and not gap.startswith((". ", ".", "ª", " ")):
            continue
        if word in ("m", "d", "me", "fr", "hr", "mm", "pr", "hon", "sir") and not words[i][0].isupper():
            continue
        if word in ("m", "d") and not gap.startswith((". ", ".", "ª")):
            continue
        if word in ("pat", "pt") and not gap.startswith((". ", ".\n")):
            continue
        j = i + 1
        while j < len(words) and folded[j] in _DEGREES | {"dr", "prof"} and _is_near(seen.between(j - 1)):
            j += 1
        if j >= len(words) or not _is_near(seen.between(j - 1)):
            continue
        end = _name_end(seen, j, strict=False)
        if end is not None:
            yield Finding(Kind.NAME, seen.starts[j], end)
        elif (
            word in _SURE_TITLES
            and words[j].islower()
            and folded[j] not in not_names()
            and (folded[j] in given_names()[1] or folded[j] in surnames()[1])
        ):
            k = j + 1
            more = (
                k < len(words) and seen.between(j) in (" ", "-") and words[k].islower() and folded[k] in surnames()[0]
            )
            yield Finding(Kind.NAME, seen.starts[j], seen.ends[k if more else j])


def _is_near(gap: str) -> bool:
    return (
        len(gap) <= 4 and not any(c in ":;!?)=,0123456789" for c in gap) and gap.count(".") < 2 and gap.count("\n") < 2
    )  # noqa: PLR2004 - between title and name


def _name_end(seen: Text, first: int, *, strict: bool = False, lines: bool = False) -> int | None:
    """Return where a name ends that begins with word ``first``; None where there is none."""
    words, folded, last, at = seen.words, seen.folded, None, first
    while at < len(words) and at - first < _MOST_WORDS:
        word = words[at]
        if at > first:
            gap = seen.between(at - 1)
            comma = (
                gap in (", ", ",", ",\n")
                and last == at - 1
                and at - first <= 2
                and (lines or folded[at] in given_names()[1])
                and folded[at] not in not_names()
            )
            if (
                seen.is_small
                and not comma
                and len(word) > 1
                and last is not None
                and folded[at] not in surnames()[1]
                and folded[at] not in given_names()[1]
                and not lines
                and gap != "-"
                and folded[at - 1] not in _PARTICLES
                and not _ENDS.match(seen.text, seen.ends[at])
            ):
                break
            initial = len(words[at - 1]) == 1
            if gap not in _GAPS and not comma:
                break
            if "\n" in gap and not (
                gap in ("\n", "-\n", ",\n")
                and (comma or (folded[at] in surnames()[1] and folded[at] not in not_names()))
            ):
                break
            if "." in gap and not initial and folded[at - 1] not in ("st", "mc", "jr", "hr", "fr", "frl"):
                break
        if (
            folded[at] in _PARTICLES
            and (at == first or not word.isupper() or len(word) > 1)
            and (word.islower() or last is None or len(word) > 1)
        ):
            if word[0].isupper() and folded[at] not in not_names() and at > first:
                last = at
            at += 1
            continue
        if not word[0].isupper():
            break
        if len(word) == 1:
            if at == first and not seen.between(at).startswith((".", " ", "-", "'", "’")):
                break
            if last is not None:
                last = at
            at += 1
            continue
        if (folded[at] in not_names() and folded[at] not in surnames()[1]) or (
            strict and folded[at] not in given_names()[1] and folded[at] not in surnames()[1]
        ):
            break
        if (
            seen.language == "de"
            and last is not None
            and folded[at] not in surnames()[1]
            and folded[at] not in given_names()[1]
            and _GERMAN_NOUN.search(folded[at])
        ):
            break
        last, at = at, at + 1
    if last is None:
        initials = at - first
        if initials > 1 and all(len(w) == 1 and w.isupper() for w in words[first:at]):
            return seen.ends[at - 1] + 1
        return None
    end = seen.ends[last]
    return end + 1 if len(words[last]) == 1 and seen.text[end : end + 1] == "." else end


def _behind_cues(seen: Text) -> Iterator[Finding]:
    """Yield what stands behind a label, a greeting, a closing line, kin or an office."""
    known = known_names()
    for i, word in enumerate(seen.folded):
        if word not in _CUES or i + 1 >= len(seen.words):
            continue
        gap = seen.between(i)
        if word in _LABELS and _COLON.fullmatch(gap):
            yield from _labelled_name(seen, i + 1, known)
        elif len(gap) <= 6 and _may_begin(seen, i + 1):  # noqa: PLR2004 - a comma and lines between
            yield from _cued_name(seen, i, gap, known)
        elif (
            word in _KIN
            and i + 2 < len(seen.words)
            and seen.words[i + 2][0].isupper()
            and seen.between(i + 1) in (" ", ", ", "; ")
            and gap == " "
        ):
            yield from _cued_name(seen, i, gap, known, further=1)


def _labelled_name(seen: Text, at: int, known: frozenset[str]) -> Iterator[Finding]:
    at = _behind_titles(seen, at)
    end = _name_end(seen, at, lines=True) if at < len(seen.words) else None
    if end is None:
        if at < len(seen.words) and seen.folded[at] in known and seen.folded[at] not in not_names():
            more = at + 1 < len(seen.words) and seen.between(at) in (" ", ", ", "-") and seen.folded[at + 1] in known
            yield Finding(Kind.NAME, seen.starts[at], seen.ends[at + 1 if more else at])
        return
    parts = _parts(seen, at, end)
    if any(part in known for part in parts) or (len(parts) <= 5 and (seen.language != "de" or len(parts) > 1)):  # noqa: PLR2004 - words of a name
        yield Finding(Kind.NAME, seen.starts[at], end)


def _may_begin(seen: Text, i: int) -> bool:
    """Whether a name may begin with a word: it has a capital, or is a particle before one."""
    if seen.words[i][0].isupper():
        return True
    return seen.folded[i] in _PARTICLES and any(word[0].isupper() for word in seen.words[i + 1 : i + 3])


def _cued_name(seen: Text, i: int, gap: str, known: frozenset[str], further: int = 0) -> Iterator[Finding]:
    """Yield the name behind cue ``i``, of which ``further`` small words stand between."""
    at = _behind_titles(seen, i + 1 + further)
    end = _name_end(seen, at, lines=seen.folded[i] in _CLOSINGS) if at < len(seen.words) else None
    if end is None:
        return
    parts = _parts(seen, at, end)
    listed = any(part in known for part in parts)
    if _is_person(seen, i, at, gap, parts, listed) or (seen.folded[i] in _CLOSINGS and _closes(seen, gap, end, listed)):
        yield Finding(Kind.NAME, seen.starts[at], end)


def _closes(seen: Text, gap: str, end: int, listed: bool) -> bool:
    """Whether a name stands alone under a closing line."""
    alone = not seen.text[end : end + 3].strip(" ,|-/") or seen.text[end : end + 1] in ",|(\n"
    return ("\n" in gap or gap.startswith((",", ":"))) and (listed or alone)


def _is_person(seen: Text, i: int, at: int, gap: str, parts: Sequence[str], listed: bool) -> bool:  # noqa: PLR0917 - what is known of both
    """Whether what stands behind a cue is a name: the surer the cue, the less must be known of the words."""
    word, german = seen.folded[i], seen.language == "de"
    if word in _THANKS and gap in (", ", ",\n", " - ") and seen.words[at][0].isupper():
        return True
    if word in _WITH and i and seen.folded[i - 1] in _LIVING and gap in (" ", "\n") and not german:
        return True
    if word in _GREETINGS and gap in (" ", ", ") and (listed or not german or word not in ("liebe", "tag")):
        return True
    if word in _CALLED and gap in (" ", ". ", ": ") and (listed or not seen.is_small):
        return not _is_eponym(seen, at, at)
    if word in _KIN and gap in (" ", ", ", " (", ": ", "; ", ",\n", "\n") and (listed or not german):
        return not _is_eponym(seen, at, at)
    if word in _OFFICES and gap in (" ", "\n") and listed and _by_name(seen, at, parts):
        return True
    if word in _OFFICES - _FUNCTION_WORDS and gap == " " and len(parts) > 1 and len(parts[0]) == 1:
        return seen.words[at][0].isupper()
    if word in _ROLES and seen.words[i].isupper() and gap in (" ", ": ", ", "):
        return True
    return word in _GERMAN_ROLES and gap in (" ", "\n", ", ") and not _GERMAN_NOUN.search(parts[0])


def _behind_titles(seen: Text, i: int) -> int:
    while i < len(seen.words) and seen.folded[i] in _TITLED and len(seen.words[i]) > 1 and _is_near(seen.between(i)):
        i += 1
    return i


def _parts(seen: Text, first: int, end: int) -> list[str]:
    found: list[str] = []
    while first < len(seen.words) and seen.starts[first] < end:
        found.append(seen.folded[first])
        first += 1
    return found


def _by_name(seen: Text, i: int, parts: Sequence[str]) -> bool:
    """Whether what stands behind "by" or an office is a name: two words, one of them listed, or one that is nothing else."""
    clear = clear_names()
    return (len(parts) > 1 or parts[0] in clear) and not _is_eponym(seen, i, i + len(parts) - 1)


def _listed(seen: Text) -> Iterator[Finding]:
    """Yield names that the lists tell: a given name beside another word, a surname beside an initial, or one that is nothing else."""
    words, folded = seen.words, seen.folded
    given, sur, stop = given_names()[1], surnames()[1], not_names()
    taken = -1
    for i, word in enumerate(folded):
        if (
            i <= taken
            or (word not in given and word not in sur)
            or not words[i][0].isupper()
            or len(word) < 2
            or word in stop
        ):  # noqa: PLR2004 - an initial
            continue
        first = i
        while (
            first
            and seen.before(first) in (" ", "-", ". ", ".", "'", "’")
            and _goes_before(seen, first - 1)
            and i - first < 4
            and first - 1 > taken
        ):  # noqa: PLR2004 - parts
            first -= 1
        while first < i and folded[first] in _PARTICLES and words[first].islower():
            first += 1
        end = _name_end(seen, first)
        if end is None:
            continue
        last = first
        while last + 1 < len(words) and seen.starts[last + 1] < end:
            last += 1
        parts = [folded[k] for k in range(first, last + 1) if len(folded[k]) > 1 and folded[k] not in _PARTICLES]
        if _is_eponym(seen, first, last):
            taken = last
            continue
        if _counts(seen, first, last, parts):
            yield Finding(Kind.NAME, seen.starts[first], end)
            taken = last


def _in_forms(seen: Text) -> Iterator[Finding]:
    """Yield names that stand in lists, under a line of dashes, or as two letters before what only people do."""
    text = seen.text
    for pattern in (_IN_LIST, _UNDER_DASHES, _SUBJECT, _UNDERSCORES, _INITIAL_LINE, _LABELLED_LINE, _BARE_LABEL, _DOING):
        for m in pattern.finditer(text):
            name = m["name"]
            if pattern is _LABELLED_LINE and (seen.language == "de" or m["label"].casefold() in not_names() - _LABELS):
                continue
            words = [w.casefold() for w in re.findall(r"[^\W\d_]+", name)]
            if not all(w in not_names() and w not in surnames()[1] for w in words) and not (
                pattern is _DOING and name in _ABBREVIATIONS
            ):
                real = next((w for w in words if w not in _PARTICLES), words[0])
                if real not in not_names() or real in surnames()[1]:
                    yield Finding(Kind.NAME, m.start("name"), m.end("name"))
    for i, word in enumerate(seen.folded):
        if (
            word in _KIN
            and i
            and seen.before(i) in (" (", ", (")
            and seen.words[i - 1][0].isupper()
            and seen.between(i)[:1] in ")/,;"
        ):
            first = i - 1
            while (
                first
                and i - first < 4
                and seen.before(first) in (" ", "-", "'", "’")
                and seen.words[first - 1][0].isupper()
                and seen.folded[first - 1] not in not_names()
            ):  # noqa: PLR2004 - parts
                first -= 1
            if seen.folded[first] not in not_names():
                yield Finding(Kind.NAME, seen.starts[first], seen.ends[i - 1])


def _before_degree(seen: Text) -> Iterator[Finding]:
    """Yield words that begin with a capital before a degree: Ash Corlett, MD."""
    for i in range(len(seen.words) - 1):
        if (
            seen.words[i + 1] not in _DEGREE_WORDS
            or not seen.words[i][0].isupper()
            or seen.between(i) not in (", ", " ")
        ):
            continue
        first = i
        while (
            first
            and i - first < 3
            and seen.before(first) in (" ", "-", ". ", "'", "’")
            and seen.words[first - 1][0].isupper()
            and (seen.folded[first - 1] not in not_names())
        ):  # noqa: PLR2004 - parts
            first -= 1
        if (
            seen.folded[i] not in not_names()
            and not (seen.words[i].isupper() and first == i)
            and (first < i or seen.between(i) == ", ")
        ):
            yield Finding(Kind.NAME, seen.starts[first], seen.ends[i])


def _goes_before(seen: Text, k: int) -> bool:
    word = seen.words[k]
    if seen.folded[k] in not_names() and len(word) > 1:
        return False
    if len(word) == 1:
        return word.isupper() and seen.between(k).startswith(".")
    return word[0].isupper() and seen.folded[k] in known_names()


def _counts(seen: Text, first: int, last: int, parts: list[str]) -> bool:
    """Whether words that begin with a capital, of which one is listed, are a name."""
    clear_given, given = given_names()
    clear_sur, sur = surnames()
    if not parts:
        return False
    has_initial = any(len(seen.words[k]) == 1 for k in range(first, last + 1))
    hyphen = all(seen.between(k) == "-" for k in range(first, last)) and first != last
    if len(parts) == 1:
        if has_initial:
            return parts[0] in clear_sur or parts[0] in clear_given
        return False
    listed_given = [p for p in parts if p in given]
    listed_sur = [p for p in parts if p in sur]
    unlisted = [p for p in parts if p not in given and p not in sur]
    clear = [p for p in parts if p in clear_given or p in clear_sur]
    if any(seen.folded[k] in ("y", "et", "und", "and") for k in range(first, last)) and not listed_given:
        return False  # authors of a work or a method
    if hyphen:
        return not unlisted and bool(clear) and (bool(listed_given) or len(clear) == len(parts))
    if seen.words[first].isupper() and len(seen.words[first]) > 2 and not seen.words[last].isupper() and parts[-1] in given:  # noqa: PLR2004 - no initial
        return True
    if seen.language == "de" and len(parts) == 2 and parts[1] in clear_sur and not _GERMAN_NOUN.search(parts[0]):  # noqa: PLR2004 - given name and surname
        return True
    if seen.language == "de":
        return bool(clear) and (not unlisted or (parts[0] in clear_given and not _GERMAN_NOUN.search(parts[-1])))
    if not unlisted:
        return bool(clear) or (parts[0] in given and parts[-1] in sur)
    return (
        bool(clear)
        and len(unlisted) <= 2
        and (parts[0] in clear_given or parts[0] in given or parts[-1] in clear_sur or bool(listed_sur))
    )  # noqa: PLR2004 - of a name


def _is_eponym(seen: Text, first: int, last: int) -> bool:
    """Whether a disease, sign, method or instrument bears the name."""
    folded, n = seen.folded, len(seen.folded)
    after = last + 1
    if after < n and folded[after] == "s" and seen.between(last) in ("'", "’"):
        after += 1
    while (
        after < n
        and seen.between(after - 1) in ("-", "–", "/")
        and seen.words[after][0].isupper()
        and folded[after] not in _EPONYM_AFTER
    ):
        after += 1  # Charcot-Marie-Tooth
    if (
        after < n
        and len(seen.between(after - 1)) <= 2
        and (folded[after] in _EPONYM_AFTER or folded[after].rstrip("s") in _EPONYM_AFTER)
    ):  # noqa: PLR2004 - next to it
        return True
    behind = seen.text[seen.ends[last] : seen.ends[last] + 5]
    if (
        first != last and len(seen.words[last]) == 1 and (behind[:1].isdecimal() or _SCALE.match(behind))
    ):  # Child-Pugh A6
        return True
    if _SCALE.match(behind):
        return True
    if first and seen.folded[first - 1] == "st" and behind.startswith(("'s", "’s")):
        return True
    if _ET_AL.match(seen.text, seen.ends[last]):
        return True
    two = after + 1
    if (
        two < n
        and "." not in seen.between(after)
        and seen.between(after - 1) == " "
        and folded[two] in _EPONYM_AFTER
        and folded[after]
        in (
            "coma",
            "positive",
            "negative",
            "apraxia",
            "like",
            "type",
            "urinary",
            "lymph",
            "cell",
            "muscular",
            "disability",
            "performance",
        )
    ):
        return True
    before = first - 1
    while (
        before >= 0
        and folded[before] in ("de", "d", "du", "des", "von", "of", "la", "del", "le")
        and first - before <= 3
    ):  # noqa: PLR2004 - syndrome de la
        before -= 1
    return (
        before >= 0
        and folded[before] in _EPONYM_BEFORE
        and "." not in seen.text[seen.ends[before] : seen.starts[first]]
    )


def name_words(text: str, findings: Sequence[Finding]) -> set[str]:
    """Return the words of the names in a text, in small letters, which tell a name wherever they stand again."""
    found: set[str] = set()
    for finding in findings:
        if finding.kind is Kind.NAME:
            found.update(filter(_is_telling, re.findall(r"[^\W\d_]+", text[finding.start : finding.end])))
    return {word.casefold() for word in found}


def find_words(text: str, known: set[str], findings: Sequence[Finding]) -> list[Finding]:
    """Return where words of names stand in a text beside what was found there."""
    folded = text.casefold()
    if not any(word in folded for word in known):
        return []
    return list(_again(read_text(text), sorted((f.start, f.end) for f in findings), known))


def _is_telling(word: str) -> bool:
    """Whether a word of a name is more than an initial, and no word of the language."""
    return (
        len(word) > 2 and word[0].isupper() and word.casefold() not in not_names() and word.casefold() not in _PARTICLES
    )  # noqa: PLR2004 - initials


def _again(seen: Text, spans: list[tuple[int, int]], known: set[str] | None = None) -> Iterator[Finding]:
    """Yield the words of names that were found, or are ``known``, wherever they stand again outside of ``spans``."""
    inside: list[bool] = []
    at = 0
    for start, end in zip(seen.starts, seen.ends, strict=True):
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        inside.append(at < len(spans) and spans[at][0] <= start and end <= spans[at][1])
    if known is None:
        known = {w.casefold() for w, within in zip(seen.words, inside, strict=True) if within and _is_telling(w)}
    for i, (folded, within) in enumerate(zip(seen.folded, inside, strict=True)):
        if within or folded not in known:
            continue
        word = seen.words[i]
        if (word[0].isupper() and not _is_eponym(seen, i, i)) or (
            word.islower() and len(word) > 4 and folded in clear_names()
        ):  # noqa: PLR2004 - short ones are words
            yield Finding(Kind.NAME, seen.starts[i], seen.ends[i])
