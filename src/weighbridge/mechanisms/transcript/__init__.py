"""Stage 2: recording a training run, replaying it, judging it (Shavit 2023, section 5)."""
