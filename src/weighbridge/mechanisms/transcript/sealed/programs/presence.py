"""How many records of a list are in the committed data, exactly: each record of the data is hashed.

Parameters: ``salt`` (hex), ``digests``: list of SHA-256(salt ‖ record), hex; a record is the raw bytes of one item, its
arrays in the order of their names. The salt keeps the list from those who do not hold the records themselves. Answers:
``present`` (records of the list that are there), ``items`` (items of the data that are on the list).
"""

import hashlib

from weighbridge.mechanisms.transcript.sealed.opened import Opened


def main() -> None:
    """Hashes every item and answers."""
    opened = Opened.here()
    salt = bytes.fromhex(opened.parameters["salt"])
    wanted = {bytes.fromhex(digest) for digest in opened.parameters["digests"]}
    found: set[bytes] = set()
    items = 0
    for row in opened.rows():
        digest = hashlib.sha256(salt + b"".join(row[name].tobytes() for name in sorted(row))).digest()
        if digest in wanted:
            found.add(digest)
            items += 1
    opened.answer(present=len(found), items=items)


if __name__ == "__main__":
    main()
