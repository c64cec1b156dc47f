"""Two copies of the project migrate at once, each with a session lock around it: one does the work, one finds it done."""

import os
import re
import subprocess
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))


def migrate_twice(*arguments):
    command = [sys.executable, "manage.py", "migrate_alone", *arguments]
    both = [subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [copy.communicate(timeout=120)[0] for copy in both]
    assert [copy.returncode for copy in both] == [0, 0], printed
    applied = sorted(int(re.search(r"applied=(\d+)", text)[1]) for text in printed)
    assert applied[0] == 0 and applied[1] > 0, f"each migration is applied once: {applied}"


migrate_twice("shop", "0002")
migrate_twice("--try-again")
