"""What was said, by whom, when, and proof that it was not changed. Knows no payload."""
