"""Where custody statements lie: SQLAlchemy tables, the same on SQLite and PostgreSQL.

The statement's bytes are the record; everything else is an index made from them in the same transaction, and
:meth:`Store.check_index` makes it again. Nothing is ever updated or deleted.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, SQLAlchemyError

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.statement import statement_id

__all__ = ["Row", "Store"]

_SCHEMA: Final = "directory/1"
# SQLite takes 32,766 parameters in one query; smaller pieces keep its plans simple.
_AT_ONCE: Final = 500

_METADATA: Final = sa.MetaData()
_ABOUT: Final = sa.Table(
    "directory_about",
    _METADATA,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.String(64), nullable=False),
)
_STATEMENTS: Final = sa.Table(
    "custody_statements",
    _METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("claim", sa.String(64), nullable=False, index=True),
    sa.Column("raw", sa.LargeBinary, nullable=False),
)
# kind: chip, party or serial; name: which one the statement mentions.
_MENTIONS: Final = sa.Table(
    "custody_mentions",
    _METADATA,
    sa.Column("kind", sa.String(8), primary_key=True),
    sa.Column("name", sa.String(160), primary_key=True),
    sa.Column("statement", sa.ForeignKey("custody_statements.id"), primary_key=True, index=True),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One statement as stored.

    Attributes:
        id: statement id.
        claim: digest of who said what: two signatures on the same words have the same.
        raw: the statement's bytes.
        mentions: (kind, name) of the chips, parties and serial numbers that it names.
    """

    id: str
    claim: str
    raw: bytes
    mentions: frozenset[tuple[str, str]]


class Store:
    """The tables behind a directory.

    Args:
        url: a path, or an SQLAlchemy URL of SQLite or PostgreSQL; ``sqlite://`` keeps all in memory.
        create: make the tables if there are none.

    Raises:
        InputError: no such directory, no such database, or a file that is something else.
    """

    def __init__(self, url: str | Path, *, create: bool) -> None:
        address = _address(url)
        self.where = address.render_as_string(hide_password=True)
        sqlite = address.get_backend_name() == "sqlite"
        file = Path(address.database) if sqlite and address.database not in (None, "", ":memory:") else None
        if file is not None and not create and not file.is_file():
            raise InputError("there is no directory of chips here", where=file, mend="import one first")
        with self._words():
            self._engine = sa.create_engine(address, connect_args={"timeout": 30} if sqlite else {})
            dialect = self._engine.dialect.name
            if dialect not in ("sqlite", "postgresql"):
                raise InputError(f"{dialect} is not supported", where=self.where, mend="use SQLite or PostgreSQL")
            if create:
                _METADATA.create_all(self._engine)
            with self._engine.begin() as connection:
                found = connection.execute(sa.select(_ABOUT.c.value)).scalars().all()
                if not found and create:
                    connection.execute(_ABOUT.insert().values(name="schema", value=_SCHEMA))
                elif list(found) != [_SCHEMA]:
                    raise InputError("is no directory of chips of this version", where=self.where)

    def insert(self, rows: Sequence[Row]) -> frozenset[str]:
        """Stores rows in one transaction, all or none; returns the ids that were new."""
        with self._words(), self._engine.begin() as connection:
            known = set(self._select(connection, _STATEMENTS.c.id, _STATEMENTS.c.id, [row.id for row in rows]))
            new = {row.id: row for row in rows if row.id not in known}
            statements = [{"id": row.id, "claim": row.claim, "raw": row.raw} for row in new.values()]
            mentions = [
                {"kind": kind, "name": name, "statement": row.id}
                for row in new.values()
                for kind, name in sorted(row.mentions)
            ]
            for table, values in ((_STATEMENTS, statements), (_MENTIONS, mentions)):
                if values:
                    # Another process may have stored the same statement meanwhile: the same bytes, so no matter.
                    connection.execute(self._insert(table).on_conflict_do_nothing(), values)
            return frozenset(new)

    def claims_known(self, claims: Sequence[str]) -> frozenset[str]:
        """Returns which of these claims some stored statement makes already."""
        with self._words(), self._engine.connect() as connection:
            return frozenset(self._select(connection, _STATEMENTS.c.claim, _STATEMENTS.c.claim, claims))

    def names(self, kind: str) -> list[str]:
        """Returns all chips, parties or serial numbers mentioned, sorted."""
        query = sa.select(_MENTIONS.c.name).where(_MENTIONS.c.kind == kind).distinct()
        with self._words(), self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())

    def beside(self, kind: str, names: Iterable[str], *, wanted: str) -> list[str]:
        """Returns the names of kind ``wanted`` in statements that mention one of ``names`` of ``kind``, sorted."""
        given, found = list(dict.fromkeys(names)), set[str]()
        other = _MENTIONS.alias()
        with self._words(), self._engine.connect() as connection:
            for start in range(0, len(given), _AT_ONCE):
                query = (
                    sa.select(other.c.name)
                    .join(_MENTIONS, _MENTIONS.c.statement == other.c.statement)
                    .where(_MENTIONS.c.kind == kind, _MENTIONS.c.name.in_(given[start : start + _AT_ONCE]))
                    .where(other.c.kind == wanted)
                    .distinct()
                )
                found.update(connection.execute(query).scalars())
        return sorted(found)

    def mentioning(self, kind: str, names: Iterable[str]) -> Iterator[bytes]:
        """Yields the statements that mention one of the names, each once.

        Raises:
            EvidenceError: a statement's bytes do not have its id.
        """
        wanted = list(dict.fromkeys(names))
        with self._words(), self._engine.connect() as connection:
            ids: dict[str, None] = {}
            for start in range(0, len(wanted), _AT_ONCE):
                piece = wanted[start : start + _AT_ONCE]
                query = (
                    sa.select(_MENTIONS.c.statement)
                    .where(_MENTIONS.c.kind == kind, _MENTIONS.c.name.in_(piece))
                    .distinct()
                )
                ids |= dict.fromkeys(connection.execute(query).scalars())
            some = list(ids)
            for start in range(0, len(some), _AT_ONCE):
                query_raw = sa.select(_STATEMENTS.c.id, _STATEMENTS.c.raw).where(
                    _STATEMENTS.c.id.in_(some[start : start + _AT_ONCE])
                )
                yield from map(self._intact, connection.execute(query_raw))

    def all(self) -> Iterator[bytes]:
        """Yields every statement, in the order of ids.

        Raises:
            EvidenceError: a statement's bytes do not have its id.
        """
        query = sa.select(_STATEMENTS.c.id, _STATEMENTS.c.raw).order_by(_STATEMENTS.c.id)
        with self._words(), self._engine.connect() as connection:
            yield from map(self._intact, connection.execute(query))

    def check_index(self, rows: Iterable[Row]) -> None:
        """Compares the stored index with one made again from the statements.

        Raises:
            EvidenceError: an entry is missing or was added: a chip was hidden, or given events not its own.
        """
        expected = {(kind, name, row.id) for row in rows for kind, name in row.mentions}
        query = sa.select(_MENTIONS.c.kind, _MENTIONS.c.name, _MENTIONS.c.statement)
        with self._words(), self._engine.connect() as connection:
            found = {(kind, name, statement) for kind, name, statement in connection.execute(query)}
        for kind, name, statement in sorted(expected ^ found):
            what = "hides" if (kind, name, statement) in expected else "invents"
            raise EvidenceError(
                f"the index {what} a mention of {kind} {name}", where=f"{self.where}, statement {statement[:16]}"
            )

    def close(self) -> None:
        """Closes the database."""
        self._engine.dispose()

    def _insert(self, table: sa.Table) -> Any:
        return (postgresql if self._engine.dialect.name == "postgresql" else sqlite_dialect).insert(table)

    @staticmethod
    def _select(
        connection: sa.Connection, wanted: sa.Column[Any], by: sa.Column[Any], values: Sequence[str]
    ) -> Iterator[str]:
        for start in range(0, len(values), _AT_ONCE):
            yield from connection.execute(sa.select(wanted).where(by.in_(values[start : start + _AT_ONCE]))).scalars()

    def _intact(self, row: Any) -> bytes:
        raw = bytes(row.raw)
        if statement_id(raw) != row.id:
            raise EvidenceError("the stored bytes are not this statement's", where=f"statement {row.id[:16]}")
        return raw

    @contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            reason = str(error.orig).strip().splitlines()[0]
            raise InputError(f"is no usable directory of chips: {reason}", where=self.where) from error
        except (SQLAlchemyError, ImportError) as error:
            raise InputError(f"cannot be opened: {error}", where=self.where) from error


def _address(url: str | Path) -> sa.URL:
    if isinstance(url, Path) or "://" not in url:
        return sa.URL.create("sqlite", database=str(url))
    try:
        address = sa.make_url(url)
        address.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise InputError("is no database address", where=url.split("://")[0], mend="give a path") from error
    return address
