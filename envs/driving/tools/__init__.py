"""What an agent that looks and asks may ask of the driving world: past views, details, depth, 3D boxes."""
