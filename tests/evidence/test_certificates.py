import datetime
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import (
    CLAIMS_OID,
    Role,
    certificates_to_pem,
    issue,
    issue_root,
    verify_chain,
)

from .conftest import World

UNDER = {
    "maker": {"maker", "chip"},
    "inspectorate": {"inspectorate", "inspector", "operator", "registrar", "distributor", "log"},
}


def test_a_chain_says_who_its_leaf_is(world: World) -> None:
    for chain in (world.chip.chain, world.chip.chain[:1]):
        identity = verify_chain(chain, world.roots.roots, at=None)
        assert identity.name == "chip-7"
        assert identity.role is Role.CHIP
        assert identity.public_key == world.chip.public_key
        assert identity.key_id == world.chip.key_id
        assert identity.claims == {"schedule_commitment": "ab" * 32, "schedule_length": "4096"}
        assert identity.issuer_name == "Maker One"
    root = verify_chain([world.maker_root], world.roots.roots, at=None)
    assert (root.role, root.issuer_name) == (Role.MAKER, "Maker One")


def test_claims_handed_out_cannot_be_changed_for_others(world: World) -> None:
    identity = verify_chain(world.chip.chain, world.roots.roots, at=None)
    identity.claims["schedule_length"] = "1"  # type: ignore[index]
    assert verify_chain(world.chip.chain, world.roots.roots, at=None).claims["schedule_length"] == "4096"


@pytest.mark.parametrize("root_role", ["maker", "inspectorate"])
@pytest.mark.parametrize("role", [role.value for role in Role])
def test_a_root_issues_its_own_roles_and_no_other(world: World, root_role: str, role: str) -> None:
    signer, certificate = (world.maker, world.maker_root) if root_role == "maker" else (world.body, world.body_root)
    holder = world.key().public_key
    if role in UNDER[root_role]:
        made = issue(signer, certificate, public_key=holder, name="X", role=role)
        assert verify_chain([made], world.roots.roots, at=None).role == role
    else:
        with pytest.raises(InputError, match="may not certify"):
            issue(signer, certificate, public_key=holder, name="X", role=role)


@pytest.mark.parametrize("role", ["chip", "inspector", "operator", "registrar", "distributor", "log", "king"])
def test_only_makers_and_inspectorates_are_roots(world: World, role: str) -> None:
    with pytest.raises(InputError):
        issue_root(world.key(), name="X", role=role)


def forge(
    *,
    issuer_key: Ed25519PrivateKey | None = None,
    issuer: tuple[str, str] = ("Maker One", "maker"),
    subject: tuple[str, str] = ("chip-7", "chip"),
    ca: bool = False,
    path_length: int | None = None,
    extra: x509.ExtensionType | None = None,
    critical: bool = False,
    usage: bool = True,
) -> bytes:
    """Builds certificates that ours never writes, signed by a key of the caller's."""
    key = issuer_key or Ed25519PrivateKey.generate()
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(name(*issuer))
        .subject_name(name(*subject))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if usage:
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=ca,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    if extra is not None:
        builder = builder.add_extension(extra, critical=critical)
    return builder.sign(key, None).public_bytes(Encoding.DER)


def name(common: str, unit: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        ]
    )


def raw_key(signer: object) -> Ed25519PrivateKey:
    key = signer._private_key  # type: ignore[attr-defined]
    assert isinstance(key, Ed25519PrivateKey)
    return key


def test_a_certificate_that_names_the_root_but_is_not_signed_by_it_is_refused(world: World) -> None:
    with pytest.raises(EvidenceError, match="none of the trusted roots"):
        verify_chain([forge()], world.roots.roots, at=None)
    rogue = Ed25519PrivateKey.generate()
    rogue_root = forge(issuer_key=rogue, subject=("Maker One", "maker"), ca=True, path_length=2)
    with pytest.raises(EvidenceError, match="none of the trusted roots"):
        verify_chain([forge(issuer_key=rogue), rogue_root], world.roots.roots, at=None)


def test_the_forger_can_write_what_is_accepted_so_that_the_refusals_below_mean_something(
    world: World,
) -> None:
    good = forge(issuer_key=raw_key(world.maker))
    assert verify_chain([good], world.roots.roots, at=None).name == "chip-7"


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ({"subject": ("x", "inspector")}, "may not certify"),
        ({"subject": ("x", "king")}, "no known role"),
        ({"subject": ("a\x07b", "chip")}, "not printable"),
        ({"usage": False}, "lacks basic constraints"),
        ({"extra": x509.OCSPNoCheck(), "critical": True}, "unknown critical"),
        ({"ca": True, "path_length": None}, "states its path length"),
        ({"extra": x509.UnrecognizedExtension(CLAIMS_OID, b"\x0c\x02{}x")}, "not a UTF8String"),
        ({"extra": x509.UnrecognizedExtension(CLAIMS_OID, b'\x0c\x07{"a":1}')}, "map text to text"),
        ({"extra": x509.UnrecognizedExtension(CLAIMS_OID, b"\x0c\x03{ }")}, "one spelling"),
        ({"extra": x509.UnrecognizedExtension(CLAIMS_OID, b"")}, "not a UTF8String"),
    ],
)
def test_a_malformed_certificate_is_refused_though_the_maker_signed_it(
    world: World, fault: dict[str, object], match: str
) -> None:
    certificate = forge(issuer_key=raw_key(world.maker), **fault)  # type: ignore[arg-type]
    with pytest.raises(EvidenceError, match=match):
        verify_chain([certificate], world.roots.roots, at=None)


def test_a_leaf_certifies_nobody(world: World) -> None:
    below = forge(issuer_key=raw_key(world.chip), issuer=("chip-7", "chip"), subject=("chip-8", "chip"))
    with pytest.raises(EvidenceError, match="no authority"):
        verify_chain([below, *world.chip.chain], world.roots.roots, at=None)
    with pytest.raises(InputError, match="may not certify"):
        issue(world.chip, world.chip.chain[0], public_key=world.key().public_key, name="x", role="chip")


def test_path_lengths_hold(world: World) -> None:
    chain = [world.maker_root]
    signer = world.maker
    for level in range(2):
        below = world.key()
        made = issue(
            signer,
            chain[0],
            public_key=below.public_key,
            name=f"desk {level}",
            role="maker",
            authority=True,
        )
        signer, chain = below, [made, *chain]
    leaf = issue(signer, chain[0], public_key=world.key().public_key, name="c", role="chip")
    assert verify_chain([leaf, *chain], world.roots.roots, at=None).issuer_name == "desk 1"
    with pytest.raises(InputError, match="at most two below"):
        issue(signer, chain[0], public_key=world.key().public_key, name="d", role="maker", authority=True)
    # What issue() refuses, a desk could still write by hand.
    deeper = forge(
        issuer_key=raw_key(signer),
        issuer=("desk 1", "maker"),
        subject=("desk 2", "maker"),
        ca=True,
        path_length=0,
    )
    leaf = forge(issuer_key=raw_key(signer), issuer=("desk 2", "maker"))
    with pytest.raises(EvidenceError, match="may stand above"):
        verify_chain([leaf, deeper, *chain[:2]], world.roots.roots, at=None)


def test_validity_is_judged_at_the_time_asked_for(world: World) -> None:
    signer = world.key()
    root = issue_root(signer, name="Old", role="maker", days=10, not_before=1_000_000.0)
    leaf = issue(signer, root, public_key=signer.public_key, name="c", role="chip", days=99, not_before=1_100_000.0)
    assert verify_chain([leaf], [root], at=1_200_000.0).name == "c"
    for moment in (1_050_000.0, 1_000_000.0 + 10 * 86_400 + 1, None):
        with pytest.raises(EvidenceError, match="valid from"):
            verify_chain([leaf], [root], at=moment)
    limit = x509.load_der_x509_certificate(leaf).not_valid_after_utc.timestamp()
    assert limit == 1_000_000 + 10 * 86_400, "a leaf outlives its issuer"


def test_another_algorithm_is_refused(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .issuer_name(name("E", "maker"))
        .subject_name(name("E", "maker"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    with pytest.raises(EvidenceError, match="Ed25519"):
        verify_chain([certificate], [certificate], at=None)


@pytest.mark.parametrize("chain", [[], [b""], [b"x" * 9000], ["text"], [None], [[]]])
def test_what_is_no_chain_is_refused(world: World, chain: list[object]) -> None:
    with pytest.raises(EvidenceError):
        verify_chain(chain, world.roots.roots, at=None)  # type: ignore[arg-type]


def test_a_chain_without_roots_is_refused(world: World) -> None:
    with pytest.raises(EvidenceError, match="none of the trusted roots"):
        verify_chain(world.chip.chain, [], at=None)
    with pytest.raises(EvidenceError, match="none of the trusted roots"):
        verify_chain(world.chip.chain, [world.body_root], at=None)
    with pytest.raises(EvidenceError, match="more than 4"):
        verify_chain([world.maker_root] * 5, world.roots.roots, at=None)


@pytest.mark.parametrize("bad", ["", "x" * 65, "a\nb", "\x00"])
def test_a_name_that_cannot_be_shown_is_refused(world: World, bad: str) -> None:
    with pytest.raises(InputError, match="name"):
        issue_root(world.key(), name=bad, role="maker")


def test_claims_have_bounds(world: World) -> None:
    def certify(claims: dict[str, str]) -> bytes:
        key = world.key().public_key
        return issue(world.maker, world.maker_root, public_key=key, name="c", role="chip", claims=claims)

    for size in (1, 100, 125, 126, 300, 4000):
        made = certify({"k": "v" * size})
        assert verify_chain([made], world.roots.roots, at=None).claims == {"k": "v" * size}
    for claims in ({"k": "v" * 9000}, {str(n): "" for n in range(65)}, {"k": 1}):
        with pytest.raises(InputError):
            certify(claims)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_certificate_is_refused_and_never_another_error(world: World, data: st.DataObject) -> None:
    good = bytearray(world.chip.chain[0])
    position = data.draw(st.integers(0, len(good) - 1))
    change = data.draw(st.integers(1, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(good))))
    good[position] ^= change
    with pytest.raises(EvidenceError):
        verify_chain([bytes(good[:cut])], world.roots.roots, at=None)


def test_a_signature_with_unused_bits_is_another_encoding_and_refused(world: World) -> None:
    for _ in range(64):
        key = world.key().public_key
        made = issue(world.maker, world.maker_root, public_key=key, name="c", role="chip")
        if made[-1] & 1 == 0:
            break
    unused = made[:-65] + b"\x01" + made[-64:]
    assert x509.load_der_x509_certificate(unused).signature == made[-64:]
    with pytest.raises(EvidenceError, match="one encoding"):
        verify_chain([unused], world.roots.roots, at=None)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl program")
def test_openssl_accepts_our_chains(world: World, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(certificates_to_pem([world.maker_root]))
    (tmp_path / "leaf.pem").write_bytes(certificates_to_pem(world.chip.chain[:1]))
    command = ["openssl", "verify", "-x509_strict", "-CAfile", f"{tmp_path}/root.pem", f"{tmp_path}/leaf.pem"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr


def test_verifying_the_same_chain_again_is_cheap(world: World) -> None:
    verify_chain(world.chip.chain, world.roots.roots, at=None)
    start = time.process_time()
    for _ in range(1000):
        verify_chain(world.chip.chain, world.roots.roots, at=None)
    assert time.process_time() - start < 0.5
