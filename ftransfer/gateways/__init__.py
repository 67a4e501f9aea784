"""Ways into a service: each turns one wire into calls of service/, and none knows another."""
