"""OpenDRIVE files read, compiled to lane graphs, packed for kernels; our own maps and their generators."""
