"""Whether a key may sign what a command is about to sign: said before anything is written, not by whoever reads it."""

from collections.abc import Collection
from pathlib import Path

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import Role, role_of, verify_chain
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.trust import TrustRoots

__all__ = ["require_role"]


def require_role(
    chain: FileSigner | tuple[bytes, ...],
    roles: Collection[Role],
    *,
    where: Path,
    roots: TrustRoots | None,
    option: str = "--key",
) -> None:
    """Refuses a key whose statement nobody would accept.

    Args:
        chain: the signer, or another's certificates, leaf first.
        roles: who may sign it.
        where: the file of the key or certificate.
        roots: whom to trust; without them the certificate's own word is taken, and whoever reads it verifies it.
        option: which option named the file.

    Raises:
        InputError: no certificate, one that the roots do not vouch for, or another role.
    """
    certificates = chain.chain if isinstance(chain, FileSigner) else chain
    wanted = " or ".join(_article(role) for role in sorted(roles))
    mend = f"name the key of {wanted}"
    if not certificates:
        raise InputError("has no certificate beside it", where=where, field=option, mend=mend)
    try:
        role = role_of(certificates[0]) if roots is None else verify_chain(certificates, roots.roots, at=None).role
    except EvidenceError as error:
        why = f"its certificate does not hold: {error}"
        raise InputError(why, where=where, field=option, mend=f"{mend}, certified under these roots") from error
    if role not in roles:
        raise InputError(f"is {_article(role)}'s, not {wanted}'s", where=where, field=option, mend=mend)


def _article(role: str) -> str:
    return f"{'an' if role[0] in 'aeiou' else 'a'} {role}"
