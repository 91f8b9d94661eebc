"""Own word lists: invented medical roots, and the ordinary words that the templates draw from."""

__all__ = [
    "CHEMICAL_ENDINGS",
    "CHEMICAL_ROOTS",
    "CHEMICAL_TAILS",
    "DISEASE_ENDINGS",
    "DISEASE_HEADS",
    "DISEASE_MODIFIERS",
    "DISEASE_ROOTS",
    "DISEASE_TAILS",
    "GENE_ROOTS",
    "GROUPS",
    "LINKS",
    "PEOPLE",
    "PLACES",
    "ROUTES",
    "SITES",
    "TEST_ENDINGS",
    "TEST_ROOTS",
    "TIMES",
]

# Roots of one kind never serve another: the first letters of an entity already tell its kind, so that a word that no
# training row holds can be recognised, as "-itis" and "-mycin" let a reader recognise one.
DISEASE_ROOTS = (
    "brun",
    "cald",
    "dorm",
    "fesk",
    "glom",
    "harv",
    "jund",
    "kresp",
    "lomb",
    "murt",
    "nask",
    "obru",
    "pluv",
    "quent",
    "rhon",
    "skal",
    "trum",
    "urv",
    "vond",
    "wesk",
    "yarm",
    "zend",
    "barl",
    "chond",
    "dulf",
    "ferg",
    "gand",
    "hesk",
    "krov",
    "lurb",
    "morv",
    "nurd",
    "plask",
    "rund",
    "sulc",
    "turg",
    "vask",
)
CHEMICAL_ROOTS = (
    "axi",
    "belo",
    "cidi",
    "deva",
    "elu",
    "fipa",
    "gaxo",
    "hila",
    "ivo",
    "jali",
    "kefi",
    "lixa",
    "mefo",
    "nilo",
    "oxi",
    "peva",
    "rixa",
    "sefo",
    "tiva",
    "uvi",
    "velo",
    "xali",
    "zivo",
    "afi",
    "bixa",
    "cefo",
    "dila",
    "efo",
    "fexa",
    "gilo",
    "kila",
    "loxi",
    "mixa",
    "nefa",
    "pixo",
    "tefi",
)
GENE_ROOTS = (
    "ABK",
    "CDR",
    "DKN",
    "FGX",
    "GLP",
    "HRT",
    "KMT",
    "LRP",
    "MSK",
    "NTX",
    "PKD",
    "RBX",
    "SMC",
    "TRK",
    "UBX",
    "WNK",
    "XPA",
    "ZNF",
)
TEST_ROOTS = (
    "ankro",
    "dextro",
    "ferro",
    "gluco",
    "helio",
    "krypto",
    "lipo",
    "magno",
    "photo",
    "sono",
    "tempo",
    "vibro",
)
_JOINS = ("a", "o", "i", "ar", "ol", "en", "et", "ul", "em", "ov", "ad", "is")

DISEASE_ENDINGS = tuple(join + end for join in _JOINS for end in ("itis", "oma", "osis", "emia", "pathy", "algia"))
CHEMICAL_ENDINGS = tuple(
    join + end
    for join in ("", "ra", "lo", "mi", "to", "ne", "sa", "vi", "du", "ko")
    for end in ("zine", "mycin", "statin", "pril", "dipine", "parin")
)
TEST_ENDINGS = tuple(
    join + end for join in ("", "ka", "pe", "to") for end in ("gram", "graphy", "metry", "scopy", "scan")
)

DISEASE_MODIFIERS = ("acute", "chronic", "familial", "juvenile", "recurrent", "atypical", "bilateral", "latent")
DISEASE_HEADS = ("syndrome", "disease", "deficiency", "dystrophy")
DISEASE_TAILS = ("type 1", "type 2", "type 3")
CHEMICAL_TAILS = ("sodium", "acetate", "chloride", "sulfate")

PEOPLE = (
    "patient",
    "woman",
    "man",
    "boy",
    "girl",
    "child",
    "adult",
    "mother",
    "father",
    "nurse",
    "teacher",
    "farmer",
    "sailor",
    "student",
    "driver",
    "baker",
)
GROUPS = (
    "rats",
    "mice",
    "rabbits",
    "infants",
    "adults",
    "women",
    "men",
    "twins",
    "smokers",
    "athletes",
    "donors",
    "survivors",
)
PLACES = ("clinic", "ward", "centre", "hospital", "unit", "laboratory", "school", "camp", "harbour", "village")
SITES = ("knee", "wrist", "neck", "chest", "back", "arm", "leg", "hand", "foot", "shoulder", "hip", "jaw")
TIMES = tuple(
    f"{count} {unit}"
    for count in ("two", "three", "four", "five", "six", "nine", "ten")
    for unit in ("days", "weeks", "months", "years")
)
ROUTES = ("orally", "daily", "twice", "weekly", "nightly", "intravenously", "slowly", "early")
LINKS = (", and", ", but", "; later ,", ", while", ", although")
