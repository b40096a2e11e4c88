"""The demo: the whole story on small real models, and the world they live in."""
