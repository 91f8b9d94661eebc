"""What all specs share: frozen, closed to unknown keys, and the types of their fields."""

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from medtune.errors import Mistake, SpecValidationError
from medtune.errors.masking import holds_credential

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


_MASKED = ("options", "template_options")
"""Fields whose texts a backend or a template needs as they are; a record has them masked."""


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a field, not those of a spec in it, which was asked before."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for item in value.items() for part in item for text in _texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in _texts(item))


def _as_text(value: Any) -> Any:
    """Return paths as text, wherever they stand in a value: a spec is written to JSON and TOML."""
    if isinstance(value, PurePath):
        return str(value)
    if type(value) is dict:
        return {key: _as_text(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_as_text, value))
    return value


def _refusal(kind: type[BaseModel], error: ValidationError) -> SpecValidationError:
    """Say pydantic's findings without the values, which may be rows."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    mistakes = [_mistake(tuple(map(str, each["loc"])), each["type"], each["msg"]) for each in found]
    return SpecValidationError(kind.__name__, mistakes, kind.model_fields)


def _mistake(location: tuple[str, ...], kind: str, message: str) -> Mistake:
    if kind != "extra_forbidden":
        return Mistake(location, False, message.removeprefix("Value error, "))
    from medtune.specs.elsewhere.programs import meant_by

    return Mistake(location, True, meant_by(location[-1]))


if TYPE_CHECKING:
    _Checked = BaseModel
else:

    class _SpecType(type(BaseModel)):
        """pydantic's own error cannot be derived from, nor be replaced in ``__init__``, through which nested specs would come."""

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().__call__(*args, **kwargs)
            except ValidationError as error:
                raise _refusal(cls, error) from None

    class _Checked(BaseModel, metaclass=_SpecType):
        """Refused, where it cannot be made, by an error of medtune."""


class Spec(_Checked):
    """Frozen, closed to unknown keys, described by the docstrings under its fields; a path may stand where text does."""

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

    @model_validator(mode="before")
    @classmethod
    def _take_paths(cls, values: Any) -> Any:
        return _as_text(values) if isinstance(values, dict) else values

    @field_validator("*", mode="after")
    @classmethod
    def _holds_no_credential(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name not in _MASKED and any(map(holds_credential, _texts(value))):
            raise ValueError(
                "it holds a credential, which the run would record; leave it out and give it by the environment (HF_TOKEN is the "
                "hub's), or rename the file"
            )
        return value

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Return the spec that a mapping stands for; raises SpecValidationError, a SpecError that is a ValueError too."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise _refusal(cls, error) from None

    def model_copy_with(self, **changes: Any) -> Self:
        """Return a validated copy with ``changes`` applied (``model_copy`` would not validate)."""
        return type(self).model_validate({**self.model_dump(exclude_unset=True), **changes})


def drop_foreign_pin(values: Any, name_field: str, pinned_name: str) -> Any:
    """Leave ``revision`` unset for another repository: the default commit belongs to the default one only."""
    if isinstance(values, dict) and values.get(name_field, pinned_name) != pinned_name:
        values = dict(values)
        values.setdefault("revision", None)
    return values
