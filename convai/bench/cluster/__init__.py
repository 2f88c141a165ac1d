"""`convai bench cluster`: doors and engines apart: what a token costs, how long it takes, what deaths lose.

`way` is a token's price over one socket; `sockets` many readers at several doors; `kills` people who chat
while `processes` are killed. Engines are stubs: `counting` ones write what can be checked.
"""
