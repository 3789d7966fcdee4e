"""The tests, by room; what several rooms need stands in `support`.

They run in a zone that is not UTC, half an hour off and west of it, so that whoever forgets the zone is found out. It
is set here, because DuckDB reads it when it is imported.
"""

import os
import time

os.environ["TZ"] = "America/St_Johns"
time.tzset()
