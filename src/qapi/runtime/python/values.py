"""Values of the schema's types, from JSON and to JSON.

`from_json` takes what `json.loads` gives and checks it. It tolerates what a newer server adds: members
it doesn't know are dropped, and a value that an enumeration doesn't know becomes one whose `is_known`
is false. `to_json` and `encode` give what `json.dumps` takes.

A member that is absent is None. JSON's null, where the schema allows it, is NULL.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

T = TypeVar("T")

__all__ = ["NULL", "ClientError", "Null", "ProtocolError", "QapiEnum", "Struct", "encode"]


class ClientError(Exception):
    """What any failure of a client is, but for TimeoutError."""


class ProtocolError(ClientError):
    """What the server sent is not what the protocol or the schema says."""

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__(text, path)
        self.text = text
        self.path = path

    def __str__(self) -> str:
        return f"{self.path.removeprefix('.')}: {self.text}" if self.path else self.text


class Null(enum.Enum):
    """The type of NULL."""

    NULL = None

    def __repr__(self) -> str:
        return "NULL"

    def __bool__(self) -> Literal[False]:
        return False


NULL = Null.NULL
"""JSON's null."""


def _kind(value: object) -> str:
    """What JSON calls it."""
    if value is None:
        return "null"
    for kind, name in ((bool, "a boolean"), (int, "an integer"), (float, "a number"),
                       (str, "a string"), (list, "an array"), (dict, "an object")):
        if isinstance(value, kind):
            return name
    return type(value).__name__


def _mismatch(wanted: str, value: object) -> ProtocolError:
    return ProtocolError(f"{wanted} was expected, and the server sent {_kind(value)}")


def decode_str(value: object) -> str:
    if isinstance(value, str):
        return value
    raise _mismatch("a string", value)


def decode_int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _mismatch("an integer", value)


def decode_float(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise _mismatch("a number", value)


def decode_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _mismatch("a boolean", value)


def decode_null(value: object) -> Null:
    if value is None:
        return NULL
    raise _mismatch("null", value)


def decode_any(value: object) -> Any:
    """NULL for null, so that it is something else than an absent member; what is inside stays."""
    return NULL if value is None else value


def decode_raw(value: object) -> Any:
    return value


def decode_nothing(value: object) -> None:
    """What a command returns that returns nothing: an empty object, or whatever a newer one has."""


def decode_list(element: Callable[[object], T]) -> Callable[[object], list[T]]:
    def decode(value: object) -> list[T]:
        if not isinstance(value, list):
            raise _mismatch("an array", value)
        out = []
        for index, item in enumerate(value):
            try:
                out.append(element(item))
            except ProtocolError as error:
                error.path = f"[{index}]{error.path}"
                raise
        return out

    return decode


def encode(value: object) -> Any:
    """What stands for `value` in JSON."""
    if isinstance(value, Struct):
        return value.to_json()
    if isinstance(value, str):
        return str(value)
    if value is NULL:
        return None
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [encode(item) for item in value]
    return value


class QapiEnum(enum.StrEnum):
    """An enumeration of the schema. Its members are strings: the values as QMP has them."""

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The member of this value; one that isn't `is_known` for a value that is none of them."""
        text = decode_str(value)
        try:
            return cls(text)
        except ValueError:
            unknown = str.__new__(cls, text)
            unknown._name_ = text
            unknown._value_ = text
            return unknown

    @property
    def is_known(self) -> bool:
        """Whether the schema has this value; false for what only a newer server knows."""
        return self._value_ in type(self)._value2member_map_

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return type(self).from_json, (self._value_,)


class Member(NamedTuple):
    """How a member of a struct stands in JSON."""

    attribute: str
    name: str
    decode: Callable[[object], Any]
    optional: bool = False
    fixed: bool = False  # the tag of a union's branch, whose value the class knows


class Struct:
    """What every struct, every branch of a union, and every event is."""

    _members: ClassVar[tuple[Member, ...]] = ()

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Checks and takes over what `json.loads` gave. Raises ProtocolError."""
        return cls(**cls._attributes(value))

    @classmethod
    def _attributes(cls, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _mismatch("an object", value)
        out: dict[str, Any] = {}
        for attribute, name, decode, optional, fixed in cls._members:
            if fixed:
                continue
            if name in value:
                try:
                    out[attribute] = decode(value[name])
                except ProtocolError as error:
                    error.path = f".{name}{error.path}"
                    raise
            elif not optional:
                raise ProtocolError(f"the member '{name}' is missing")
        return out

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes. Members that are None are left out."""
        out: dict[str, Any] = {}
        for member in self._members:
            value = getattr(self, member.attribute)
            if value is not None or not member.optional:
                out[member.name] = encode(value)
        return out


@dataclass(frozen=True, kw_only=True)
class UnknownBranch(Struct):
    """A value of a union with a tag that the schema doesn't have: a newer server's."""

    unknown_members: Mapping[str, Any]
    """All of its members, the tag too, as they stand in JSON."""

    @classmethod
    def _attributes(cls, value: object) -> dict[str, Any]:
        return {**super()._attributes(value), "unknown_members": value}

    def to_json(self) -> dict[str, Any]:
        return {**encode(self.unknown_members), **super().to_json()}


class Union(Generic[T]):
    """Decodes a union: `branches` has the class of each value of the tag."""

    def __init__(self, tag: str, branches: Mapping[str, Callable[[object], T]],
                 unknown: Callable[[object], T]) -> None:
        self._tag = tag
        self._branches = branches
        self._unknown = unknown

    def __call__(self, value: object) -> T:
        if not isinstance(value, dict):
            raise _mismatch("an object", value)
        tag = value.get(self._tag)
        if not isinstance(tag, str):
            raise ProtocolError(f"the member '{self._tag}' is missing" if tag is None else
                                f"'{self._tag}' must be a string, and the server sent {_kind(tag)}")
        return self._branches.get(tag, self._unknown)(value)


class Alternate(Generic[T]):
    """Decodes an alternate: `branches` has a decoder for each type that JSON has."""

    def __init__(self, branches: Mapping[type, Callable[[object], T]]) -> None:
        self._branches = branches

    def __call__(self, value: object) -> T:
        branch = self._branches.get(type(value))
        if branch is None and type(value) is int:  # an integer will do for a number
            branch = self._branches.get(float)
        if branch is None:
            raise ProtocolError(f"{_kind(value)} is none of what is possible here")
        return branch(value)
