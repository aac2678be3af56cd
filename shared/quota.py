"""How much of the database an account takes."""

from shared.store import In, Store

# Uploads in one of these states count with their whole file, also while that is still coming.
STORED = ("receiving", "importing", "verifying", "complete")


async def stored_by(store: Store, account: str) -> int:
    """The bytes of every image of the account, each with its whole file, also where two share one."""
    return await store.uploads.total({"owner": account, "state": In(STORED)}, "total")
