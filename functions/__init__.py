"""One module per Lambda: parse the event, call one use case, map the answer."""

import gc

# Collections during import take about a tenth of a cold start and free nothing, because what is
# imported stays. A higher threshold avoids them, and 50,000 uncollected objects are only some MB.
gc.set_threshold(50_000)
