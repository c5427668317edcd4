"""The exit codes, which scripts may rely on."""

OK = 0
"""Done, and nothing is wrong."""
TROUBLE = 1
"""Something is wrong: a check failed, a run did not end well, a server is away."""
USAGE = 2
"""The command was not understood; argparse exits so, too."""
NOT_FOUND = 3
"""There is no such run."""
INTERRUPTED = 130
"""^C, as a shell counts it."""
