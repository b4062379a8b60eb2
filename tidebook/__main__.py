"""`python -m tidebook`: the command, also where the console script is not on the path."""

from tidebook.cli import main

main()
