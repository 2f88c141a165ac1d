"""`convai bench server`: the chat server under many chats, with a model, and under attack.

`host` runs the server in a process of its own, on `stub`'s engine or a real model; `guests` are its clients;
`transport`, `people` and `attacks` are what is measured, each against its numbers.
"""
