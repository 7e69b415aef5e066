"""A visit to a site: what was drawn, what was looked at, what was refused, as statements that an inspector signs.

``plan`` says what is to be done, ``record`` what was seen, ``clocks`` what was due, ``judge`` what follows, without
I/O; ``bundle`` keeps it all in one folder that needs no log and no network.
"""
