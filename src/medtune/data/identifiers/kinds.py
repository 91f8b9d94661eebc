"""The kinds of identifiers: those of HIPAA's Safe Harbor list, and the national numbers of other countries among them."""

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Finding", "Kind"]


class Kind(StrEnum):
    """A kind of identifier (45 CFR 164.514(b)(2)); national numbers count under the nearest one."""

    NAME = "name"
    PLACE = "place"
    """Street, city, postcode, county: anything smaller than a state."""
    DATE = "date"
    """Of a person; a year alone is none."""
    AGE_OVER_89 = "age_over_89"
    PHONE = "phone"
    FAX = "fax"
    EMAIL = "email"
    SSN = "ssn"
    """Number of a person for the state: SSN, NINO, NIR, DNI, NIE, Steuer-ID, Rentenversicherungsnummer."""
    RECORD_NUMBER = "record_number"
    """Of a patient, case or stay in a hospital."""
    HEALTH_PLAN_NUMBER = "health_plan_number"
    """Of an insured person; the NHS number, Krankenversichertennummer, CIP and SIP."""
    ACCOUNT_NUMBER = "account_number"
    """Of a bank account or card; IBAN."""
    LICENCE_NUMBER = "licence_number"
    """Of a licence, certificate or document; passport, Personalausweis."""
    VEHICLE = "vehicle"
    DEVICE = "device"
    URL = "url"
    IP_ADDRESS = "ip_address"
    BIOMETRIC = "biometric"
    """A mention: what it is about lies elsewhere."""
    PHOTO = "photo"
    """A file, embedded picture or mention of a photograph of a face."""
    OTHER_NUMBER = "other_number"

    @property
    def mark(self) -> str:
        """What stands in its place in masked text."""
        return f"[{self.value.upper()}]"


class Finding(NamedTuple):
    """Where something was found: characters ``start`` to ``end`` of a text."""

    kind: Kind
    start: int
    end: int
