"""Where rows go: each kind of destination with its lock and its readers, and dlt's insides behind one door (`_dlt`).

No vendor, no command and no schedule may enter. Only files of `_dlt` import below dlt's documented surface.
"""
