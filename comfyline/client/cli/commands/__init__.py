"""The commands, sorted by subject. Each module adds its commands to the app, in their order."""
