"""What the two clients do differently: channels, queues and waiting, by asyncio or by threads."""
