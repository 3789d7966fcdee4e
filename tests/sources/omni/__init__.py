"""What is only true of Omni."""
