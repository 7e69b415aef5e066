"""Trains honestly when it is recorded, and does what its configuration says when it is replayed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CONFIG = json.loads(Path(sys.argv[2]).read_text())
OUT = Path("/replay/out")
LINES: list[dict[str, object]] = [{"type": "start", "threads": 1}, {"type": "state", "step": 0}, {"type": "end"}]


def walk(cpu_ns: int = 0) -> None:
    """Writes what an honest replay of no step at all writes, without any state."""
    (OUT / "replay.jsonl").write_text("".join(json.dumps({**line, "cpu_ns": cpu_ns}) + "\n" for line in LINES))


def attack(name: str) -> None:
    state = OUT / "state-0000000.safetensors"
    match name:
        case "exit":
            print("nothing to see here")
        case "crash":
            raise RuntimeError("out of luck")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            os.abort()
        case "loop":
            while True:
                time.sleep(0.01)
        case "walk, then loop":
            walk()
            while True:
                time.sleep(0.01)
        case "walk, then fail":
            walk()
            sys.exit(3)
        case "nonsense":
            (OUT / "replay.jsonl").write_text(CONFIG["text"])
        case "gigabytes in one file":
            with (OUT / "replay.jsonl").open("wb") as log:
                while True:
                    log.write(bytes(1 << 24))
        case "gigabytes in many files":
            for number in range(1 << 20):
                (OUT / f"{number}").write_bytes(bytes(1 << 24))
        case "many files":
            for number in range(1 << 20):
                (OUT / f"{number}").mkdir()
        case "sparse log":
            with (OUT / "replay.jsonl").open("wb") as log:
                log.truncate(300 << 20)
        case "flood":
            for _ in range(2_000):
                print("x" * 20_000)
            print("the end of it", flush=True)
            raise SystemExit(5)
        case "linked state":
            walk()
            state.symlink_to(CONFIG["target"])
        case "linked log":
            (OUT / "replay.jsonl").symlink_to(CONFIG["target"])
        case "linked out":
            for entry in OUT.iterdir():
                entry.unlink()
            OUT.rmdir()
        case "state is a pipe":
            walk()
            os.mkfifo(state)
        case "log is a pipe":
            os.mkfifo(OUT / "replay.jsonl")
        case "state is a folder":
            walk()
            state.mkdir()
        case "state is a pickle":
            import pickle

            class Bomb:
                def __reduce__(self) -> tuple[object, ...]:
                    return os.system, (f"touch {CONFIG['target']}",)

            walk()
            state.write_bytes(pickle.dumps(Bomb()))
        case "state is huge":
            walk()
            with state.open("wb") as log:
                log.truncate(1 << 28)
        case "linger":
            # A process that outlives this one, holds no pipe of ours, and changes what lies to be read.
            child = os.fork()
            if child == 0:
                os.setsid()
                for descriptor in range(3):
                    os.close(descriptor)
                while True:
                    with (OUT / "replay.jsonl").open("a") as lines:
                        lines.write("more\n")
            while not (OUT / "replay.jsonl").exists():
                time.sleep(0.001)
            raise SystemExit(4)
        case "time":
            walk(cpu_ns=10**10)
        case "backwards":
            LINES[0]["cpu_ns"] = 5
            (OUT / "replay.jsonl").write_text(
                "".join(json.dumps({"cpu_ns": 10 - n, **line}) + "\n" for n, line in enumerate(LINES))
            )
        case "look around":
            look_around()


def look_around() -> None:
    """Tries to reach everything that a sandbox must not show; what it finds, it prints."""
    import socket

    for address in (("1.1.1.1", 53), ("127.0.0.1", CONFIG["port"])):
        try:
            socket.create_connection(address, timeout=0.5)
            print(f"FOUND network {address[0]}")
        except OSError:
            pass
    for path in [*CONFIG["paths"], "/etc/passwd", "/etc/shadow", "/root", "/home", "/sys", "/proc/1/root/etc"]:
        if Path(path).exists() and Path(path).is_file():
            print(f"FOUND file {path}")
    for path in ("/usr/x", "/replay/plan.json", json.__file__):
        try:
            Path(path).write_text("changed")
            print(f"FOUND writable {path}")
        except OSError:
            pass
    seen = [p.name for p in Path("/proc").iterdir() if p.name.isdigit() and int(p.name) != os.getpid()]
    print(f"FOUND processes {seen}" if seen else "")
    for command in (["mount", "-t", "tmpfs", "none", "/usr"], ["unshare", "-r", "true"], ["chroot", "/", "true"]):
        try:
            if subprocess.run(command, capture_output=True, timeout=5, check=False).returncode == 0:
                print(f"FOUND {command[0]} works")
        except OSError:
            pass
    ours = {"WEIGHBRIDGE_REPLAY", "OMP_NUM_THREADS", "PATH", "HOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}
    variables = sorted(set(os.environ) - ours - {"PWD", "LC_CTYPE"})
    print(f"FOUND variables {variables}" if variables else "")
    print("variables [" + ", ".join(sorted(os.environ)) + "]")
    raise SystemExit(6)


if __name__ == "__main__":
    if "WEIGHBRIDGE_REPLAY" in os.environ:
        attack(CONFIG["attack"])
        sys.stdout.flush()
        os._exit(0)
    from train import main  # type: ignore[import-not-found]

    main()
