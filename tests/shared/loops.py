"Coroutines in tests."

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def run_alone(coroutine: Coroutine) -> Any:
    "To its end in a thread of its own: Playwright leaves its event loop running in ours."
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
