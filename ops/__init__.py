"""What operators use: the command line, ``python -m ops``.  It reads and shows; what changes something is in `tasks.control`."""
