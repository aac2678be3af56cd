"""What a slide costs and how that scales: a model fitted to runs with one and with two workers. Pure.

A worker is one dicer and one pyramid service with one decoder child each, which take turns on one core. With n workers
a slide takes `serial + work / n` seconds: planning, hand-overs and the last block are serial, blocks are shared.
"""

from dataclasses import dataclass

GIGABYTE = 1e9


@dataclass(frozen=True)
class Cost:
    """One slide on n workers: seconds of wall clock, seconds of processor of the workers, the database, the broker.

    `messages` and `documents` are counts, `stored` the bytes that the database keeps of it: the file and its
    tiles, `index` those that the index of tiles takes for each.
    """

    seconds: dict[int, float]
    workers: float
    database: float
    broker: float
    messages: int
    tiles: int
    documents: int
    stored: int
    index: float
    blocks: int

    @property
    def speedup(self) -> float:
        """How much faster two workers are than one."""
        return self.seconds[1] / self.seconds[2]

    @property
    def work(self) -> float:
        """The part that workers share, in seconds of one of them."""
        return 2 * (self.seconds[1] - self.seconds[2])

    @property
    def serial(self) -> float:
        """The part that they don't."""
        return max(0.0, self.seconds[1] - self.work)

    def one_slide(self, workers: int) -> float:
        """Seconds for one slide; workers beyond its blocks find nothing to do."""
        return self.serial + self.work / min(workers, self.blocks)

    def slides_per_hour(self, workers: int, database_cores: float) -> float:
        """Of many slides at once, each worker on a core of its own: whatever gives out first."""
        return 3600 * min(workers / self.workers, database_cores / self.database)

    def enough_workers(self, database_cores: float) -> float:
        """How many workers keep the database's cores busy: more of them gain nothing."""
        return self.workers * database_cores / self.database


def table(cost: Cost, workers: tuple[int, ...], slides: tuple[int, ...], database_cores: float) -> list[str]:
    """What the model says, line by line."""
    lines = [
        f"fit:       {cost.serial:.2f} s + {cost.work:.2f} s / workers, at most {cost.blocks} of them",
        f"a slide:   {cost.messages} messages, {cost.documents} documents, {cost.stored / 1e6:.0f} MB stored",
        f"           processor: workers {cost.workers:.2f}, database {cost.database:.2f}, broker {cost.broker:.2f} s",
        f"breaks:    {cost.enough_workers(database_cores):.0f} workers keep {database_cores:g} cores of database busy",
    ]
    for count in workers:
        rate = cost.slides_per_hour(count, database_cores)
        lines.append(
            f"{count:4} workers: one slide {cost.one_slide(count):.2f} s; many {rate:.0f} slides an hour, "
            f"{rate * cost.tiles / 3600:.0f} tiles/s, {rate * cost.stored / 3600 / 1e6:.0f} MB/s, "
            f"{rate * cost.messages / 3600:.0f} messages/s"
        )
    for count in slides:
        lines.append(
            f"{count:8,} slides: {count * cost.documents:,} documents, {count * cost.stored / GIGABYTE:,.0f} GB, "
            f"index of tiles {count * cost.tiles * cost.index / GIGABYTE:,.1f} GB"
        )
    return lines
