"""The sealed room: checks over an opened transcript of which a fixed record leaves, and nothing else."""
