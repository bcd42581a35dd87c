"""A privileged, scripted expert for LIBERO tasks: waypoints from the task's goal predicates, no learning."""
