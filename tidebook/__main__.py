"""The command, as `tidebook` and as `python -m tidebook`."""

import sys


def main() -> None:
    """Load the command and run it; Ctrl-C ends that quietly, also while it loads."""
    try:
        from tidebook.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
