"""Published attacks on training transcripts, run for real, and honest runs of the same kinds beside them.

An attack that does not succeed against what it was made for shows nothing about us: each first reproduces its
published success there, in small, and then tries a transcript that our own verification judges.

A module with attacks names them in ``ATTACKS``, one with honest runs in ``CONTROLS``: tuples of
:class:`~weighbridge.attacks.trial.Attack` and :class:`~weighbridge.attacks.trial.Control`. It is listed in
:mod:`weighbridge.attacks.registry`.
"""
