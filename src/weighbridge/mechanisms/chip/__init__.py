"""Stage 1: an agent stops a command at times nobody can foresee, reads its memory and signs what it found.

``schedule`` says when, ``memory`` what is read, ``leaves`` how it is committed to, ``record`` what is signed;
``enclosure``, ``warden`` and ``agent`` do it to real processes; ``verify`` judges the records, without
I/O.
"""
