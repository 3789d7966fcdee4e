"""What each command of `gapless` does and says."""
