"""Every vector of RFC 9381 for ECVRF-EDWARDS25519-SHA512-TAI (appendix B.3), and what a proof must not survive."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import EvidenceError, InputError, MissingToolError
from weighbridge.evidence.vrf import PROOF_BYTES, vrf_prove, vrf_public_key, vrf_verify

# Secret, public key, alpha, pi, beta: examples 16, 17 and 18.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d97"
        "27d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805",
        "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff"
        "66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a465"
        "301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02",
        "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb"
        "5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf8096bb474e53895c362d8628ee9f9ea3c0"
        "e52c7a5c691b6c18c9979866568add7a2d41b00b05081ed0f58ee5e31b3a970e",
        "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c45"
        "2118fec1219202a0edcf038bb6373241578be7217ba85a2687f7a0310b2df19f",
    ),
]
SECRET, PUBLIC, ALPHA, PROOF, BETA = (bytes.fromhex(part) for part in VECTORS[2])


@pytest.mark.parametrize("vector", VECTORS, ids=["example 16", "example 17", "example 18"])
def test_vectors_of_the_rfc(vector: tuple[str, ...]) -> None:
    secret, public, alpha, proof, beta = (bytes.fromhex(part) for part in vector)
    assert vrf_public_key(secret) == public
    assert vrf_prove(secret, alpha) == proof
    assert vrf_verify(public, proof, alpha) == beta


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 8 * PROOF_BYTES - 1))
def test_no_changed_bit_survives(bit: int) -> None:
    changed = bytearray(PROOF)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(EvidenceError):
        vrf_verify(PUBLIC, bytes(changed), ALPHA)


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=80), st.binary(min_size=32, max_size=32))
def test_what_is_proved_verifies_for_its_input_alone(alpha: bytes, secret: bytes) -> None:
    public, proof = vrf_public_key(secret), vrf_prove(secret, alpha)
    assert len(vrf_verify(public, proof, alpha)) == 64
    with pytest.raises(EvidenceError, match="does not hold"):
        vrf_verify(public, proof, alpha + b"\0")


def test_a_second_form_of_the_same_number_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(PROOF[48:], "little") + order
    with pytest.raises(EvidenceError, match="no proper"):
        vrf_verify(PUBLIC, PROOF[:48] + s.to_bytes(32, "little"), ALPHA)


@pytest.mark.parametrize(
    "key",
    [
        bytes(32),
        (1).to_bytes(32, "little"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        b"\xff" * 32,
        b"short",
    ],
    ids=["order 4", "neutral", "order 8", "not canonical", "too short"],
)
def test_keys_that_bind_nobody_are_refused(key: bytes) -> None:
    with pytest.raises(EvidenceError, match="subgroup"):
        vrf_verify(key, PROOF, ALPHA)


def test_proofs_and_secrets_have_their_length() -> None:
    with pytest.raises(EvidenceError, match="not 80"):
        vrf_verify(PUBLIC, PROOF[:-1], ALPHA)
    with pytest.raises(InputError, match="not 32"):
        vrf_prove(b"short", ALPHA)


def test_without_pynacl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nacl", None)
    with pytest.raises(MissingToolError, match=r"weighbridge\[draws\]"):
        vrf_verify(PUBLIC, PROOF, ALPHA)
