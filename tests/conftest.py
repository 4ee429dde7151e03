"""What every test has around it."""

import os

from edgesim.jobs.cache import VARIABLE

os.environ[VARIABLE] = ""  # tests compute what they promise, and leave the user's cache alone
