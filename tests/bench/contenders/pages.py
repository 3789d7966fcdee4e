"""For the contenders by hand: the vendors' answers as bytes, with urllib3, nothing of them parsed.

Of the plain clients that keep a connection urllib3 was measured to be the fastest; eight threads share its pool over
Omni's leads. https://urllib3.readthedocs.io/en/stable/advanced-usage.html
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import islice

import urllib3

URL = os.environ["BENCH_URL"]
LAG = timedelta(hours=1)
POOL = urllib3.PoolManager(maxsize=8, headers={"Sequence-Version": "2024-07-30", "x-api-key": "key"})
BASIC = urllib3.make_headers(basic_auth="id:secret", accept_encoding=True)
AFTER, CREATED = re.compile(rb'"after":"([^"]+)"'), b'"createdAt":"'


def sequence(watermark: datetime | None) -> Iterator[bytes]:
    """Pages of logs, newest first, down to an hour before `watermark`."""
    after = ""
    while True:
        page = get(f"/api/activity-logs?limit=100&sortOrder=DESC{after}")
        yield page
        found = AFTER.search(page, len(page) - 200)
        start = page.rindex(CREATED) + len(CREATED)
        oldest = datetime.fromisoformat(page[start : page.index(b'"', start)].decode())
        if not found or (watermark and oldest < watermark - LAG):
            return
        after = "&after=" + found[1].decode()


def omni() -> Iterator[tuple[str, bytes]]:
    """Each lead with its logs, eight leads side by side."""
    leads: list[str] = []
    token = ""
    while True:
        page = get(f"/api/v0/analytics{token}").decode()
        leads += re.findall(r'"leadId":"([^"]+)"', page)
        following = re.search(r'"nextToken":"([^"]+)"', page[:200])
        if not following:
            break
        token = f"?token={following[1]}"
    with ThreadPoolExecutor(8) as threads:
        todo = iter(leads)
        while some := list(islice(todo, 64)):  # so that answers do not pile up
            yield from zip(
                some, threads.map(lambda lead: get(f"/api/v1/leads/{lead}/action-logs"), some), strict=True
            )


def get(target: str) -> bytes:
    headers = {**POOL.headers, **BASIC}
    while True:
        answer = POOL.request("GET", URL + target, headers=headers, retries=False)
        if answer.status == 200:
            return answer.data
        if answer.status != 429:
            raise RuntimeError(f"{answer.status} for {target}")
        time.sleep(float(answer.headers["Retry-After"]))
