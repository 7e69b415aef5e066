"""Joins the mechanisms' findings: matches snapshots to transcripts, accounts for all chip-time, writes the verdict."""
