"""What an operator does on a running stack, by the commands of the runbook."""

import asyncio
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from pymongo import MongoClient

from deploy.local.layout import DATABASE, PREFIX
from deploy.local.mongod import is_primary
from deploy.local.rabbitmq import speaks_amqp
from shared.bus import topology as table
from shared.events import FileComplete
from tests.broker.conftest import SECOND_DATABASE
from tests.running import CommandError, RunningStack, eventually
from tests.slides.aperio import write_svs

pytestmark = [pytest.mark.broker, pytest.mark.slow]

UNDISTURBED = ("audits", "ticks", "tokens", "signins")


@pytest.fixture(scope="module")
def image(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("slides") / "operated.svs"
    write_svs(path, 2600, 2300)
    return stack.upload(path, session="operating")[path.name]


def everything(stack: RunningStack) -> dict[str, list[Any]]:
    """Every document of every collection that a replay might touch, tiles and files included."""
    with MongoClient[dict[str, Any]](stack.mongodb) as client:
        database = client[DATABASE]
        names = [name for name in database.list_collection_names() if name not in UNDISTURBED]
        return {name: sorted(map(repr, database[name].find({}))) for name in names}


def handled(stack: RunningStack) -> int:
    """How many messages the services have seen through."""
    logs = (*stack.data.glob("log/dicer*.log"), *stack.data.glob("log/pyramid*.log"))
    return sum(log.read_text().count('"event": "message"') for log in logs)


def has_handled(stack: RunningStack, count: int) -> bool:
    return handled(stack) >= count


def put(stack: RunningStack, type: str, body: dict[str, Any]) -> None:
    """A message as no part of slidemill would send it."""

    async def publish() -> None:
        async with await aio_pika.connect(stack.amqp) as connection:
            channel = await connection.channel()
            message = aio_pika.Message(json.dumps(body).encode(), headers={"ce-type": type})
            await channel.default_exchange.publish(message, table.stage_queue(PREFIX, "dicer", "express"))

    asyncio.run(publish())


def test_a_poison_message_is_found_understood_mended_and_sent_again_by_three_commands(
    stack: RunningStack, image: dict[str, Any], tmp_path: Path
) -> None:
    event = stack.run("events", "--image", image["id"], "--type", "file-complete")["items"][0]
    whole = {name: event[name] for name in ("database", "time", "image", "version", "session")} | event["data"]
    put(stack, FileComplete.type, {name: value for name, value in whole.items() if name != "length"})

    def found() -> list[Any]:
        groups = stack.run("dead", "list")["items"]
        return [one for one in groups if "length: Field required" in one["example"]["detail"]]

    (group,) = eventually(found, 30, "no dead letter says what it lacks")
    assert group["type"] == FileComplete.type
    file = tmp_path / "letters.jsonl"

    stack.run("dead", "export", str(file), group["group"])
    letter = json.loads(file.read_text())
    letter["event"]["length"] = image["length"]
    file.write_text(json.dumps(letter))
    before = handled(stack)
    told = stack.run("dead", "import", str(file), "--retry", "--reason", "length added")

    assert told["imported"] == 1
    assert group["group"] not in {one["group"] for one in stack.run("dead", "list")["items"]}
    assert eventually(lambda: handled(stack) > before, 30, "the message is not worked off")
    assert stack.image(image["id"])["state"] == "ready"


def test_replaying_the_whole_journal_twice_leaves_every_document_and_tile_as_it_is(
    stack: RunningStack, image: dict[str, Any]
) -> None:
    before = everything(stack)

    planned = stack.run("replay", "--all", "--dry-run")
    for _ in range(2):
        expected = handled(stack) + planned["count"]
        told = stack.run("replay", "--all", "--reason", "drill")
        assert told["count"] == planned["count"] > 3
        assert eventually(partial(has_handled, stack, expected), 60, "it is not worked off")

    assert everything(stack) == before


def test_an_image_is_processed_anew_and_finished_again(stack: RunningStack, image: dict[str, Any]) -> None:
    def is_ready() -> bool:
        shown = stack.image(image["id"])
        assert shown["viewable"]
        return bool(shown["state"] == "ready")

    assert stack.run("reprocess", image["id"], "--quality", "90")["version"] == 2
    assert eventually(is_ready, 60, "version 2 is not ready")
    told = stack.image(image["id"])
    assert (told["version"], told["quality"], told["subsampling"]) == (2, 90, "420")
    thumbnail = stack.get(f"/images/{image['id']}/thumbnail")
    assert stack.run("reprocess", image["id"], "--from", "finish")["state"] == "finishing"
    assert eventually(is_ready, 60, "version 2 is not finished again")
    assert stack.get(f"/images/{image['id']}/thumbnail") == thumbnail


def test_images_of_every_served_database_go_on_by_the_same_commands(stack: RunningStack, tmp_path: Path) -> None:
    slide = tmp_path / "second.svs"
    write_svs(slide, 600, 500)
    id = stack.upload(slide, session="second")[slide.name]["id"]
    with MongoClient[dict[str, Any]](stack.mongodb) as client:
        main, second = client[DATABASE], client[SECOND_DATABASE]
        (version,) = main.versions.find({"_id.image": id})
        for name, key, value in (
            ("images", "_id", id),
            ("versions", "_id.image", id),
            ("fs.files", "_id", version["file"]),
            ("fs.chunks", "files_id", version["file"]),
        ):
            second[name].insert_many(list(main[name].find({key: value})))
            # What is left in the second database alone can't be mended in the main one.
            main[name].delete_many({key: value})

        def fails(stage: str, **fields: object) -> None:
            failure = {"stage": stage, "reason": "The disk was full.", "remedy": "Send it again."}
            second.versions.update_one({"_id.image": id}, {"$set": {"state": "failed", "failure": failure, **fields}})

        def is_ready() -> bool:
            (version,) = second.versions.find({"_id.image": id})
            return bool(version["state"] == "ready") and second.blocks.count_documents({}) == 0

        nothing = {"started": None, "ended": None, "done": 0, "total": 0}
        fails("dice", planned=[], rounds=0, **{f"stages.{stage}": nothing for stage in ("dice", "fold", "finish")})
        assert stack.run("replay", id, "--reason", "disk added")["count"] == 1
        assert eventually(is_ready, 60, "it does not go on where it failed")
        assert second.tiles.count_documents({}) > 0
        (file,) = stack.run("events", "--database", SECOND_DATABASE, "--type", "pyramid-built")["items"]

        fails("finish", **{"stages.finish": nothing})
        planned = stack.run("replay", "--failed", "--database", SECOND_DATABASE, "--dry-run")
        assert "finishing" in {item["state"] for item in planned["items"]}
        stack.run("replay", "--failed", "--database", SECOND_DATABASE, "--reason", "disk added")
        assert eventually(is_ready, 60, "replay --failed does not let it go on")

        fails("finish", **{"stages.finish": nothing})
        letters = tmp_path / "letters.jsonl"
        event = {name: file[name] for name in ("database", "time", "image", "version")} | file["data"]
        letters.write_text(
            json.dumps({"id": "x", "stage": "pyramid", "headers": {"ce-type": file["type"]}, "event": event})
        )
        stack.run("dead", "import", str(letters))
        (letter,) = (one["example"] for one in stack.run("dead", "list")["items"] if one["example"]["image"] == id)
        assert stack.run("dead", "retry", letter["id"], "--reason", "disk added")["sent"] == 1
        assert eventually(is_ready, 60, "dead retry does not let it go on")

        fails("finish", **{"stages.finish": nothing})
        stack.run("dead", "import", str(letters))
        asked = json.dumps({"names": [letter["id"]]}).encode()
        status, told = stack.request("POST", "/dead-letters/retry", asked, {"Content-Type": "application/json"})
        assert (status, json.loads(told)["count"]) == (200, 1)
        assert eventually(is_ready, 60, "the page's retry does not let it go on")

        assert stack.run("reprocess", id)["version"] == 2
        assert eventually(lambda: second.images.find_one({"_id": id, "current": 2}), 60, "there is no version 2")
    with pytest.raises(CommandError, match="serves no database elsewhere"):
        stack.run("replay", "--failed", "--database", "elsewhere")


@pytest.mark.parametrize("server", ["rabbitmq", "mongod"])
def test_after_the_death_of_a_server_the_pipeline_goes_on_in_15_s_without_a_restart_of_a_service(
    stack: RunningStack, tmp_path: Path, server: str
) -> None:
    """Measured from when the server answers again to the end of a slide that was sent meanwhile; -s prints it."""

    def services() -> dict[str, int | None]:
        return {part["name"]: part["pid"] for part in stack.status()["services"]}

    def answers() -> bool:
        if server == "mongod":
            return is_primary(stack.mongodb)
        return speaks_amqp(int(stack.amqp.rpartition(":")[2].partition("/")[0]))

    before = services()
    slide = tmp_path / f"after-{server}.svs"
    write_svs(slide, 600, 500)
    pid = stack.pid(server)
    os.kill(pid, signal.SIGKILL)
    with ThreadPoolExecutor(1) as sender:
        sent = sender.submit(lambda: stack.upload(slide, session=f"{server} killed"))
        assert eventually(lambda: not Path(f"/proc/{pid}").exists(), 30, f"{server} did not die")
        assert eventually(answers, 60, f"{server} does not come back")
        since = time.monotonic()
        image = sent.result(60)[slide.name]
    seconds = time.monotonic() - since

    print(f"{server} killed: the slide was ready {seconds:.1f} s after its return")
    assert image["state"] == "ready"
    assert seconds < 15
    assert services() == before
