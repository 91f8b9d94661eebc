"""Finds addresses of the net, pictures, and mentions of biometric data."""

import re
from collections.abc import Iterator

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.text import Text, cue
from medtune.data.identifiers.vocabulary import words_of

__all__ = ["find_links"]

_LOCAL = re.compile(r"[\w.+%'-]{1,64}$")
_DOMAIN = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_SPELT = re.compile(
    r"[\w.+-]{1,64}\s?[(\[]\s?(?:at|ät|arobase|arroba)\s?[)\]]\s?[\w-]{1,63}(?:\s?(?:\.|[(\[]\s?(?:dot|punkt|point|punto)\s?[)\]])\s?[\w-]{1,63}){1,4}",
    re.IGNORECASE,
)
_SPELT_SIGNS = ("at)", "at]", "at )", "at ]", "ät)", "ät]", "AT)", "AT]", "robase", "rroba")
_URL = re.compile(r"(?:(?:https?|ftps?|sftp|file)://|www\.)[^\s<>\"']{3,500}", re.IGNORECASE)
_PATH = re.compile(r"(?:[:/?#][^\s<>\"']{0,300})?")
_DOMAINS = words_of("domains")
_HOST = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,62})(?:\.[a-zA-Z0-9-]{1,63}){0,4}$")
_IPV4 = re.compile(r"\d(?<![\w.]\d)\d{0,2}(?:\.\d{1,3}){3}(?![\w]|\.\d)(?::\d{2,5}\b)?(?:/\d{1,2}\b)?")
_IPV6 = re.compile(
    r"[0-9a-fA-F](?<![\w:].)[0-9a-fA-F]{0,3}(?::[0-9a-fA-F]{1,4}){7}(?![\w:])|[0-9a-fA-F](?<![\w:].)[0-9a-fA-F]{0,3}(?::[0-9a-fA-F]{1,4}){0,6}::(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){0,6})?(?!\w)"
)
_PICTURES = words_of("pictures")
_FILE = re.compile(r"[^\s<>\"'|]{1,200}\.$")
_EMBEDDED = re.compile(r"data:image/[\w.+-]{1,20}(?:;[\w=-]{1,20}){0,3},[A-Za-z0-9+/=%_-]{8,}")
_BASE64 = re.compile(r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk[0-9])[A-Za-z0-9+/]{24,}={0,2}")
_BASE64_SIGNS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "Qk")
_MENTIONS = {
    Kind.BIOMETRIC: re.compile(
        r"\b(?:finger[- ]?prints?(?!ing)|thumb[- ]?prints?|palm[- ]?(?:prints?|vein scans?)|(?:retina|iris|retinal|hand|palm|facial|face)[- ](?:scan|geometry|recognition|template|pattern|print)s?"
        r"|voice[- ]?prints?|face id|biometric(?:s| \w{3,12})?|fingerabdr[uü]cke?n?s?|handabdr[uü]cke?|iris[- ]?scans?|netzhautscans?|stimmabdr[uü]cke?|stimmprofile?|gesichtserkennung|biometrische?[nrs]? \w{3,16}"
        r"|empreintes? (?:digitales?|vocales?|palmaires?)|reconnaissance (?:faciale|vocale|de l['’]iris)|scan de l['’]iris|(?:donnée|identifiant|gabarit)s? biométriques?|biométrie"
        r"|huellas? (?:dactilar|digital|vocal|palmar)(?:es)?|reconocimiento (?:facial|de voz|de iris|del iris)|escaneo de(?:l)? iris|biométric[oa]s?)\b",
        re.IGNORECASE,
    ),
    Kind.PHOTO: re.compile(
        r"\b(?:full[- ]face (?:photo\w{0,8}|image|picture)s?|(?:facial|face|portrait|id|identity|identification|passport|patient|head) (?:photo\w{0,8}|image|picture)s?|headshots?|mugshots?|selfies?"
        r"|(?:photo\w{0,8}|images?|pictures?) of (?:the |his |her |their |patient's )?(?:patient's |whole |full )?face"
        r"|gesichtsfotos?|porträtfotos?|passfotos?|passbild(?:er)?|lichtbild(?:er)?|patientenfotos?|portraitfotos?|foto(?:grafie)?s? (?:des|vom) gesichts?|gesichtsaufnahmen?"
        r"|photo\w{0,8} (?:d['’]identité|du visage|de face|du patient|de la patiente|portrait)|portrait photographique"
        r"|foto(?:grafía)?s? (?:de(?:l)? (?:rostro|cara|carné|paciente)|de la (?:cara|paciente)|facial(?:es)?|de frente)|retrato fotográfico)\b",
        re.IGNORECASE,
    ),
}
_CUES = words_of("links cues")
_CUE_BEGINNINGS = (
    "biom", "fingerp", "voicep", "photog", "fotogr", "gesichts", "lichtbild", "passfoto", "passbild", "porträt", "portraitf", "patientenf", "irissc", "netzhaut", "stimm", "fingerab", "handab", "thumbp", "palmp",
)  # fmt: skip
"""Words, and beginnings of words, that every mention has."""
_AROUND = 48
_CODE = re.compile(
    r"[\s:,(#|-]{1,3}(?:[^\W\d_]{1,14}[\s.:,(#|]{1,3}){0,4}((?=[\w:./-]{0,20}\d)[A-Za-z0-9][\w:./-]{3,64}\w)"
)
"""What stands for the print or picture, a few words behind the mention."""
_AT_CUES = cue(_CUES, lambda word: word.startswith(_CUE_BEGINNINGS))
_AT_ENDS = cue(_PICTURES | _DOMAINS)


def find_links(seen: Text) -> Iterator[Finding]:
    """Yield e-mail addresses, URLs, IP addresses, pictures and mentions of biometric data."""
    text = seen.text
    yield from _mails(text)
    yield from _urls(text)
    yield from _hosts(text)
    yield from _after_dots(seen)
    if "data:image/" in text:
        yield from (Finding(Kind.PHOTO, m.start(), m.end()) for m in _EMBEDDED.finditer(text))
    if any(sign in text for sign in _BASE64_SIGNS):
        yield from (Finding(Kind.PHOTO, m.start(), m.end()) for m in _BASE64.finditer(text))
    for i in seen.at(_AT_CUES):
        word = seen.folded[i]
        if word in _CUES or word.startswith(_CUE_BEGINNINGS):
            first, end = max(0, seen.starts[i] - _AROUND), seen.ends[i] + _AROUND
            for kind, pattern in _MENTIONS.items():
                for m in pattern.finditer(text, first, end):
                    yield Finding(kind, m.start(), m.end())
                    if code := _CODE.match(text, m.end()):
                        yield Finding(kind, code.start(1), code.end())


def _hosts(text: str) -> Iterator[Finding]:
    """Yield IP addresses."""
    for m in _IPV4.finditer(text) if text.count(".") >= 3 else ():
        if all(int(part) < 256 for part in re.findall(r"\d+", m[0])[:4]):
            yield Finding(Kind.IP_ADDRESS, m.start(), m.end())
    if "::" in text or text.count(":") >= 7:
        yield from (Finding(Kind.IP_ADDRESS, m.start(), m.end()) for m in _IPV6.finditer(text))


def _urls(text: str) -> Iterator[Finding]:
    for mark in ("://", "www.", "WWW."):
        at = text.find(mark)
        while at != -1:
            first = at
            while mark == "://" and first > max(0, at - 6) and text[first - 1].isalpha():
                first -= 1
            if found := _URL.match(text, first):
                yield Finding(Kind.URL, first, _trimmed(text, first, found.end()))
            at = text.find(mark, at + 3)


def _mails(text: str) -> Iterator[Finding]:
    at = text.find("@")
    while at != -1:
        local, domain = _LOCAL.search(text, max(0, at - 64), at), _DOMAIN.match(text, at + 1)
        if local and domain:
            yield Finding(Kind.EMAIL, local.start(), domain.end())
        elif local is None and (handle := re.compile(r"[A-Za-z]\w{3,30}").match(text, at + 1)):
            yield Finding(Kind.OTHER_NUMBER, at, handle.end())
        at = text.find("@", at + 1)
    if any(sign in text for sign in _SPELT_SIGNS):
        yield from (Finding(Kind.EMAIL, m.start(), m.end()) for m in _SPELT.finditer(text))


def _after_dots(seen: Text) -> Iterator[Finding]:
    """Yield names of hosts without www, and of picture files, by their last part."""
    text = seen.text
    for i in seen.at(_AT_ENDS):
        word = seen.folded[i]
        start = seen.starts[i]
        if start == 0 or text[start - 1] != ".":
            continue
        if word in _PICTURES and (name := _FILE.search(text, max(0, start - 200), start)):
            yield Finding(Kind.PHOTO, name.start(), seen.ends[i])
        elif word in _DOMAINS and seen.words[i].islower():
            host = _HOST.search(text, max(0, start - 200), start - 1)
            after = text[seen.ends[i] : seen.ends[i] + 1]
            if (
                host
                and (after in "/:?#" or len(host[0]) > 3)
                and not after.isalnum()
                and any(c.isalpha() for c in host[0])
            ):
                if text[host.start() - 1 : host.start()] == "@":
                    continue
                path = _PATH.match(text, seen.ends[i])
                yield Finding(
                    Kind.URL, host.start(), _trimmed(text, host.start(), path.end() if path else seen.ends[i])
                )


def _trimmed(text: str, start: int, end: int) -> int:
    """Return where a URL ends, without the punctuation of its sentence."""
    while end > start and text[end - 1] in ".,;:!?)]}":
        end -= 1
    return end
