"""Every bound on what evidence will read: sizes, counts, depths, each with its unit and reason."""

from dataclasses import dataclass

__all__ = ["LIMITS", "Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds that parsers check before they do any work.

    Attributes:
        statement_bytes: bytes of one signed statement; bulk data is committed to by digest.
        receipt_bytes: bytes of one receipt; 63 path nodes of 34 bytes and the headers stay under 3 KiB.
        certificate_bytes: bytes of one DER certificate; ours are below 1 KiB, claims included.
        chain_certificates: certificates in one x5chain: leaf, two intermediates and the root.
        key_file_bytes: bytes of a key or certificate file.
        checkpoint_bytes: bytes of a checkpoint with all its signature lines.
        checkpoint_signatures: signature lines read from one checkpoint; C2SP asks verifiers to tolerate 16.
        cbor_depth: nested CBOR containers; our deepest header uses 4, payloads a few more.
        cbor_items: CBOR data items in one message; one takes about a microsecond to read.
        json_depth: nested JSON containers in a payload.
        number_digits: characters of one JSON number; 1e24 FLOP written out has 25.
        text_bytes: bytes of a name, subject, kind or origin; these become columns and headings.
        claims: entries in a certificate's claims.
        tree_size: log entries; RFC 9162 proofs then have at most 63 nodes and fit SQLite's integers.
        batch_statements: statements in one transaction; bounds the memory and the time the log is held.
        spool_files: files that the keeper takes from its spool in one pass.
        spool_answers: statements that answer one entry; times ``spool_files`` they still fit one batch.
        spool_refusals: refusals kept for clients to read; older ones are dropped first.
        spool_answers_bytes: bytes of one answers file: a few statements with their receipts.
        spool_stale_seconds: age in seconds after which an unfinished drop is taken for abandoned.
        root_files: certificates in one directory of trust roots.
    """

    statement_bytes: int = 1 << 20
    receipt_bytes: int = 1 << 14
    certificate_bytes: int = 1 << 13
    chain_certificates: int = 4
    key_file_bytes: int = 1 << 16
    checkpoint_bytes: int = 1 << 13
    checkpoint_signatures: int = 16
    cbor_depth: int = 16
    cbor_items: int = 200_000
    json_depth: int = 64
    number_digits: int = 64
    text_bytes: int = 512
    claims: int = 64
    tree_size: int = (1 << 62) - 1
    batch_statements: int = 65_536
    spool_files: int = 1_024
    spool_answers: int = 64
    spool_refusals: int = 10_000
    spool_answers_bytes: int = 1 << 24
    spool_stale_seconds: int = 3_600
    root_files: int = 256


LIMITS = Limits()
