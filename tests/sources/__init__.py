"""What each source promises, its fake beside the vendor's samples, and what all sources promise alike."""
