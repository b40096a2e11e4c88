"""The demo: the world of private operations, its training and the trained models shipped."""
