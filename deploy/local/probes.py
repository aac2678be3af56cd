"""Asking services whether they are ready."""

import aiohttp


async def answers_ready(http: aiohttp.ClientSession, url: str) -> bool:
    """Tell whether the service at this address says that it is ready."""
    try:
        async with http.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
