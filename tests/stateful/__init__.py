"""Orders of events: the state machine, kills, and operators' accidents."""
