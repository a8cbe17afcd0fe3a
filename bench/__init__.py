"""Measurements and models of the service. README.md says what each measures and when to run it.

- `api`, `overhead`, `live`, `handler`, `functions`, `worker`: figures of the running service
- `load`, `soak`: long runs that pass or fail
- `cost`, `simulation`: models, which write docs/cost.md and docs/scaling.md

The other modules are the machinery of the figures: `cloud` (a local cloud under measurement),
`figures`, `run`, `results`, `table`, `engines`, `graphs`, `subscribers`, `bare_posts`
and `memory`.
"""
