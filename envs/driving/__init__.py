"""A driving world of our own: OpenDRIVE maps compiled to lane graphs, and a batched simulator that runs on them."""
