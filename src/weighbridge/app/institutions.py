"""Keys and certificates of everybody whom an inspection needs, made in one place: for the demo and for practice."""

from dataclasses import dataclass
from pathlib import Path

from weighbridge.evidence.certificates import Role, issue, issue_root
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.trust import LogKey, TrustRoots

__all__ = ["Institutions"]


@dataclass(frozen=True)
class Institutions:
    """A body with its inspector and registrar, a chip maker, a distributor and a log's key.

    Attributes:
        folder: where the private keys lie.
        roots: whom to trust: the body, the maker and the log.
    """

    folder: Path
    body: FileSigner
    maker: FileSigner
    inspector: FileSigner
    registrar: FileSigner
    distributor: FileSigner
    log_key: FileSigner
    roots: TrustRoots

    @classmethod
    def make(cls, folder: Path, *, origin: str) -> "Institutions":
        """Makes every key and certificate below ``folder``; nothing is overwritten.

        Args:
            folder: a new folder for private keys.
            origin: name of the log.
        """
        folder.mkdir(mode=0o700)
        body, maker = FileSigner.create(folder / "body.pem"), FileSigner.create(folder / "maker.pem")
        body = body.with_chain((issue_root(body, name="Compute Inspectorate", role=Role.INSPECTORATE),))
        maker = maker.with_chain((issue_root(maker, name="Chip Works", role=Role.MAKER),))
        log_key = FileSigner.create(folder / "log.pem")
        return cls(
            folder,
            body,
            maker,
            _certified(body, folder / "inspector.pem", "Inspector", Role.INSPECTOR),
            _certified(body, folder / "registrar.pem", "Registrar", Role.REGISTRAR),
            _certified(body, folder / "distributor.pem", "Distributor", Role.DISTRIBUTOR),
            log_key,
            TrustRoots(roots=(*body.chain, *maker.chain), log_key=LogKey(origin, log_key.public_key), checkpoint=None),
        )

    def operator(self, path: Path, name: str) -> FileSigner:
        """Makes an operator's key at ``path`` and has the body certify it."""
        return _certified(self.body, path, name, Role.OPERATOR)


def _certified(body: FileSigner, path: Path, name: str, role: Role) -> FileSigner:
    signer = FileSigner.create(path)
    certificate = issue(body, body.chain[0], public_key=signer.public_key, name=name, role=role)
    return signer.with_chain((certificate, *body.chain))
