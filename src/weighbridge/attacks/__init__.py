"""Published attacks on training transcripts, run for real, and honest runs of the same kinds beside them.

An attack that does not succeed against what it was made for shows nothing about us: each first reproduces its
published success there, in small, and then tries a transcript that our own verification judges.
"""
