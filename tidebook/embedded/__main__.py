"""`python -m tidebook.embedded DIRECTORY KIND LOCK_FD`: become the keeper of one server.

Started by `user.py` only: LOCK_FD is the keeper's lock, already held and inherited.
"""

import sys

from tidebook.embedded.keeper import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
