"""Pictures of trained networks and of how they trained; each kind is one file in `pictures/`."""
