"""Finding tools among many: what questions find, and what a prompt costs."""
