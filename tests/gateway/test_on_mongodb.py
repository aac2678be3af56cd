"""The same uploads with their documents in a real MongoDB and their bytes in GridFS."""

import hashlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import gridfs
import pymongo
import pytest

from services.sync.expiry import expire
from shared.blobs.gridfs import GridFSBlobs
from shared.blobs.seal import IDLE
from shared.clock import ManualClock
from shared.mongo import connect
from shared.removal import KEPT
from shared.store.mongo import MongoStore
from shared.tiles.mongo import MongoTiles
from tests.gateway.conftest import MIB, Served, look_after, md5, serve, slide
from tests.gateway.test_deleting import (
    left,
    put_work,
    test_a_deleted_image_is_gone_from_every_address_and_collection,
    test_a_deleted_session_takes_all_its_images_along,
    test_what_a_late_worker_writes_is_swept,
)
from tests.gateway.test_events import test_a_stream_begins_with_every_image_and_goes_on_with_what_changes
from tests.gateway.test_known import (
    test_a_known_file_is_complete_at_once_and_shares_the_stored_bytes,
    test_an_offer_while_the_file_is_deleted_is_whole_or_unknown,
    test_deleting_one_leaves_the_other_and_the_last_takes_the_file,
)
from tests.gateway.test_ranges import (
    test_a_finished_file_that_was_removed_is_not_begun_again_by_a_late_repeat,
    test_a_finished_upload_takes_repeats_and_nothing_else,
    test_a_range_that_is_not_on_the_grid_meets_a_chunk_that_came_early,
    test_a_whole_chunk_over_an_acknowledged_piece_of_it_must_agree_with_it,
    test_a_whole_file_sent_again_with_its_key_must_be_the_same,
    test_an_expired_upload_is_gone_with_all_its_bytes,
)
from tests.gateway.test_relay import test_a_gateway_that_died_at_any_moment_after_the_last_byte_is_finished_for
from tests.gateway.test_sessions import (
    test_a_list_is_read_page_by_page_in_order_of_creation,
    test_a_session_counts_its_images_by_their_latest_state,
    test_images_are_listed_page_by_page_as_full_objects,
)
from tests.gateway.test_signin import test_a_link_works_once
from tests.gateway.test_stores import (
    test_a_store_is_added_found_paused_resumed_and_removed,
    test_a_tick_is_published_and_done_once_its_runs_are,
    test_reports_are_read_page_by_page_the_newest_first,
    test_stores_are_listed_page_by_page_in_order_of_creation,
    test_what_is_done_to_a_store_is_audited_and_what_is_refused_is_not,
)
from tests.gateway.test_tus_extensions import (
    test_a_terminated_upload_is_gone_with_all_its_bytes,
    test_what_a_dead_gateway_had_half_joined_is_joined_by_another,
)
from tests.gateway.test_tus_takeover import (
    test_a_piece_that_a_dead_gateway_did_not_note_is_made_use_of,
    test_another_gateway_takes_over_and_the_late_bytes_of_the_first_do_no_harm,
    test_chunks_that_a_dead_gateway_did_not_note_are_counted,
    test_head_takes_over_from_a_request_that_hangs,
)
from tests.gateway.test_tus_uploads import (
    test_an_upload_goes_on_at_another_gateway_at_any_byte,
)
from tests.gateway.test_uploads import (
    test_a_cancelled_upload_leaves_nothing,
    test_a_file_that_is_not_what_its_sender_says_fails_with_both_digests,
    test_a_first_request_repeated_with_its_key_makes_one_upload,
    test_a_gap_in_ranges_that_need_order_names_the_expected_byte,
    test_a_repeated_range_changes_nothing_and_gets_the_same_answer,
    test_a_whole_file_is_sent_by_a_form,
    test_a_whole_file_with_a_key_is_sent_again_after_the_connection_broke,
    test_an_empty_file_is_refused_and_seen_as_failed,
    test_odd_ranges_may_be_repeated_and_may_overlap,
    test_odd_ranges_with_other_bytes_are_refused,
    test_other_bytes_for_a_stored_range_are_refused,
    test_ranges_of_any_size_are_taken_in_order,
    test_ranges_that_are_whole_chunks_come_in_any_order_and_at_once,
    test_the_same_key_in_another_session_makes_another_upload,
)

__all__ = [
    "test_a_cancelled_upload_leaves_nothing",
    "test_a_deleted_image_is_gone_from_every_address_and_collection",
    "test_a_deleted_session_takes_all_its_images_along",
    "test_a_file_that_is_not_what_its_sender_says_fails_with_both_digests",
    "test_a_finished_file_that_was_removed_is_not_begun_again_by_a_late_repeat",
    "test_a_finished_upload_takes_repeats_and_nothing_else",
    "test_a_first_request_repeated_with_its_key_makes_one_upload",
    "test_a_gap_in_ranges_that_need_order_names_the_expected_byte",
    "test_a_gateway_that_died_at_any_moment_after_the_last_byte_is_finished_for",
    "test_a_known_file_is_complete_at_once_and_shares_the_stored_bytes",
    "test_a_link_works_once",
    "test_a_list_is_read_page_by_page_in_order_of_creation",
    "test_a_piece_that_a_dead_gateway_did_not_note_is_made_use_of",
    "test_a_range_that_is_not_on_the_grid_meets_a_chunk_that_came_early",
    "test_a_repeated_range_changes_nothing_and_gets_the_same_answer",
    "test_a_session_counts_its_images_by_their_latest_state",
    "test_a_store_is_added_found_paused_resumed_and_removed",
    "test_a_stream_begins_with_every_image_and_goes_on_with_what_changes",
    "test_a_terminated_upload_is_gone_with_all_its_bytes",
    "test_a_tick_is_published_and_done_once_its_runs_are",
    "test_a_whole_chunk_over_an_acknowledged_piece_of_it_must_agree_with_it",
    "test_a_whole_file_is_sent_by_a_form",
    "test_a_whole_file_sent_again_with_its_key_must_be_the_same",
    "test_a_whole_file_with_a_key_is_sent_again_after_the_connection_broke",
    "test_an_empty_file_is_refused_and_seen_as_failed",
    "test_an_expired_upload_is_gone_with_all_its_bytes",
    "test_an_offer_while_the_file_is_deleted_is_whole_or_unknown",
    "test_an_upload_goes_on_at_another_gateway_at_any_byte",
    "test_another_gateway_takes_over_and_the_late_bytes_of_the_first_do_no_harm",
    "test_chunks_that_a_dead_gateway_did_not_note_are_counted",
    "test_deleting_one_leaves_the_other_and_the_last_takes_the_file",
    "test_head_takes_over_from_a_request_that_hangs",
    "test_images_are_listed_page_by_page_as_full_objects",
    "test_odd_ranges_may_be_repeated_and_may_overlap",
    "test_odd_ranges_with_other_bytes_are_refused",
    "test_other_bytes_for_a_stored_range_are_refused",
    "test_ranges_of_any_size_are_taken_in_order",
    "test_ranges_that_are_whole_chunks_come_in_any_order_and_at_once",
    "test_reports_are_read_page_by_page_the_newest_first",
    "test_stores_are_listed_page_by_page_in_order_of_creation",
    "test_the_same_key_in_another_session_makes_another_upload",
    "test_what_a_dead_gateway_had_half_joined_is_joined_by_another",
    "test_what_a_late_worker_writes_is_swept",
    "test_what_is_done_to_a_store_is_audited_and_what_is_refused_is_not",
]
pytestmark = pytest.mark.broker


@pytest.fixture
def database() -> str:
    return f"gateway_{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def gateway(mongod: str, database: str, tmp_path: Path, page: Path) -> AsyncIterator[Served]:
    client = connect(mongod)
    store, blobs = MongoStore(client, database), GridFSBlobs(client, database, tmp_path / "scratch", 10**9)
    tiles = MongoTiles(client, database)
    for port in (store, blobs, tiles):
        await port.prepare()
    try:
        async for served in serve(store, blobs, page, tiles):
            yield served
    finally:
        await client.drop_database(database)
        client.close()


async def test_a_foreign_driver_reads_what_was_uploaded(gateway: Served, mongod: str, database: str) -> None:
    session = await gateway.session()
    data = slide(9 * MIB + 3)

    answer = await gateway.send(session, data, params={"name": "a.svs"})

    with pymongo.MongoClient[dict[str, object]](mongod) as client:
        out = gridfs.GridFSBucket(client[database]).open_download_stream(answer.json["_id"])
        assert hashlib.md5(out.read()).hexdigest() == md5(data)
        assert (out.filename, out.length) == ("a.svs", len(data))


async def test_after_the_last_sweep_no_collection_holds_anything_of_what_was_deleted(
    gateway: Served, mongod: str, database: str
) -> None:
    """Whole, shared, half sent in odd ranges, cancelled, expired, refused, failed: all of it goes with its session."""
    session = await gateway.session()
    data = slide(400_000)
    whole = await gateway.send(session, data, params={"name": "whole.svs"})
    await put_work(gateway, whole.json["image"])
    shared = {"name": "shared.svs", "sha256": whole.json["sha256"]}
    await gateway.send(session, b"", params=shared, headers={"Content-Range": "bytes */400000"})
    part = (0, 100_000, 400_000)
    ids = [
        (await gateway.send(session, data[:100_000], part, params={"name": f"{how}.svs"})).json["_id"]
        for how in ("half", "cancelled", "expired")
    ]
    await gateway.ask("DELETE", f"/api/v1/sessions/{session}/files/{ids[1]}")
    await gateway.send(session, b"no slide", params={"name": "refused.svs"})
    await gateway.send(session, data, params={"name": "failed.svs", "md5": "0" * 32})
    clock = ManualClock(gateway.gateway.clock.now() + 2 * IDLE)
    await gateway.store.uploads.update(ids[0], set={"updated": clock.now()})
    await expire(gateway.store, gateway.blobs, gateway.bus, database="slidemill", limit=100, clock=clock)
    expired = await left(gateway, files=(ids[2],))

    await gateway.ask("DELETE", f"/api/v1/sessions/{session}")
    await gateway.gateway.removing.settled()
    await look_after(gateway, KEPT)

    assert not expired & {"chunks", "files"}
    with pymongo.MongoClient[dict[str, object]](mongod) as client:
        names = client[database].list_collection_names()
        assert {"uploads", "fs.chunks", "fs.files", "tiles", "tombstones"} < set(names)
        assert {name for name in names if client[database][name].find_one()} == {"accounts", "tokens"}


async def test_an_upload_goes_on_at_another_gateway(gateway: Served, tmp_path: Path, page: Path) -> None:
    session = await gateway.session()
    data = slide(3 * MIB)
    first = await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})

    async for other in serve(gateway.store, gateway.blobs, page):
        id = first.json["_id"]
        status = await other.status(session, id)
        second = await other.send(session, data[MIB : 2 * MIB], (MIB, 2 * MIB, len(data)), params={"_id": id})
        last = await other.send(session, data[2 * MIB :], (2 * MIB, 3 * MIB, len(data)), params={"_id": id})

    assert (status["stored"], status["hashed"]) == (MIB, 0)
    assert (second.json["md5"], second.json["hashed"]) == (None, 0)
    assert (last.json["md5"], last.json["hashed"], last.json["state"]) == (md5(data), len(data), "complete")
