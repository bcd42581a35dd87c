"""The state of the worlds and what moves it: traffic, people, lights, collisions, the ego's events."""
