"""Starts a Python program whose words stand on no command line, where every user of the machine could read them.

``python unseen_program.py DESCRIPTOR``: what would have followed ``python`` is read from the descriptor, each word
ended by a zero byte: a script and its arguments, or ``-m``, a module and its arguments.
"""

import os
import sys

if sys.path and sys.path[0] == os.path.dirname(os.path.abspath(__file__)):  # noqa: PTH100, PTH120 - nothing imported yet
    del sys.path[0]  # this package's own folder, whose modules would hide others

import runpy

__all__ = ["main"]


def main() -> None:
    """Reads the words and becomes the program."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        words = [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as python -m does
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, os.path.dirname(os.path.realpath(words[0])))  # noqa: PTH120 - as python SCRIPT does
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main()
