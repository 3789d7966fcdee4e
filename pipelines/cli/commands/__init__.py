"""The commands by theme; each module's `register` adds its own to the app.
No work may enter, and no import that takes long outside of a command: `--help` must be instant.
"""
