"""Names, places and dates in the forms that notes of strangers had: roles, lists, heads of sheets, lines of programs, dictation."""

import pytest

from medtune.data.identifiers.finding import find_identifiers


def found_in(text):
    return [(found.kind.value, text[found.start : found.end]) for found in find_identifiers(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient name is Zbigniew.", "Zbigniew"),
        ("wir berichten über Ihren Patienten Szymański, Krzysztof, *3.4.1950", "Szymański, Krzysztof"),
        ("PCP Xiaoling Zhang notified 3/4", "Xiaoling Zhang"),
        ("and with surgeon Harlan Quillfeather before discharge.", "Harlan Quillfeather"),
        ("Nurse on duty wrote:\nQUILL XANDRA A 123-45-6789 seen again", "QUILL XANDRA A"),
        ("Room 12A: Quill, Xandra. Both fasting.", "Quill, Xandra"),
        ("Zimmer 3: Quellmann, Xandra", "Quellmann, Xandra"),
        ("Called to Ji-yeon Quill by D. Crabtree", "D. Crabtree"),
        ("Pt is J. Doe (Jane), from Kalamazoo", "J. Doe"),
        ("i.A. Quirin Quellmann\nSekretariat", "Quirin Quellmann"),
        ("Copie : Dr Le Trégor ; Dr Kermadec ; Gildas Kermarec", "Gildas Kermarec"),
        ("Ärzte: Quellmann, Zwickl, Tjaden", "Zwickl"),
        ("Padres: Quino y Xandra; hermanos: Quico (12), Zoilo (9)", "Zoilo"),
        ("Xandra (Quentin's husband) wrote again", "Xandra"),
        ("On Apr 3, 2020, at 4:33 PM, Xandra Quill <xq@example.org> wrote:", "Xandra Quill"),
        ("Ward round 3/4/2020: Quill - home; Frost - bloods; Buck - theatre", "Buck"),
        ("Médecin du travail : Gildas Trégor", "Gildas Trégor"),
        ("frau zschocke wohnhaft in quedlinburg kommt heute zur kontrolle", "zschocke"),
        ("missus quill was seen by doctor frost in the emergency room and sent home", "quill"),
        ("Vorname: Taras\nNachname: Nowotny", "Taras"),
        ('{"patient": "Xandra Quill", "ward": "7B"}', "Xandra Quill"),
        ("<name>Xandra Quill</name><ward>7B</ward>", "Xandra Quill"),
        ("PID|1||12345678^^^MRN||QUILL^XANDRA||19500304|F", "QUILL^XANDRA"),
        ("PV1|1|I|3W^100^A||||1234^FROST^QUENTIN^^^DR", "FROST^QUENTIN"),
        ("3101Quellmann\n3102Xandra\n310304031950", "Quellmann"),
        ("id\tname\tseen\tprovider\n12345\tXandra Quill\t2020-03-04\tFrost", "Frost"),
    ],
)
def test_a_name_is_found_where_its_place_tells(text, expected):
    assert any(kind == "name" and expected in value for kind, value in found_in(text)), found_in(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Places visited in the last 21 days: Quorn, Yeovil and Tring.", "Tring"),
        ("Aufenthaltsorte: Hallein, Uelzen, Husum", "Uelzen"),
        ("Se mudó de Lorca a Yecla en mayo de 2020", "Yecla"),
        ("Nacido el 22-VI-2018 en Yecla.", "Yecla"),
        ("Herr Quellmann war bis 13.10. in Husum, neuer Termin folgt", "Husum"),
        ("Meldung an das Gesundheitsamt Unna am 3.4.2020", "Unna"),
        ("M. Quimper vit à L'Haÿ-les-Roses avec son épouse", "L'Haÿ-les-Roses"),
        ("Bill to: Xandra Quill, 75 Kingsway, Quorn, 40514", "75 Kingsway"),
        ("wohnt seit 2010 in Obernzell, allein", "Obernzell"),
        ("discharged to Quorn Manor nursing home", "Quorn"),
        ('{"nombre": "Xandra", "ciudad": "Lorca"}', "Lorca"),
    ],
)
def test_a_place_is_found_beside_what_tells_it(text, expected):
    assert any(kind == "place" and expected in value for kind, value in found_in(text)), found_in(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("am 12.XII.2024 vorgestellt", "12.XII.2024"),
        ("nacido el 7-VIII-1951", "7-VIII-1951"),
        ("seen on march third twenty twenty one for pain", "march third twenty twenty one"),
        ("born on may fourteenth nineteen oh seven", "may fourteenth nineteen oh seven"),
        ("arrived 18:25 29.04.18 by ambulance", "29.04.18"),
        ("Estancia del 12-11 al 24-12 sin fiebre", "12-11"),
    ],
)
def test_a_date_is_found_in_rarer_forms(text, expected):
    assert ("date", expected) in found_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Google is not a substitute for medical advice.",
        "Der Herr der Lage ist der Anästhesist.",
        "Mother has Diabetes, Father died of MI at 62, Sister healthy.",
        "Padre fallecido de infarto, hermano sano.",
        "Gelenk nach Kellgren und Lawrence Grad 3.",
        "MRI Brain, CT Abdomen and chest film reviewed.",
        "Diagnoses: Hypertension, Gout, Asthma.",
        "Rheumatology, Cardiology and Social Work were consulted.",
        "IV access, 12 V battery, grade II.V.",
        "The NF-kappa B site binds c-Rel in Jurkat T cells .",
        "Antecedentes: Hipertensión arterial, Diabetes tipo 2.",
    ],
)
def test_what_only_looks_like_one_stays(text):
    assert found_in(text) == []


def test_a_code_that_begins_like_a_verb_is_taken_whole():
    assert found_in("Estudio nº EST-742, centro 3") == [("other_number", "EST-742")]


def test_a_text_that_comes_again_is_answered_anew():
    first = find_identifiers("Seen by Dr. Harrow")
    first.clear()
    assert len(find_identifiers("Seen by Dr. Harrow")) == 1
