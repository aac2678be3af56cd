"""What the `__main__` of every service is made of: start, readiness, stop and exit status, the same for all.

A service that consumes is a builder and one call. The builder is a context that yields the `Consumer`; what it opens
first is opened before any thread or client of a server exists, which is when decoder children have to be started:

    @asynccontextmanager
    async def dicer(settings: Settings, clock: Clock, bus: Bus) -> AsyncIterator[Consumer]:
        slots = settings.dicer_slots
        async with Decoders(preload="services.dicer.pixels", children=slots, memory=MEMORY) as decoders:
            handlers = Dicer(decoders=decoders, clock=clock, quality=settings.quality, worker=settings.service)
            yield Consumer(
                stage="dicer",
                handlers={FileComplete: handlers.file_complete, DiceBlock: handlers.dice_block},
                failed=handlers.failed,
                slots=slots,
            )

    if __name__ == "__main__":
        run_service(Settings(), dicer)

A service of another kind is a coroutine that works until `stop` is set, of the same parts (`connecting`, `running`):

    async def timer(settings: Settings, stop: asyncio.Event) -> None:
        async with environments(settings, stop) as databases:
            store = databases[settings.database].store
            async with broker(settings, store, stop) as bus:
                app = web.Application()
                add_health(app, [bus.ready, store.ping])
                async with served(app, settings.http_host, settings.http_port):
                    await until(stop, keep_ticking(bus, databases=databases, interval=300, clock=SystemClock()))

    if __name__ == "__main__":
        run(Settings(), timer)
"""
