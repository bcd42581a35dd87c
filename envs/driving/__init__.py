"""Driving: OpenDRIVE maps compiled to lane graphs, a batched world on top of them, and what a policy sees of it."""
