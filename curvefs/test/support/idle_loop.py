"""How late an event loop with nothing to do is: what of others' lag is the machine's. Says it when its input ends."""

import asyncio
import sys

_STEP_S = 0.1


async def main():
    loop = asyncio.get_running_loop()
    ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    longest = 0.0
    while not ended.done():
        due = loop.time() + _STEP_S
        await asyncio.sleep(_STEP_S)
        longest = max(longest, loop.time() - due)
    print(longest)


if __name__ == "__main__":
    asyncio.run(main())
