"""What of a world is seen: from above, from the ego's place, as numbers, and for people."""
