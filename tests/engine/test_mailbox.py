"""From the thread that computes to coroutines: an event loop is woken once for all that wait in it."""

from __future__ import annotations

import asyncio

from convai.engine.mailbox import Mailbox, Parcel, wake


class Counted(asyncio.SelectorEventLoop):
    """Counts how often it is woken from outside."""

    woken = 0

    def call_soon_threadsafe(self, *args, **more):  # type: ignore[no-untyped-def]
        self.woken += 1
        return super().call_soon_threadsafe(*args, **more)


def test_all_of_a_loop_are_woken_together() -> None:
    loop = Counted()
    boxes = [Mailbox() for _ in range(5)]

    async def read() -> list[Parcel]:
        readers = [asyncio.ensure_future(box.arrive()) for box in boxes]
        await asyncio.sleep(0)
        before = loop.woken
        waiting = [box.leave(Parcel((), over=True)) for box in boxes]
        wake([one for one in waiting if one is not None])
        assert (len(waiting), loop.woken - before) == (5, 1)
        return list(await asyncio.gather(*readers))

    try:
        assert [parcel.over for parcel in loop.run_until_complete(read())] == [True] * 5
    finally:
        loop.close()


def test_nobody_waits_and_a_loop_that_is_gone() -> None:
    box = Mailbox()
    assert box.leave(Parcel(())) is None
    gone = asyncio.new_event_loop()
    gone.close()
    wake([(gone, asyncio.Future(loop=gone))])  # nobody reads any more: nothing happens
    assert box.take() == Parcel(())
