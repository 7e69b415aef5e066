"""One folder a mechanism: each makes evidence and judges it; none imports another."""
