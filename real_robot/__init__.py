"""What runs beside a robot: policy client, transports, chunk scheduler, safety guard. No torch."""
