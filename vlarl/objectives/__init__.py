"""Learning objectives, one file each."""
