"""What may be drawn: a list of items that is fixed by one digest before anybody knows the seed."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.jsontext import dump_json, load_json
from weighbridge.evidence.merkle import leaf_hash, root

__all__ = ["ITEM_BYTES", "Item", "Population"]

_LARGEST = 20_000_000  # items; a country's chips, and about a gigabyte of file
_SALT_BYTES = 32
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_LONGEST = 256  # characters of one value
ITEM_BYTES = 4_096
"""Bytes that one item may take in the list: what a label tells, not a file."""


@dataclass(frozen=True, order=True)
class Item:
    """One item of a population.

    Attributes:
        id: what it is drawn by; a chip's id for chips.
        facts: what else was known of it when the population was frozen, such as rack and serial number.
    """

    id: str
    facts: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """Returns one fact, or None."""
        return dict(self.facts).get(name)

    def as_dict(self) -> dict[str, str]:
        """Returns plain JSON data."""
        return {"id": self.id, **dict(self.facts)}


@dataclass(frozen=True)
class Population:
    """A frozen list of items.

    Attributes:
        items: sorted by id, each id once.
        salt: 32 random bytes that keep the digest from telling who is on the list.
    """

    items: tuple[Item, ...]
    salt: bytes

    @classmethod
    def of(
        cls,
        rows: Iterable[Mapping[str, str]],
        *,
        salt: bytes,
        where: object = "population",
        lines: Sequence[int] | None = None,
    ) -> Self:
        """Makes a population of rows with an ``id`` and any other columns; empty values are left out.

        Args:
            rows: the items.
            salt: 32 random bytes.
            where: the file that they are from, for errors.
            lines: the line of each row in that file; the rows are counted if None.

        Raises:
            InputError: no row, an id twice or empty, a column or value that cannot stand in a table.
        """
        if len(salt) != _SALT_BYTES:
            raise InputError(f"has {len(salt)} bytes, not {_SALT_BYTES}", where=where, field="salt")
        items: dict[str, Item] = {}
        for number, row in enumerate(rows, 1):
            place = f"{where}, row {number}" if lines is None else f"{where}, line {lines[number - 1]}"
            item = _item(row, place)
            if item.id in items:
                raise InputError(f"names {item.id} a second time", where=place, field="id", mend="leave one out")
            items[item.id] = item
            if number > _LARGEST:
                raise InputError(f"has more than {_LARGEST:,} items", where=where, mend="draw by stages")
        if not items:
            raise InputError("is empty", where=where, mend="list at least one item")
        return cls(tuple(items[identifier] for identifier in sorted(items)), salt)

    @classmethod
    def from_csv(cls, text: str, *, salt: bytes, where: object) -> Self:
        """Reads a table with a heading; its column ``id`` or ``chip`` names the items.

        Raises:
            InputError: as :meth:`of`, or no such column.
        """
        reader = csv.DictReader(io.StringIO(text))
        names = list(reader.fieldnames or ())
        key = next((name for name in ("id", "chip") if name in names), None)
        if key is None:
            raise InputError("has no column id or chip", where=where, mend="begin with a line such as id,rack,serial")
        rows, lines = [], []
        for row in reader:
            if None in row or None in row.values():
                raise InputError(f"line {reader.line_num} has not one value for each column", where=where)
            lines.append(reader.line_num)
            rows.append({"id" if name == key else name: value for name, value in row.items()})
        return cls.of(rows, salt=salt, where=where, lines=lines)

    @classmethod
    def from_json(cls, data: bytes, *, where: object) -> Self:
        """Reads what :meth:`as_json` wrote.

        Raises:
            EvidenceError: not a population in its one spelling.
        """
        content = load_json(data, where=str(where))
        items, salt = content.get("items"), content.get("salt")
        if set(content) != {"items", "salt"} or not isinstance(items, list) or not isinstance(salt, str):
            raise EvidenceError("is not a population", where=where)
        try:
            found = cls.of(items, salt=bytes.fromhex(salt))
        except (ValueError, AttributeError, TypeError) as error:
            raise EvidenceError(f"is not a population: {error}", where=where) from error
        if found.ids != [item["id"] for item in items]:
            raise EvidenceError("is not in its one order", where=where)
        if found.as_json() != data:
            raise EvidenceError("is not a population in its one spelling", where=where)
        return found

    def as_json(self) -> bytes:
        """Returns the file that is kept and opened to whoever checks the draw."""
        return dump_json({"items": [item.as_dict() for item in self.items], "salt": self.salt.hex()})

    @property
    def commitment(self) -> str:
        """SHA-256 over the salt and the RFC 9162 root of the items, hex."""
        top = root(leaf_hash(dump_json(item.as_dict())) for item in self.items)
        return hashlib.sha256(b"weighbridge/population/1\0" + self.salt + top).hexdigest()

    @property
    def ids(self) -> list[str]:
        """The items' ids, sorted."""
        return [item.id for item in self.items]

    def by_id(self) -> dict[str, Item]:
        """Returns the items by id."""
        return {item.id: item for item in self.items}


def _item(row: Mapping[str, Any], where: str) -> Item:
    facts = []
    for name, value in sorted(row.items()):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError("a column's name is lower-case letters, digits and _", where=where, field=str(name)[:40])
        if not isinstance(value, str) or len(value) > _LONGEST or (value and not value.isprintable()):
            raise InputError(f"is not a printable text of at most {_LONGEST} characters", where=where, field=name)
        if name != "id" and value.strip():
            facts.append((name, value.strip()))
    identifier = row.get("id")
    if not isinstance(identifier, str) or not identifier.strip():
        raise InputError("has no id", where=where, field="id", mend="give each item an id of its own")
    item = Item(identifier.strip(), tuple(facts))
    if len(dump_json(item.as_dict())) > ITEM_BYTES:
        raise InputError(f"takes more than {ITEM_BYTES:,} bytes", where=where, mend="leave columns out")
    return item
