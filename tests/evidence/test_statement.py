"""Statements: what is accepted, and each way in which a forger could try to get another accepted."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import cbor2
import pytest
import scitt_cose
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import Role, issue, issue_root
from weighbridge.evidence.keys import FileSigner, Signer
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.statement import (
    sign_statement,
    signed_bytes,
    statement_id,
    verify_foreign_statement,
    verify_statement,
)
from weighbridge.evidence.trust import TrustRoots

from .conftest import World

PAYLOADS: list[Mapping[str, Any]] = [
    {},
    {"a": 1, "b": [1, 2.5, None, True, "é"], "c": {"d": -1}},
    {"z": 1e24, "big": 10**17, "e": "", "text": 'quote " and \\ and \u2028'},
]


@pytest.mark.parametrize("encoding", ["json", "cbor"])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_statement_is_read_as_it_was_signed(world: World, encoding: Any, payload: Mapping[str, Any]) -> None:
    raw = sign_statement(
        world.chip,
        kind="chip-record",
        subject=world.chip.key_id,
        payload=payload,
        encoding=encoding,
        issued_at=time.time(),
    )
    found = verify_statement(raw, world.roots, kind="chip-record", role="chip")
    assert found.payload == payload
    assert found.raw == raw
    assert found.id == statement_id(raw)
    assert (found.kind, found.subject, found.issuer) == ("chip-record", world.chip.key_id, "chip-7")
    assert found.role is Role.CHIP
    assert found.protection == "file"
    assert abs(found.issued_at - time.time()) < 5
    assert found.identity.claims["schedule_length"] == "4096"
    assert verify_statement(raw, list(world.roots.roots)).id == found.id


def test_a_root_may_state_by_itself(world: World) -> None:
    found = verify_statement(world.state(world.maker), world.roots, role="maker")
    assert (found.issuer, found.identity.issuer_name) == ("Maker One", "Maker One")


def test_the_same_words_give_the_same_bytes(world: World) -> None:
    for encoding in ("json", "cbor"):
        one, two = (
            sign_statement(world.chip, kind="k", subject="s", payload=payload, issued_at=9e8 * 2, encoding=encoding)
            for payload in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
        )
        assert one == two


def test_the_structure_is_rfc_9052s(world: World) -> None:
    """Checked field by field against RFC 9052 section 4.2 and RFC 9597, by another decoder than ours."""
    raw = world.state(world.chip, kind="chip-record", subject="c", payload={"a": 1})
    outer = cbor2.loads(raw)
    assert outer.tag == 18
    headers, unprotected, payload, signature = outer.value
    assert dict(unprotected) == {}
    assert payload == b'{"a":1}'
    assert len(signature) == 64
    protected = cbor2.loads(headers)
    assert protected[1] == -8
    assert protected[3] == "application/vnd.weighbridge.chip-record+json"
    assert protected[4] == bytes.fromhex(world.chip.key_id)
    assert dict(protected[15]) == {1: "chip-7", 2: "c", 6: protected[15][6]}
    assert list(protected[33]) == list(world.chip.chain)
    assert protected["weighbridge-protection"] == "file"
    to_be_signed = cbor2.dumps(["Signature1", headers, b"", payload])
    Ed25519PublicKey.from_public_bytes(world.chip.public_key).verify(signature, to_be_signed)


# --- another implementation ---------------------------------------------------------------------------


def pem(signer: Signer) -> bytes:
    return Ed25519PublicKey.from_public_bytes(signer.public_key).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize("encoding", ["json", "cbor"])
def test_scitt_cose_accepts_ours(world: World, encoding: Any) -> None:
    raw = world.state(world.chip, subject="the subject", payload={"a": [1, None]}, encoding=encoding)
    parsed = scitt_cose.parse_signed_statement(raw, public_key_pem=pem(world.chip))
    assert parsed["signature_verified"] is True
    assert (parsed["issuer"], parsed["subject"], parsed["alg"]) == ("chip-7", "the subject", "EdDSA")
    assert parsed["content_type"] == f"application/vnd.weighbridge.step+{encoding}"
    assert parsed["payload"] == verify_statement(raw, world.roots).payload_bytes
    other = scitt_cose.parse_signed_statement(raw, public_key_pem=pem(world.operator))
    assert other["signature_verified"] is False


def foreign(world: World, signer: FileSigner | None = None, **changes: Any) -> bytes:
    options: dict[str, Any] = {
        "alg": "EdDSA",
        "private_key_pem": (signer or world.operator).path.read_bytes(),
        "issuer": "https://issuer.example",
        "subject": "thing:1",
        "content_type": "text/plain",
        "kid": b"kid",
    }
    made = scitt_cose.build_signed_statement(b"payload", **(options | changes))
    assert isinstance(made, bytes)
    return made


def test_ours_accepts_scitt_coses(world: World) -> None:
    raw = foreign(world, extra_cwt_claims={6: 1_700_000_000, "own": "x"})
    found = verify_foreign_statement(raw, world.operator.public_key)
    assert (found.issuer, found.subject) == ("https://issuer.example", "thing:1")
    assert (found.content_type, found.payload_bytes) == ("text/plain", b"payload")
    assert found.claims[6] == 1_700_000_000
    assert found.claims["own"] == "x"
    # With receipts attached, it is still the same signed words.
    attached = scitt_cose.attach_receipts(raw, [b"receipt"])
    assert verify_foreign_statement(attached, world.operator.public_key).payload_bytes == b"payload"
    assert verify_foreign_statement(world.state(), world.operator.public_key).issuer == "operator A"


def test_a_foreign_statement_is_not_one_of_ours(world: World) -> None:
    with pytest.raises(EvidenceError, match="protected header has"):
        verify_statement(foreign(world), world.roots)


def test_a_foreign_statement_under_another_key_is_refused(world: World) -> None:
    for raw, key in (
        (foreign(world), world.chip.public_key),
        (foreign(world, world.chip), world.operator.public_key),
        (foreign(world), b""),
        (foreign(world), bytes(32)),
        (foreign(world)[:-1] + bytes([foreign(world)[-1] ^ 1]), world.operator.public_key),
    ):
        with pytest.raises(EvidenceError):
            verify_foreign_statement(raw, key)


def test_a_foreign_statement_that_asks_for_more_than_we_know_is_refused(world: World) -> None:
    signer = world.operator
    changes: list[dict[int, Any]] = [
        {2: [1]},
        {1: -7},
        {1: "EdDSA"},
        {15: {1: "iss"}},
        {15: {1: 1, 2: "s"}},
        {15: []},
        {3: [1]},
        {3: True},
    ]
    for change in changes:
        made = {1: -8, 3: "text/plain", 15: {1: "i", 2: "s"}} | change
        with pytest.raises(EvidenceError):
            verify_foreign_statement(seal(signer, made, b"p"), signer.public_key)
    good = seal(signer, {1: -8, 15: {1: "i", 2: "s"}}, b"p")
    assert verify_foreign_statement(good, signer.public_key).content_type is None


# --- forgeries ------------------------------------------------------------------------------------------


def seal(
    signer: Signer,
    headers: object,
    content: bytes | None,
    *,
    unprotected: object = None,
    tag: int = 18,
) -> bytes:
    """Signs whatever it is given, as an attacker with a certified key would."""
    protected = headers if isinstance(headers, bytes) else cbor2.dumps(headers)
    signature = signer.sign(signed_bytes(protected, content or b""))
    return cbor2.dumps(cbor2.CBORTag(tag, [protected, unprotected or {}, content, signature]))


def headers_of(signer: FileSigner) -> dict[Any, Any]:
    return {
        1: -8,
        3: "application/vnd.weighbridge.step+json",
        4: bytes.fromhex(signer.key_id),
        15: claims(),
        33: signer.chain[0],
        "weighbridge-protection": "file",
    }


def claims(change: Mapping[Any, Any] | None = None) -> dict[Any, Any]:
    return {1: "operator A", 2: "run-1", 6: int(time.time())} | dict(change or {})


Forger = Callable[[World], bytes]


def headers(change: Mapping[Any, Any], payload: bytes = b"{}") -> Forger:
    """A statement by the operator, as it should be but for some headers; None leaves one out."""

    def forge(world: World) -> bytes:
        made = headers_of(world.operator) | dict(change)
        return seal(world.operator, {k: v for k, v in made.items() if v is not None}, payload)

    return forge


def payload(content: bytes | None, encoding: str = "json", **options: Any) -> Forger:
    """A statement by the operator, as it should be but for its payload."""
    kind = {3: f"application/vnd.weighbridge.step+{encoding}"}
    return lambda w: seal(w.operator, headers_of(w.operator) | kind, content, **options)


def raw_headers(change: Callable[[bytes], bytes]) -> Forger:
    """A statement by the operator whose protected header is edited before it is signed."""
    return lambda w: seal(w.operator, change(cbor2.dumps(headers_of(w.operator))), b"{}")


def stranger(world: World) -> bytes:
    key, rogue = world.key(), world.key()
    root = issue_root(rogue, name="Inspectorate", role="inspectorate")
    leaf = issue(rogue, root, public_key=key.public_key, name="operator A", role="operator")
    return world.state(key.with_chain([leaf, root]))


def with_chain_unsigned(world: World) -> bytes:
    made = headers_of(world.operator)
    chain = {33: made.pop(33)}
    return seal(world.operator, made, b"{}", unprotected=chain)


def test_the_forger_can_write_what_is_accepted_so_that_the_refusals_below_mean_something(
    world: World,
) -> None:
    found = verify_statement(payload(b'{"a":1}')(world), world.roots, role="operator")
    assert found.payload == {"a": 1}
    verify_statement(headers({})(world), world.roots)
    verify_statement(raw_headers(lambda data: data)(world), world.roots)


FORGERIES: dict[str, tuple[Forger, str]] = {
    "another algorithm": (headers({1: -7}), "alg"),
    "a fully specified algorithm": (headers({1: -19}), "alg"),
    "the algorithm's name": (headers({1: "EdDSA"}), "alg"),
    "the algorithm as a float": (headers({1: -8.0}), "alg"),
    "no algorithm": (headers({1: None}), "protected header"),
    "no content type": (headers({3: None}), "protected header"),
    "no key id": (headers({4: None}), "protected header"),
    "no claims": (headers({15: None}), "protected header"),
    "no chain": (headers({33: None}), "protected header"),
    "no protection": (headers({"weighbridge-protection": None}), "protected header"),
    "a critical parameter": (headers({2: ["x"]}), "protected header"),
    "an unknown parameter": (headers({99: 1}), "protected header"),
    "the chain outside the signature": (with_chain_unsigned, "unprotected"),
    "anything unprotected": (payload(b"{}", unprotected={394: [b"r"]}), "unprotected"),
    "an empty chain": (headers({33: []}), "x5chain"),
    "a chain of one as an array": (lambda w: headers({33: [w.operator.chain[0]]})(w), "x5chain"),
    "a chain of text": (headers({33: ["a", "b"]}), "x5chain"),
    "another's headers with the own key": (
        lambda w: seal(w.operator, headers_of(w.inspector), b"{}"),
        "signature",
    ),
    "another's chain": (lambda w: headers({33: w.inspector.chain[0]})(w), "kid"),
    "another's key id": (lambda w: headers({4: bytes.fromhex(w.inspector.key_id)})(w), "kid"),
    "the key id as text": (lambda w: headers({4: w.operator.key_id})(w), "kid"),
    "another's name": (headers({15: claims({1: "inspector A"})}), "iss"),
    "a time before the certificate's": (headers({15: claims({6: 5})}), "valid from"),
    "a time with a fraction": (headers({15: claims({6: 1.8e9})}), "iat"),
    "a time that is a truth value": (headers({15: claims({6: True})}), "iat"),
    "a time beyond all dates": (headers({15: claims({6: 2**63})}), "iat"),
    "one more claim": (headers({15: claims({4: 0})}), "CWT claims"),
    "claims that are no map": (headers({15: [1]}), "CWT claims"),
    "no subject": (headers({15: claims({2: ""})}), "sub"),
    "a subject of bytes": (headers({15: claims({2: b"s"})}), "sub"),
    "a subject that steers a terminal": (headers({15: claims({2: "\x1b[2J"})}), "sub"),
    "a stronger protection than certified": (
        headers({"weighbridge-protection": "silicon"}),
        "certified as file",
    ),
    "an unknown protection": (headers({"weighbridge-protection": "vault"}), "is not one of"),
    "another's content type": (headers({3: "application/json"}), "content type"),
    "a content type with more": (
        headers({3: "application/vnd.weighbridge.step+json; q=1"}),
        "content type",
    ),
    "a content type by number": (headers({3: 50}), "content type"),
    "a detached payload": (payload(None), "detached"),
    "COSE_Sign": (payload(b"{}", tag=98), "tag 18"),
    "COSE_Mac0": (payload(b"{}", tag=17), "tag 18"),
    "headers that are no map": (raw_headers(lambda data: cbor2.dumps([1])), "protected header"),
    "empty headers": (raw_headers(lambda data: b""), "cut short"),
    "a header twice": (raw_headers(lambda data: b"\xa7\x01\x27" + data[1:]), "repeats the key"),
    "headers of open-ended length": (raw_headers(lambda data: b"\xbf" + data[1:] + b"\xff"), "open-ended"),
    "bytes after the headers": (raw_headers(lambda data: data + b"\x00"), "follow"),
    "bytes after the statement": (lambda w: w.state() + b"\x00", "follow"),
    "a key that no root certified": (stranger, "none of the trusted roots"),
    "a key without a certificate": (lambda w: w.state(w.key()), "protected header"),
    "JSON with spaces": (payload(b'{"a": 1}'), "one spelling"),
    "JSON keys out of order": (payload(b'{"b":1,"a":1}'), "one spelling"),
    "a JSON key twice": (payload(b'{"a":1,"a":2}'), "one spelling"),
    "JSON after JSON": (payload(b"{}{}"), "not readable JSON"),
    "JSON NaN": (payload(b'{"a":NaN}'), "not readable JSON"),
    "JSON infinity": (payload(b'{"a":1e999}'), "not readable JSON"),
    "a JSON number without end": (payload(b'{"a":' + b"9" * 900_000 + b"}"), "not readable JSON"),
    "a lone surrogate": (payload(b'{"a":"\\ud800"}'), "not readable JSON"),
    "JSON that is no object": (payload(b"[]"), "is an object"),
    "no JSON": (payload(b""), "not readable JSON"),
    "a JSON bomb": (payload(b'{"a":' + b"[" * 900_000), "nested deeper"),
    "CBOR called JSON": (payload(cbor2.dumps({"a": 1})), "not readable JSON"),
    "JSON called CBOR": (payload(b'{"a":1}', "cbor"), "cut short"),
    "a CBOR payload with number keys": (payload(cbor2.dumps({1: 2}), "cbor"), "keys are texts"),
    "a CBOR payload with a date": (payload(b"\xa1\x61a\xc1\x00", "cbor"), "tag"),
    "a CBOR bomb": (payload(b"\xa1\x61a" + b"\x81" * 900_000, "cbor"), "nested deeper"),
    "too large": (payload(b'{"a":"' + b"x" * (1 << 20) + b'"}'), "at most"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_is_refused_in_words_and_at_once(world: World, forgery: str) -> None:
    make, match = FORGERIES[forgery]
    raw = make(world)
    start = time.process_time()
    with pytest.raises(EvidenceError, match=match) as caught:
        verify_statement(raw, world.roots)
    assert time.process_time() - start < 2.0
    assert str(caught.value).startswith(f"statement {statement_id(raw)[:16]}: ")


def test_kind_and_role_are_what_the_caller_allows(world: World) -> None:
    raw = world.state(world.operator, kind="step")
    verify_statement(raw, world.roots, kind="step", role={"operator", "chip"})
    for refused in ("chip-record", "ste", "step-2", ""):
        with pytest.raises(EvidenceError, match="kind"):
            verify_statement(raw, world.roots, kind=refused)
    for roles in ("chip", "inspector", {"chip", "maker"}, set(), ""):
        with pytest.raises(EvidenceError, match="role"):
            verify_statement(raw, world.roots, role=roles)


def test_without_trust_nothing_is_accepted(world: World) -> None:
    for roots in ([], [world.maker_root], TrustRoots(roots=(), log_key=world.roots.log_key)):
        with pytest.raises(EvidenceError, match="none of the trusted roots"):
            verify_statement(world.state(), roots)


def test_a_certified_protection_may_be_claimed_and_no_other(world: World) -> None:
    class Token(FileSigner):
        """A stand-in for a key in hardware."""

        @property
        def protection(self) -> str:
            return "pkcs11"

    key = FileSigner.create(world.folder / f"token-{next(world.counter)}")

    def token(claims: dict[str, str]) -> Token:
        chain = [
            issue(
                world.maker,
                world.maker_root,
                public_key=key.public_key,
                name="chip-9",
                role="chip",
                claims=claims,
            )
        ]
        return Token(key._private_key, key.path, tuple(chain))

    assert verify_statement(world.state(token({"protection": "pkcs11"})), world.roots).protection == "pkcs11"
    for claims in ({}, {"protection": "file"}, {"protection": "tpm"}):
        with pytest.raises(EvidenceError, match="certified as"):
            verify_statement(world.state(token(claims)), world.roots)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Step"},
        {"kind": "a b"},
        {"kind": ""},
        {"kind": "a--b"},
        {"kind": "x" * 65},
        {"subject": ""},
        {"subject": "a\nb"},
        {"subject": "x" * 513},
        {"issued_at": -1},
        {"issued_at": 1e300},
        {"encoding": "xml"},
        {"payload": {"a": float("nan")}},
        {"payload": {"a": b"bytes"}},
        {"payload": {1: 2}},
        {"payload": {"a": {True: 2}}},
        {"payload": {"a": object()}},
        {"payload": {"a": "\ud800"}},
        {"payload": {"a": 10**70}},
        {"payload": {"a": "x" * (1 << 20)}},
        {"payload": {"a": float("inf")}, "encoding": "cbor"},
        {"payload": {"a": 2**64}, "encoding": "cbor"},
        {"payload": {"a": object()}, "encoding": "cbor"},
        {"payload": {1: 2}, "encoding": "cbor"},
        {"payload": {"a": {1, 2}}, "encoding": "cbor"},
    ],
)
def test_what_could_not_be_read_back_is_not_signed(world: World, change: dict[str, Any]) -> None:
    options: dict[str, Any] = {"kind": "step", "subject": "s", "payload": {"a": 1}}
    with pytest.raises(InputError):
        sign_statement(world.operator, **(options | change))


def test_a_payload_nested_too_deep_is_not_signed(world: World) -> None:
    payload: dict[str, Any] = {}
    for _ in range(5000):
        payload = {"a": payload}
    for encoding in ("json", "cbor"):
        with pytest.raises(InputError):
            sign_statement(world.operator, kind="k", subject="s", payload=payload, encoding=encoding)


# --- mutations ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def specimen(world: World) -> bytes:
    return world.state(world.chip, payload={"a": [1, 2, {"b": "c"}]}, encoding="cbor")


@pytest.mark.filterwarnings("ignore")
def test_every_flipped_bit_is_refused(world: World, specimen: bytes) -> None:
    for position in range(len(specimen)):
        changed = bytearray(specimen)
        changed[position] ^= 1 << (position % 8)
        with pytest.raises(EvidenceError):
            verify_statement(bytes(changed), world.roots)


def test_every_truncation_is_refused(world: World, specimen: bytes) -> None:
    for length in range(len(specimen)):
        with pytest.raises(EvidenceError):
            verify_statement(specimen[:length], world.roots)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mutated_statement_is_refused_and_never_another_error(
    world: World, specimen: bytes, data: st.DataObject
) -> None:
    changed = bytearray(specimen)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(changed)))
        end = data.draw(st.integers(start, min(len(changed), start + 40)))
        action = data.draw(st.sampled_from(["replace", "repeat", "move", "grow"]))
        part = bytes(changed[start:end])
        if action == "replace":
            changed[start:end] = data.draw(st.binary(max_size=40))
        elif action == "repeat":
            changed[end:end] = part
        elif action == "move":
            del changed[start:end]
            place = data.draw(st.integers(0, len(changed)))
            changed[place:place] = part
        else:
            changed[start:start] = data.draw(st.binary(max_size=3)) * data.draw(st.integers(1, 3000))
    if bytes(changed) == specimen:
        return
    with pytest.raises(EvidenceError):
        verify_statement(bytes(changed), world.roots)
    with pytest.raises(EvidenceError):
        verify_foreign_statement(bytes(changed), world.chip.public_key)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused(world: World, noise: bytes) -> None:
    for raw in (noise, b"\xd2\x84" + noise, b"\xd2\x84\x43\xa1\x01\x27\xa0" + noise):
        with pytest.raises(EvidenceError):
            verify_statement(raw, world.roots)


@pytest.mark.parametrize("thing", [None, "text", 1, bytearray(b"\xd2"), memoryview(b"\xd2")])
def test_what_is_not_bytes_is_refused(world: World, thing: Any) -> None:
    with pytest.raises(EvidenceError):
        verify_statement(thing, world.roots)


def test_limits_say_their_unit_and_reason() -> None:
    for name in LIMITS.__dataclass_fields__:
        assert f"        {name}: " in (LIMITS.__doc__ or ""), name
