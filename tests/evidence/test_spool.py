import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence import spool as spool_module
from weighbridge.evidence.limits import LIMITS, Limits
from weighbridge.evidence.log import Log, LogEntry, verify_receipt
from weighbridge.evidence.spool import Keeper, SpoolClient
from weighbridge.evidence.statement import Statement, statement_id, verify_statement
from weighbridge.evidence.trust import LogKey, TrustRoots

from .conftest import ORIGIN, World, as_root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def keeper(world: World, log: Log, folder: Path) -> Iterator[Keeper]:
    made = Keeper(log, folder, roots=world.roots)
    yield made
    made.close()


def drops(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "in").iterdir())


def test_a_statement_dropped_is_logged_and_its_receipt_handed_out(
    world: World, log: Log, folder: Path, keeper: Keeper
) -> None:
    client = SpoolClient(folder)
    statements = world.states(30)
    identifiers = [client.submit(raw) for raw in statements]
    assert identifiers == [statement_id(raw) for raw in statements]
    assert client.receipt(identifiers[0]) is None
    assert keeper.run_once() == 30
    for index, (raw, identifier) in enumerate(zip(statements, identifiers, strict=True)):
        receipt = client.wait(identifier, timeout=1)
        assert receipt == client.receipt(identifier)
        assert verify_receipt(raw, receipt, world.roots.log_key).index == index, "one client's order is kept"
        assert client.refusal(identifier) is None
    assert drops(folder) == []
    assert keeper.run_once() == 0


def test_a_keeper_at_work_answers_at_once(world: World, folder: Path, keeper: Keeper) -> None:
    stop = threading.Event()
    worker = threading.Thread(target=keeper.run, args=(stop,))
    worker.start()
    try:
        client = SpoolClient(folder)
        start = time.monotonic()
        for raw in world.states(20):
            client.wait(client.submit(raw), timeout=20)
        assert time.monotonic() - start < 10
    finally:
        stop.set()
        worker.join(10)
    assert not worker.is_alive()


def test_dropped_again_it_is_the_same_entry(world: World, log: Log, folder: Path, keeper: Keeper) -> None:
    client = SpoolClient(folder)
    raw = world.state()
    identifier = client.submit(raw)
    client.submit(raw)
    keeper.run_once()
    first = client.wait(identifier, timeout=1)
    client.submit(raw)
    keeper.run_once()
    assert client.wait(identifier, timeout=1) == first
    assert log.size == 1


def test_what_does_not_verify_is_refused_in_one_sentence(world: World, log: Log, folder: Path, keeper: Keeper) -> None:
    client = SpoolClient(folder)
    good = world.state()
    for bad in (b"junk", good[:-1], good + b"\x00", world.state(world.key())):
        identifier = client.submit(bad)
        keeper.run_once()
        with pytest.raises(InputError, match="refused by the log's keeper") as caught:
            client.wait(identifier, timeout=1)
        assert "\n" not in str(caught.value)
        assert client.receipt(identifier) is None
    identifier = client.submit(good)
    keeper.run_once()
    assert verify_receipt(good, client.wait(identifier, timeout=1), world.roots.log_key).index == 0
    assert log.size == 1


def test_a_refusal_falls_when_the_statement_is_accepted_after_all(world: World, log: Log, folder: Path) -> None:
    Keeper(log, folder, roots=world.roots).close()
    client = SpoolClient(folder)
    raw = world.state()
    narrow = TrustRoots(roots=world.roots.roots[:1], log_key=world.roots.log_key)
    for roots in (narrow, world.roots):
        keeper = Keeper(log, folder, roots=roots)
        identifier = client.submit(raw)
        keeper.run_once()
        keeper.close()
        assert (client.refusal(identifier) is not None) == (roots is narrow)
    assert client.wait(identifier, timeout=1)


def test_without_a_keeper_the_wait_ends_in_words(world: World, folder: Path, keeper: Keeper) -> None:
    client = SpoolClient(folder)
    identifier = client.submit(world.state())
    with pytest.raises(EvidenceError, match=r"no receipt within 0\.05 s"):
        client.wait(identifier, timeout=0.05)
    with pytest.raises(InputError, match="cannot be written to"):
        SpoolClient(folder / "absent").submit(world.state())
    for bad in (b"", b"x" * (LIMITS.statement_bytes + 1), "text"):
        with pytest.raises(InputError):
            client.submit(bad)  # type: ignore[arg-type]
    for bad_id in ("", "../log", "A" * 64, "0" * 63):
        with pytest.raises(InputError, match="statement id"):
            client.receipt(bad_id)


def test_a_second_keeper_is_refused(world: World, log: Log, folder: Path, keeper: Keeper, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another keeper"):
        Keeper(log, folder, roots=world.roots)
    with world.log(tmp_path / "other.db") as other, pytest.raises(InputError, match="another keeper"):
        Keeper(other, folder, roots=world.roots)
    with Log.open(log.path) as reader, pytest.raises(InputError, match="reading only"):
        Keeper(reader, tmp_path / "two", roots=world.roots)
    another = TrustRoots(roots=world.roots.roots, log_key=LogKey(ORIGIN, world.chip.public_key))
    with pytest.raises(InputError, match="another log"):
        Keeper(log, tmp_path / "two", roots=another)
    keeper.close()
    Keeper(log, folder, roots=world.roots).close()
    with pytest.raises(InputError, match="closed"):
        keeper.run_once()


def test_what_is_no_plain_file_neither_hangs_nor_stays(
    world: World, log: Log, folder: Path, keeper: Keeper, tmp_path: Path
) -> None:
    inbox = folder / "in"
    secret = tmp_path / "secret"
    secret.write_bytes(world.state())
    os.mkfifo(inbox / "fifo.cose")
    (inbox / "link.cose").symlink_to(secret)
    (inbox / "loop.cose").symlink_to("loop.cose")
    (inbox / "broken.cose").symlink_to("nowhere")
    (inbox / "empty.cose").write_bytes(b"")
    (inbox / "folder.cose").mkdir()
    (inbox / "full.cose").mkdir()
    (inbox / "full.cose" / "x").write_text("x")
    with (inbox / "huge.cose").open("wb") as file:
        file.truncate(1 << 40)
    (inbox / "other.txt").write_bytes(world.state())
    (inbox / ".hidden.cose").write_bytes(world.state())
    good = world.state()
    identifier = SpoolClient(folder).submit(good)
    start = time.monotonic()
    keeper.run_once()
    assert time.monotonic() - start < 5
    assert verify_receipt(good, SpoolClient(folder).wait(identifier, timeout=1), world.roots.log_key)
    assert log.size == 1
    assert drops(folder) == [".hidden.cose", "full.cose", "other.txt"]
    assert secret.exists()
    assert keeper.run_once() == 0
    old = time.time() - LIMITS.spool_stale_seconds - 10
    for name in (".hidden.cose", "other.txt"):
        os.utime(inbox / name, (old, old))
    keeper._swept = 0.0
    keeper.run_once()
    assert drops(folder) == ["full.cose"]


def test_stubborn_directories_do_not_keep_statements_out(
    world: World, folder: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LIMITS", Limits(spool_files=4))
    for number in range(10):
        (folder / "in" / f"0000{number}.cose").mkdir()
        (folder / "in" / f"0000{number}.cose" / "x").write_text("x")
    client = SpoolClient(folder)
    identifiers = [client.submit(raw) for raw in world.states(6)]
    assert [keeper.run_once(), keeper.run_once(), keeper.run_once()] == [4, 2, 0]
    assert all(client.receipt(identifier) for identifier in identifiers)


def test_refusals_are_bounded_and_the_oldest_go_first(
    world: World, log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LIMITS", Limits(spool_refusals=5))
    client = SpoolClient(folder)
    keeper = Keeper(log, folder, roots=world.roots)
    identifiers = [client.submit(b"junk %d" % n) for n in range(8)]
    keeper.run_once()
    keeper.close()
    assert [client.refusal(i) is not None for i in identifiers] == [False] * 3 + [True] * 5
    keeper = Keeper(log, folder, roots=world.roots)
    later = client.submit(b"more junk")
    keeper.run_once()
    keeper.close()
    assert client.refusal(later) is not None
    assert len(list((folder / "out").glob("*.refused"))) == 5


def test_permissions_let_others_drop_but_not_list(folder: Path, keeper: Keeper) -> None:
    assert (folder / "in").stat().st_mode & 0o7777 == 0o1733
    assert (folder / "out").stat().st_mode & 0o7777 == 0o755


@pytest.mark.skipif(not as_root(), reason="only root can become another user")
def test_another_user_can_hand_in_and_fetch_but_not_look(
    world: World, log: Log, folder: Path, keeper: Keeper, tmp_path: Path
) -> None:
    path = tmp_path
    while path != Path("/tmp") and path != path.parent:
        path.chmod(path.stat().st_mode | 0o711)
        path = path.parent
    raw = world.state()
    (tmp_path / "statement").write_bytes(raw)
    (tmp_path / "statement").chmod(0o644)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from weighbridge.evidence.spool import SpoolClient\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "os.umask(0o077)\n"
        "client = SpoolClient(sys.argv[1])\n"
        "print(client.submit(Path(sys.argv[2]).read_bytes()), flush=True)\n"
        "try: os.listdir(Path(sys.argv[1]) / 'in')\n"
        "except PermissionError: print('cannot list')\n"
        "try: (Path(sys.argv[1]) / 'out' / ('0' * 64 + '.receipt')).write_bytes(b'x')\n"
        "except PermissionError: print('cannot write')\n"
        "sys.stdout.flush()\n"
        "print(client.wait(sys.argv[3], timeout=20).hex())\n"
    )
    command = [sys.executable, "-c", script, str(folder), str(tmp_path / "statement"), statement_id(raw)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 20
        while log.size == 0 and time.monotonic() < deadline:
            keeper.run_once()
            time.sleep(0.01)
        output, _ = child.communicate(timeout=30)
    lines = output.splitlines()
    assert lines[:3] == [statement_id(raw), "cannot list", "cannot write"]
    assert verify_receipt(raw, bytes.fromhex(lines[3]), world.roots.log_key).index == 0


# --- answers ----------------------------------------------------------------------------------------------


class Inspector:
    """Answers each commitment with a fresh nonce, and counts how often it was asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[str] = []

    def __call__(self, statement: Statement, entry: LogEntry) -> list[bytes]:
        self.asked.append(statement.id)
        if statement.kind != "run-commitment":
            return []
        payload = {"run": statement.id, "nonce": secrets.token_hex(16), "entry": entry.index}
        return [self.world.state(self.world.inspector, kind="nonce", subject=statement.id, payload=payload)]


def test_an_entry_is_answered_in_the_log_before_its_receipt_is_out(world: World, log: Log, folder: Path) -> None:
    inspector = Inspector(world)
    keeper = Keeper(log, folder, roots=world.roots, on_entry=inspector)
    client = SpoolClient(folder)
    commitment, other = world.state(kind="run-commitment"), world.state()
    identifier, plain = client.submit(commitment), client.submit(other)
    keeper.run_once()
    client.wait(identifier, timeout=1)
    (answer,) = client.answers(identifier)
    found = verify_statement(answer, world.roots, kind="nonce", role="inspector")
    assert found.payload["run"] == identifier
    assert (folder / "out" / f"{identifier}.answer").read_bytes() == answer
    receipt = verify_receipt(answer, client.wait(found.id, timeout=1), world.roots.log_key)
    assert receipt.index == 2
    assert client.answers(plain) == []
    assert log.answers(0) == [2]
    assert log.answers(1) == []
    keeper.close()


def test_no_entry_is_answered_twice_whoever_drops_it_again(world: World, log: Log, folder: Path) -> None:
    """A second nonce for one commitment would let the operator choose."""
    inspector = Inspector(world)
    Keeper(log, folder, roots=world.roots).close()
    client = SpoolClient(folder)
    raw = world.state(kind="run-commitment")
    given = set()
    for _ in range(3):
        keeper = Keeper(log, folder, roots=world.roots, on_entry=inspector)
        identifier = client.submit(raw)
        client.submit(raw)
        keeper.run_once()
        keeper.close()
        given.add(client.answers(identifier)[0])
        for path in (folder / "out").iterdir():
            path.unlink()
    assert len(given) == 1
    assert inspector.asked == [identifier]
    assert log.size == 2


def test_killed_before_the_answer_was_durable_it_is_asked_again_and_once(
    world: World, log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = Inspector(world)
    Keeper(log, folder, roots=world.roots).close()
    client = SpoolClient(folder)
    identifier = client.submit(world.state(kind="run-commitment"))

    class Crash(BaseException):
        pass

    def crash(*_: object) -> None:
        raise Crash

    for name in ("append_answers", "entry"):
        keeper = Keeper(log, folder, roots=world.roots, on_entry=inspector)
        with monkeypatch.context() as patch:
            patch.setattr(Log, name, crash)
            with pytest.raises(Crash):
                keeper.run_once()
        keeper.close()
        assert client.receipt(identifier) is None
    assert len(inspector.asked) == 2, "before, and after, the answer was durable"
    keeper = Keeper(log, folder, roots=world.roots, on_entry=inspector)
    keeper.run_once()
    keeper.close()
    assert len(inspector.asked) == 2
    assert len(client.answers(identifier)) == 1
    assert log.size == 2


def test_an_entry_that_cannot_be_answered_stays_logged_and_says_why(world: World, log: Log, folder: Path) -> None:
    def fail(statement: Statement, entry: LogEntry) -> list[bytes]:
        if statement.kind == "bad-answer":
            return [b"junk"]
        if statement.kind == "many":
            return world.states(LIMITS.spool_answers + 1)
        raise InputError("no such run", where=statement.subject)

    keeper = Keeper(log, folder, roots=world.roots, on_entry=fail)
    client = SpoolClient(folder)
    for kind, match in (("step", "no such run"), ("bad-answer", "tag 18"), ("many", "more than")):
        raw = world.state(kind=kind)
        identifier = client.submit(raw)
        keeper.run_once()
        assert verify_receipt(raw, client.wait(identifier, timeout=1), world.roots.log_key)
        with pytest.raises(InputError, match=match) as caught:
            client.answers(identifier)
        assert "not answered" in str(caught.value)
    assert log.size == 3
    keeper.close()
