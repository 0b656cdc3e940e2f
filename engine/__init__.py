"""The engine: a pure core that decides, and the asyncio shell that writes down and acts."""
