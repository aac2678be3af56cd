"""The states of a version that is under way: which stage it is in, and whose queues its messages wait in."""

from shared.events import StageName

WORKING: dict[StageName, str] = {"upload": "uploading", "dice": "dicing", "fold": "folding", "finish": "finishing"}
# By the names of `shared.bus.topology.STAGES`. An upload waits for its sender, in no queue.
STAGE_OF_STATE = {"dicing": "dicer", "folding": "pyramid", "finishing": "pyramid"}
