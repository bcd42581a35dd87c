"""One file or folder per simulator; imports nothing of vlarl but ``vlarl.env_protocol``, and no torch."""
