"""Chat in the browser and over REST: one ASGI application on one port.

From the outside in: `run` (uvicorn, the end), `app` (which door), `connection` (one chat socket),
`operations` and `asking` (what a client may do and ask), `room` (one open conversation), `writing` (one
reply), `completions` with `completion_request` and `completion_values` (OpenAI's API), `site` (Flask: the
plain routes and the page); below them `convert`, `service`, `access`, `limiter`, `metrics`, `asgi`.
docs/protocol.md defines the socket's events.
"""
