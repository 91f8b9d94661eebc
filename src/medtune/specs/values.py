"""What all specs share: frozen, closed to unknown keys, and the types of their fields."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = ["Fraction", "Names", "Options", "Positive", "Spec", "drop_foreign_pin", "split_commas"]


def split_commas(value: Any) -> Any:
    """Read "a,b" as two names, so that lists need no quotes on a command line."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _require_json(value: dict[str, Any]) -> dict[str, Any]:
    """Take what a record can hold as it is."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError("options must be JSON values") from None
    return value


Positive = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(split_commas)]
Options = Annotated[dict[str, Any], AfterValidator(_require_json)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Spec(BaseModel):
    """Frozen, closed to unknown keys, described by the docstrings under its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    former_names: ClassVar[Mapping[str, str]] = {}
    """Former name of a field -> its name; specs and records that were written with the former one are still read."""

    @model_validator(mode="before")
    @classmethod
    def _take_former_names(cls, values: Any) -> Any:
        for former, name in cls.former_names.items():
            if isinstance(values, dict) and former in values:
                if name in values:
                    raise ValueError(f"{former} is the former name of {name}; set {name} alone")
                values = {**values, name: values[former]}
                del values[former]
        return values

    def model_copy_with(self, **changes: Any) -> Self:
        """Return a validated copy with ``changes`` applied (``model_copy`` would not validate)."""
        return type(self).model_validate({**self.model_dump(exclude_unset=True), **changes})


def drop_foreign_pin(values: Any, name_field: str, pinned_name: str) -> Any:
    """Leave ``revision`` unset for another repository: the default commit belongs to the default one only."""
    if isinstance(values, dict) and values.get(name_field, pinned_name) != pinned_name:
        values = dict(values)
        values.setdefault("revision", None)
    return values
