"""What is only true of Tines."""
