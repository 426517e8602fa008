"""How many files a process may have open."""

import resource
import subprocess
import sys

SHOW = """
import resource
from curvefs.src.common import open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))
open_files.raise_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def test_the_limit_is_raised_as_far_as_allowed():
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 500)
    shown = subprocess.run([sys.executable, "-c", SHOW.format(hard=hard)], capture_output=True, check=True, text=True)
    assert int(shown.stdout) == hard
